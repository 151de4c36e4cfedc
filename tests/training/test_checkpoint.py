"""Training that is cut off and taken up again ends in the same weights, to the bit, as training that was not."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from common import training
from common.data import Data, RawData
from common.training import checkpoint
from common.training.checkpoint import Checkpoint
from tests.conftest import few, load_app


def trained(
    name: str, settings: dict[str, Any], data: Data, options: training.FitOptions
) -> tuple[keras.Model, dict[str, list[float]]]:
    app = load_app(name)
    config = app.settings(**settings)
    keras.utils.set_random_seed(0)
    model = app.build_model(config, data)
    return model, training.fit(model, data, config, app.task, options).history


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        # What is drawn, what is counted, and what is left of a schedule all have to come back.
        ("mnist_mlp", {"hidden": (32,), "dropout": 0.3, "schedule": "plateau", "patience": 2, "learning_rate": 0.02}),
        ("mnist_mlp", {"hidden": (16,), "patience": 1, "learning_rate": 0.3, "schedule": "cosine"}),
        ("lenet5", {"distortions": True, "epochs": 4, "restore": "last"}),
        ("rbm", {"hidden": 20, "epochs": 4, "persistent": True}),
    ],
)
def test_it_ends_as_if_it_had_not_been_cut_off(
    name: str, settings: dict[str, Any], mnist: RawData, tmp_path: Path
) -> None:
    settings = {"epochs": 8, **settings}
    data, file = few(mnist, train=512, validation=256), tmp_path / "a.state"
    whole, curves = trained(name, settings, data, training.FitOptions())
    for until in (1, 3, None):
        model, history = trained(name, settings, data, training.FitOptions(until, Checkpoint(file)))
    again, same = trained(
        name, settings, data, training.FitOptions(checkpoint=Checkpoint(file))
    )  # which is at its end already
    assert history == curves == same
    for weights in zip(whole.get_weights(), model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(weights[0], weights[1])
        np.testing.assert_array_equal(weights[0], weights[2])


def test_another_training_goes_on_from_its_end_and_leaves_it_as_it_is(mnist: RawData, tmp_path: Path) -> None:
    settings, data = {"hidden": (16,), "epochs": 4}, few(mnist, train=512, validation=256)
    first, second = tmp_path / "first.state", tmp_path / "second.state"
    trained("mnist_mlp", settings, data, training.FitOptions(2, Checkpoint(first)))
    before = first.read_bytes()
    _, history = trained("mnist_mlp", settings, data, training.FitOptions(checkpoint=Checkpoint(second, first)))
    assert history == trained("mnist_mlp", settings, data, training.FitOptions())[1]
    assert first.read_bytes() == before
    assert Checkpoint(second).state.epochs == 4


def test_short_epochs_are_not_all_written_but_the_last_one_is(
    mnist: RawData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    write = Checkpoint._write

    def noted(self: Checkpoint) -> None:
        written.append(len(self.history["loss"]))
        write(self)

    monkeypatch.setattr(Checkpoint, "_write", noted)
    monkeypatch.setattr(checkpoint, "SHARE", 1e-9)
    settings, data = {"hidden": (16,), "epochs": 6, "patience": 100}, few(mnist, train=512, validation=256)
    trained("mnist_mlp", settings, data, training.FitOptions(checkpoint=Checkpoint(tmp_path / "a.state")))
    assert written == [1, 6]
    assert len(list(tmp_path.iterdir())) == 1
