"""Training that is cut off and taken up again ends in the same weights, to the bit, as training that was not."""

import contextlib
import os
import signal
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from common import interruption, training
from common.data import Data, RawData
from common.errors import UserError
from common.interruption import InterruptionError
from common.training import checkpoint, epochs
from common.training.checkpoint import Checkpoint, State
from tests.conftest import few, load_app


def trained(
    name: str, settings: dict[str, Any], data: Data, options: training.FitOptions
) -> tuple[keras.Model, dict[str, list[float]]]:
    app = load_app(name)
    config = app.settings(**settings)
    keras.utils.set_random_seed(0)
    model = app.build_model(config, data)
    return model, training.fit(model, data, config, app.task, options)


@pytest.fixture(autouse=True)
def xla_for_ten_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """XLA compiles these short trainings too, and also the parts of them that are shorter."""
    monkeypatch.setattr("common.training.compilation.FEWEST_STEPS", 10)


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
    data, file = few(mnist, train=512, validation=256), tmp_path / "a.npz"
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


class Signal(keras.callbacks.Callback):
    """Sends this process SIGTERM after a step of an epoch, both from 1."""

    def __init__(self, epoch: int, step: int) -> None:
        super().__init__()
        self.place, self.epoch = (epoch, step), 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.epoch = epoch + 1

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        if (self.epoch, batch + 1) == self.place:
            os.kill(os.getpid(), signal.SIGTERM)


def stopped(name: str, settings: dict[str, Any], data: Data, file: Path, place: Signal) -> None:
    """Train until the signal stops the training."""
    with pytest.raises(InterruptionError, match="SIGTERM"), interruption.handled(), interruption.deferred():
        trained(name, settings, data, training.FitOptions(checkpoint=Checkpoint(file), callbacks=[place]))


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("mnist_mlp", {"hidden": (16,), "dropout": 0.3}),
        ("lenet5", {"distortions": True}),
        ("rbm", {"hidden": 20}),
    ],
)
def test_stopped_within_an_epoch_it_goes_on_from_that_step(
    name: str, settings: dict[str, Any], mnist: RawData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(epochs, "STEPS_PER_EXECUTION", 2)
    settings = {"epochs": 3, "batch_size": 64, **settings}
    data, file = few(mnist, train=512, validation=256), tmp_path / "training.npz"
    whole, curves = trained(name, settings, data, training.FitOptions())
    for place, expected in ((Signal(1, 4), (0, 4)), (Signal(2, 2), (1, 2)), (Signal(2, 6), (2, 0))):
        stopped(name, settings, data, file, place)  # the last place, six steps later, is the end of the epoch
        assert (Checkpoint(file).state.epochs, Checkpoint(file).state.step) == expected
    model, history = trained(name, settings, data, training.FitOptions(checkpoint=Checkpoint(file)))
    assert history == curves
    for weights in zip(whole.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(*weights)


def test_a_long_epoch_is_saved_every_few_minutes(
    mnist: RawData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(epochs, "STEPS_PER_EXECUTION", 1)
    steps: list[int] = []
    write = Checkpoint._write

    def noted(self: Checkpoint, step: int = 0) -> None:
        steps.append(step)
        write(self, step)

    monkeypatch.setattr(Checkpoint, "_write", noted)
    data, options = few(mnist, train=512), training.FitOptions(checkpoint=Checkpoint(tmp_path / "a.npz", minutes=0))
    trained("mnist_mlp", {"hidden": (16,), "epochs": 1, "batch_size": 128}, data, options)
    assert steps == [1, 2, 3, 0]


def test_a_damaged_checkpoint_is_the_beginning(
    mnist: RawData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings, data, file = {"hidden": (16,), "epochs": 1}, few(mnist, train=512), tmp_path / "a.npz"
    trained("mnist_mlp", settings, data, training.FitOptions(checkpoint=Checkpoint(file)))
    whole = file.read_bytes()
    for content in (b"", b"junk", whole[: len(whole) // 2], whole[:5000] + b"?" + whole[5001:]):
        file.write_bytes(content)
        assert Checkpoint(file).state == State()
        assert f"{file}: this checkpoint cannot be read" in capsys.readouterr().err


def test_a_checkpoint_of_another_network_is_refused(mnist: RawData, tmp_path: Path) -> None:
    data, file = few(mnist, train=512), tmp_path / "a.npz"
    for hidden in ((16,), (8,)):
        options = training.FitOptions(checkpoint=Checkpoint(file))
        with contextlib.nullcontext() if hidden == (16,) else pytest.raises(UserError, match="of another network"):
            trained("mnist_mlp", {"hidden": hidden, "epochs": len(hidden)}, data, options)


def test_another_training_goes_on_from_its_end_and_leaves_it_as_it_is(mnist: RawData, tmp_path: Path) -> None:
    settings, data = {"hidden": (16,), "epochs": 4}, few(mnist, train=512, validation=256)
    first, second = tmp_path / "first.npz", tmp_path / "second.npz"
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

    def noted(self: Checkpoint, step: int = 0) -> None:
        written.append(len(self.history["loss"]))
        write(self, step)

    monkeypatch.setattr(Checkpoint, "_write", noted)
    monkeypatch.setattr(checkpoint, "SHARE", 1e-9)
    settings, data = {"hidden": (16,), "epochs": 6, "patience": 100}, few(mnist, train=512, validation=256)
    trained("mnist_mlp", settings, data, training.FitOptions(checkpoint=Checkpoint(tmp_path / "a.npz")))
    assert written == [1, 6]
    assert len(list(tmp_path.iterdir())) == 1
