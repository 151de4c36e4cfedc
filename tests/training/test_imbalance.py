"""Classes of unequal size: weights, the metric that selects the model, and metrics of each class."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from common import tasks, training
from common.data import Array
from common.errors import UserError
from tests.conftest import load_app


def calls(rows: int = 600, share: float = 0.1) -> pd.DataFrame:
    """Calls of which a tenth are answered: more often after long ones."""
    draw = np.random.default_rng(0)
    answered = draw.random(rows) < share
    return pd.DataFrame({"minutes": draw.normal(1.5 * answered), "answered": np.where(answered, "yes", "no")})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    calls().to_csv(tmp_path / "calls.csv", index=False)
    return tmp_path / "calls.csv"


@pytest.mark.parametrize(
    ("counts", "monitor"), [([81, 19], "val_loss"), ([79, 21], "val_accuracy"), ([10] * 10, "val_accuracy")]
)
def test_a_rare_class_makes_the_loss_the_monitor(counts: list[int], monitor: str) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    assert tasks.Classification().for_targets(labels).monitor == monitor
    assert tasks.Classification(monitor="val_top", mode="max").for_targets(labels).monitor == "val_top"


@pytest.mark.usefixtures("store")
def test_a_run_with_a_rare_class_says_so_and_has_metrics_of_each_class(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    app = load_app("logistic_regression")
    result = training.train(app, app.settings(csv=str(file), target="answered", epochs=5))  # type: ignore[call-arg]
    assert "% of the examples are yes, so val_loss chooses the best epoch" in capsys.readouterr().err
    table = result.tables["classes"]
    assert list(table["class"]) == ["no", "yes"]
    assert table.support.sum() == result.test_examples
    assert table.recall[1] == pytest.approx(result.metrics["test_recall"])


@pytest.mark.usefixtures("store")
def test_balanced_weights_predict_the_rare_class_more_often_in_any_classifier(file: Path) -> None:
    app = load_app("table_mlp")
    shares = []
    for weights in ("none", "balanced"):
        config = app.settings(  # type: ignore[call-arg]
            csv=str(file), target="answered", epochs=8, members=2, hidden=(8,), class_weights=weights
        )
        app, data = training.load(app, config)
        model = training.build(app, config, data)
        training.fit(model, data, config, app.task)
        shares.append(float(np.mean(training.predict(model, data.test[0])[:, 1])))
    assert shares[0] < 0.2
    assert 0.35 < shares[1] < 0.65


@pytest.mark.usefixtures("store")
def test_balanced_weights_are_named_where_the_probabilities_are_used(file: Path) -> None:
    app = load_app("logistic_regression")
    config = app.settings(csv=str(file), target="answered", epochs=5, class_weights="balanced")  # type: ignore[call-arg]
    assert any("probabilities" in finding for finding in training.train(app, config).findings)


def test_the_weights_of_all_classes_have_the_same_total() -> None:
    app = load_app("logistic_regression")
    config = app.settings(class_weights="balanced")
    data = app.load_data(config)
    _, labels, weights = training.weighted(data.train, config, data)
    totals: Array = np.bincount(labels, weights)
    np.testing.assert_allclose(totals, len(labels) / 2, rtol=1e-5)


def test_class_weights_need_classes() -> None:
    app = load_app("linear_regression")
    with pytest.raises(UserError, match=r"`class_weights` balanced: women has no classes"):
        training.load(app, app.settings(class_weights="balanced"))
