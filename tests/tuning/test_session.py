"""`app.search`, a search from Python."""

import pytest

from common.errors import UserError
from tests.conftest import load_app

pytestmark = pytest.mark.usefixtures("store")


def test_a_wrong_option_is_reported_as_by_the_command() -> None:
    with pytest.raises(UserError, match=r"unknown option --trails; did you mean --trials"):
        load_app("perceptron").search(trails=3)


@pytest.mark.slow
def test_a_search_gives_the_best_settings_and_a_network_trained_with_them() -> None:
    app = load_app("perceptron")
    found = app.search({"data": "and", "epochs": 20}, trials=2, seed=1)
    assert len(found.trials) == 2
    assert found.trials["val_accuracy"].is_monotonic_decreasing
    assert (found.settings.data, found.settings.epochs) == ("and", 20)  # type: ignore[attr-defined]
    assert found.metrics["test_accuracy"] >= 0.5
    assert found.model.count_params()
