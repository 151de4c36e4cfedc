"""`train --resume`: a run that was cut off ends as one that was not, in the same run."""

import shutil
import signal

import mlflow
import numpy as np
import pytest

from common import recorded, tracking
from common.training.checkpoint import State
from tests.buckets import keys, new_bucket
from tests.conftest import assert_user_error, cut_off, new_store, run_app

SETTINGS = ("--hidden", "32", "--limit", "8000", "--batch-size", "64", "--epochs", "4", "--schedule", "cosine")
TIMES = ("seconds", "examples_per_second")
Ended = tuple[tuple[dict[str, float], dict[str, list[float]]], list[np.ndarray]]
"""Metrics, curves and weights of a run."""


def only_run() -> mlflow.entities.Run:
    tracking.connect()
    (only,) = tracking.find({"kind": "train"})
    return only


def outcome(run: mlflow.entities.Run) -> tuple[dict[str, float], dict[str, list[float]]]:
    """The metrics of a run apart from times, and its curves."""
    metrics = {name: value for name, value in run.data.metrics.items() if not name.endswith(TIMES)}
    curves = recorded.curves(run.info.run_id)
    return metrics, {str(name): list(curves[name]) for name in curves}


def weights(run: mlflow.entities.Run) -> list[np.ndarray]:
    return recorded.model(run.info.run_id).get_weights()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """A training that nothing cut off."""
    store = new_store(tmp_path_factory.mktemp("whole"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store}/mlflow.db")
        assert run_app("mnist_mlp", "train", *SETTINGS).returncode == 0
        return ended()


def ended() -> Ended:
    """The outcome and the weights of the only run, which has finished and has left one version and no checkpoint."""
    run = only_run()
    assert run.info.status == "FINISHED"
    assert not tracking.checkpoints(run.info.run_id).exists()
    assert len(mlflow.MlflowClient().search_model_versions()) == 1
    return outcome(run), weights(run)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.usefixtures("store")
def test_a_training_that_was_cut_off_ends_as_if_it_had_not_been(number: signal.Signals, whole: Ended) -> None:
    errors = cut_off(number, "mnist_mlp", *SETTINGS, line="Epoch 2/4")
    run_id = only_run().info.run_id
    assert list(tracking.checkpoints(run_id).iterdir())
    if number == signal.SIGINT:
        assert errors.splitlines()[-1] == "stopped by SIGINT"
        assert f"train --resume {run_id}" in errors
    result = run_app("mnist_mlp", "train", "--resume", *([run_id] if number == signal.SIGINT else []))
    assert result.returncode == 0, result.stderr
    assert "Epoch 4/4" in result.stdout
    assert "Epoch 1/4" not in result.stdout
    cut = ended()
    assert whole[0] == cut[0]
    for one, other in zip(whole[1], cut[1], strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.usefixtures("store")
def test_another_machine_goes_on_from_an_object_storage(whole: Ended, monkeypatch: pytest.MonkeyPatch) -> None:
    with new_bucket() as bucket:
        monkeypatch.setenv("CHECKPOINTS", "s3://data/checkpoints")
        cut_off(signal.SIGKILL, "mnist_mlp", *SETTINGS, line="Epoch 2/4")
        run_id = only_run().info.run_id
        shutil.rmtree(tracking.checkpoints(run_id))
        result = run_app("mnist_mlp", "train", "--resume", run_id)
        assert result.returncode == 0, result.stderr
        assert "Epoch 1/4" not in result.stdout
        assert keys(bucket) == []
    cut = ended()
    assert whole[0] == cut[0]
    for one, other in zip(whole[1], cut[1], strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.usefixtures("store")
def test_pretraining_goes_on_too() -> None:
    settings = ("--hidden", "50", "60", "--pretraining", "3", "--limit", "2000", "--epochs", "1")
    cut_off(signal.SIGKILL, "dbn", *settings, line="pretraining layer 2")
    cut = only_run()
    assert {file.name for file in tracking.checkpoints(cut.info.run_id).glob("*-1.npz")} <= {"training-layer_1.npz"}
    resumed = run_app("dbn", "train", "--resume")
    assert resumed.returncode == 0, resumed.stderr
    first, second = resumed.stdout.split("pretraining layer 2 of 2")
    assert "Epoch" not in first  # the first machine had learnt
    assert "Epoch 3/3" in second
    cut = only_run()
    assert run_app("dbn", "train", *settings).returncode == 0
    whole = next(run for run in tracking.find({"app": "dbn"}) if run.info.run_id != cut.info.run_id)
    assert outcome(whole) == outcome(cut)
    for one, other in zip(weights(whole), weights(cut), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.usefixtures("store")
def test_only_an_interrupted_training_of_the_app_with_its_settings_is_resumed() -> None:
    assert_user_error(run_app("perceptron", "train", "--resume"), "no interrupted training of perceptron")
    assert_user_error(run_app("perceptron", "train", "--resume", "nothing"), "run nothing: there is none")
    assert run_app("perceptron", "train", "--epochs", "1").returncode == 0
    done = only_run()
    assert_user_error(run_app("perceptron", "train", "--resume", done.info.run_id), "--resume", "finished")
    mlflow.MlflowClient().set_terminated(done.info.run_id, "KILLED")
    assert_user_error(run_app("mnist_mlp", "train", "--resume", done.info.run_id), "not a training of mnist_mlp")
    refused = run_app("perceptron", "train", "--resume", "--learning-rate", "0.25", "--epochs", "2")
    assert_user_error(refused, f"--learning-rate 0.25: the run {done.info.run_id} began with")
    State(history={"loss": [1.0, 1.0, 1.0]}).write(tracking.checkpoints(done.info.run_id) / "training.npz")
    refused = run_app("perceptron", "train", "--resume", "--epochs", "2")
    assert_user_error(refused, f"--epochs 2: the run {done.info.run_id} has 3 already")
    tracking.delete_checkpoints(done.info.run_id)
    resumed = run_app("perceptron", "train", "--resume", "--epochs", "2")
    assert resumed.returncode == 0, resumed.stderr
    again = only_run()
    assert again.info.status == "FINISHED"
    assert recorded.config(again.info.run_id).epochs == 2
