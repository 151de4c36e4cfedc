"""What a run leaves in the store, who is champion, and what happens when a run is cut off."""

import contextlib
import dataclasses
import json
import re
import signal
import sqlite3
import subprocess
import threading
import time
from pathlib import Path

import mlflow
import numpy as np
import pytest
import sqlalchemy
from PIL import Image

from common import recorded, tracking, training
from common.app import App
from common.errors import UserError
from common.preprocessing.datasets import DATASETS
from common.tracking import processes
from common.tracking.store import recording
from common.training import fitting
from tests.conftest import ROOT, Trained, assert_user_error, cut_off, run, run_app
from tests.processes import Process, run_forked


@pytest.fixture
def finished(trained_mlp: Trained, monkeypatch: pytest.MonkeyPatch) -> mlflow.entities.Run:
    """The run that a plain `train` left."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", trained_mlp.uri)
    client = tracking.connect()
    experiment = client.get_experiment_by_name("mnist")
    assert experiment is not None
    (only,) = client.search_runs([experiment.experiment_id])
    return only


def test_parameters_are_the_settings_and_nothing_else(finished: mlflow.entities.Run) -> None:
    from apps.mnist_mlp import Settings as MnistMlp

    settings = dataclasses.asdict(MnistMlp(epochs=1, hidden=(64,)))
    assert finished.data.params == {name: str(value) for name, value in settings.items()}


def test_tags_tell_app_kind_commit_device_and_versions(finished: mlflow.entities.Run) -> None:
    tags = finished.data.tags
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert tags["app"] == "mnist_mlp"
    assert tags["kind"] == "train"
    assert tags["git.commit"] == commit.strip()
    assert tags["git.dirty"] in ("true", "false")
    assert tags["device"] == "cpu:0"
    assert tags["backend"] == "tensorflow"
    assert tags["version.keras"] == "3.15.1"
    assert finished.info.status == "FINISHED"


def test_metrics_have_curves_best_and_test(finished: mlflow.entities.Run) -> None:
    metrics = finished.data.metrics
    for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
        (epoch,) = tracking.connect().get_metric_history(finished.info.run_id, name)
        assert epoch.step == 1
        assert epoch.value == metrics[f"best_{name}"]
    assert metrics["test_accuracy"] == pytest.approx(1 - metrics["test_error"])
    assert metrics["test_error_low"] < metrics["test_error"] < metrics["test_error_high"]
    assert metrics["test_accuracy"] > 0.85
    assert metrics["train_seconds"] > 0
    assert metrics["examples_per_second"] > 0
    assert metrics["trainable_parameters"] == 784 * 64 + 64 + 2 * 64 + 64 * 10 + 10


def test_the_data_set_is_an_input_with_name_sizes_and_digest(finished: mlflow.entities.Run) -> None:
    assert finished.inputs is not None
    inputs = {item.tags[0].value: item.dataset for item in finished.inputs.dataset_inputs}
    sizes = {context: json.loads(str(dataset.profile))["features_shape"][0] for context, dataset in inputs.items()}
    assert sizes == {"training": 57_000, "validation": 3_000, "testing": 10_000}
    assert {dataset.name for dataset in inputs.values()} == {"mnist"}
    digest = DATASETS["mnist"].digest
    assert {context: dataset.digest for context, dataset in inputs.items()} == {
        part: f"{digest}-{part}-{size}" for part, size in sizes.items()
    }


def test_the_pictures_are_pictures(finished: mlflow.entities.Run, tmp_path: Path) -> None:
    names = {artifact.path for artifact in tracking.connect().list_artifacts(finished.info.run_id)}
    assert names >= {"learning_curves.png", "confusion_matrix.png", "worst_mistakes.png", "first_layer_filters.png"}
    for name in (name for name in names if name.endswith(".png")):
        path = mlflow.artifacts.download_artifacts(
            run_id=finished.info.run_id, artifact_path=name, dst_path=str(tmp_path)
        )
        with Image.open(path) as picture:
            assert min(picture.size) > 150
            assert len(picture.getcolors(2**24) or []) > 50


def test_the_model_has_signature_example_and_registered_version(
    finished: mlflow.entities.Run, trained_mlp: Trained
) -> None:
    info = mlflow.models.get_model_info("models:/mnist_mlp-mnist@champion")
    assert info.run_id == finished.info.run_id
    assert info.signature.inputs.inputs[0].shape == (-1, 28, 28)
    assert info.signature.outputs.inputs[0].shape == (-1, 10)
    assert info.saved_input_example_info is not None
    assert trained_mlp("evaluate", "--model", finished.info.run_id).returncode == 0
    path = trained_mlp.model
    assert tracking.load("mnist_mlp", str(path)).outputs == tuple("0123456789")
    assert tracking.load("mnist_mlp", "mnist_mlp-mnist/1").label == "mnist_mlp-mnist/1"


def version(app: App, accuracy: float) -> tracking.Version:
    """The version that a network with this validation accuracy is registered as."""
    config = app.settings()
    data = app.load_data(config)
    with tracking.run(app, "train", config, data) as run:
        return tracking.save(run, app.build_model(config, data), {"best_val_accuracy": accuracy}, app.task)


@pytest.mark.usefixtures("store")
def test_champion_moves_only_when_validation_improves_on_the_same_data(tiny_app: App) -> None:
    assert version(tiny_app, 0.5).champion == 1
    better = version(tiny_app, 0.8)
    assert (better.number, better.champion) == (2, 2)
    worse = version(tiny_app, 0.2)
    assert (worse.number, worse.champion) == (3, 2)
    data = tiny_app.load_data(tiny_app.settings())
    other = dataclasses.replace(tiny_app, load_data=lambda _config: dataclasses.replace(data, digest="other"))
    elsewhere = version(other, 0.9)
    assert (elsewhere.number, elsewhere.champion) == (4, 2)
    assert tracking.load("mnist_mlp", None).label == "mnist_mlp-mnist version 4"  # of its data, the only model
    champion = mlflow.MlflowClient().get_model_version_by_alias("mnist_mlp-mnist", "champion")
    assert int(champion.version) == 2


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("value", [float("nan"), float("-inf"), float("inf")])
def test_a_model_without_a_finite_metric_is_no_champion(value: float, tiny_app: App) -> None:
    assert version(tiny_app, value).champion is None
    assert version(tiny_app, 0.5).champion == 2
    assert version(tiny_app, value).champion == 2
    # Earlier releases made such a model champion.
    client = mlflow.MlflowClient()
    client.set_registered_model_alias("mnist_mlp-mnist", "champion", "3")
    assert version(tiny_app, 0.4).champion == 4


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("app", ["linear_regression", "mnist_mlp"])
def test_training_that_diverges_stops_in_a_line_with_status_1(app: str) -> None:
    few = () if app == "linear_regression" else ("--limit", "4000", "--optimizer", "sgd", "--l2", "1")
    result = run_app(app, "train", "--learning-rate", "1e30", *few)
    (line,) = result.stderr.splitlines()
    assert result.returncode == 1
    assert re.match(r"error: the loss is (nan|inf) in epoch \d+, step \d+; ", line)
    assert "--learning-rate than 1e+30" in line
    (run,) = mlflow.search_runs(search_all_experiments=True, output_format="list")
    assert run.info.status == "FAILED"
    assert "the loss is" in run.data.tags["error"]
    assert not mlflow.MlflowClient().search_registered_models()


@pytest.mark.usefixtures("store")
def test_the_network_of_the_last_good_epoch_is_kept_when_training_diverges() -> None:
    settings = ("--optimizer", "sgd", "--learning-rate", "10", "--patience", "1000")
    result = run_app("linear_regression", "train", *settings)
    assert result.returncode == 1
    assert re.search(r"the loss is inf in epoch \d+, step 1; .*; the network after epoch \d+ is saved", result.stderr)
    (only,) = mlflow.search_runs(search_all_experiments=True, output_format="list")
    assert only.info.status == "FAILED"
    assert all(np.isfinite(weight).all() for weight in recorded.model(only.info.run_id).get_weights())
    page = tracking.report(only).read_text()
    assert "diverged: the loss is inf in epoch" in page
    assert "data:image/svg+xml" in page  # the curves up to that epoch
    assert not mlflow.MlflowClient().search_registered_models()


@pytest.mark.usefixtures("store")
def test_predict_takes_the_champion_and_says_so_if_a_newer_model_is_worse(
    tiny_app: App, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, rate in enumerate((0.001, 1e-6, 0.01), 1):
        training.train(tiny_app, tiny_app.settings(hidden=(16,), epochs=1, learning_rate=rate))  # type: ignore[call-arg]
        capsys.readouterr()
        saved = tracking.load("mnist_mlp", None)
        assert saved.label == f"mnist_mlp-mnist version {1 if number == 2 else number}"
        assert tracking.served("mnist_mlp", None).label == saved.label
        assert ("version 1 is used, the champion; the newest, version 2, is worse" in capsys.readouterr().err) == (
            number == 2
        )


@pytest.mark.usefixtures("store")
def test_a_baseline_stands_in_the_same_experiment(tiny_app: App) -> None:
    training.train(tiny_app, tiny_app.settings(hidden=(16,), epochs=1))  # type: ignore[call-arg]
    (result,) = training.baseline(tiny_app, tiny_app.settings()).values()
    runs = mlflow.search_runs(experiment_names=["mnist"], output_format="list")
    assert sorted(run.data.tags["kind"] for run in runs) == ["baseline", "train"]
    assert 0.75 < result.metrics["test_accuracy"] < 0.95
    assert result.version is None


@pytest.mark.usefixtures("store")
def test_an_exception_leaves_the_run_failed_and_nothing_registered(tiny_app: App) -> None:
    class BrokenError(Exception):
        pass

    def broken(*_arguments: object) -> None:
        raise BrokenError

    config = tiny_app.settings(hidden=(16,), epochs=1)  # type: ignore[call-arg]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "fit", broken)
        with pytest.raises(BrokenError):
            training.train(tiny_app, config)
    (only,) = mlflow.search_runs(experiment_names=["mnist"], output_format="list")
    assert only.info.status == "FAILED"
    assert mlflow.MlflowClient().search_registered_models() == []


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_leave_the_run_killed(number: signal.Signals) -> None:
    errors = cut_off(number, "mnist_mlp", "--epochs", "500", "--limit", "1000", line="Epoch 1/500")
    assert "Traceback" not in errors
    tracking.connect()
    (only,) = mlflow.search_runs(experiment_names=["mnist"], output_format="list")
    assert only.info.status == "KILLED"


@pytest.mark.usefixtures("store")
def test_a_run_has_a_heartbeat(tiny_app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "MINUTE", 0.1)
    config = tiny_app.settings()
    with tracking.run(tiny_app, "train", config, tiny_app.load_data(config)) as run:
        run.tag("heartbeat", "0")
        deadline = time.monotonic() + 10
        while run.tags()["heartbeat"] == "0":
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert time.time() - float(run.tags()["heartbeat"]) < 10


@pytest.mark.usefixtures("store")
def test_a_run_whose_process_was_killed_is_marked_by_the_next_command() -> None:
    endless, others = ("--epochs", "1000000", "--patience", "1000000", "--no-baseline"), []
    with Process("apps.perceptron", "train", *endless) as process:
        assert "Epoch 1/" in process.stdout.readline()
        tracking.connect()
        (running,) = mlflow.search_runs(search_all_experiments=True, output_format="list")
        client, tags = mlflow.MlflowClient(), running.data.tags
        identity = json.loads(tags["process"])
        elsewhere, silent = {"machine": "another"}, str(int(time.time()) - 16 * 60)
        for change, beat in (
            (elsewhere, {}),
            (elsewhere, {"heartbeat": tags["heartbeat"]}),
            (elsewhere, {"heartbeat": silent}),
            ({"started": identity["started"] - 60}, {}),  # an older process
        ):
            made = client.create_run("0", tags={"process": json.dumps(identity | change), **beat})
            others.append(made.info.run_id)
        compared = run_forked("common.cli.compare", "gates")
        assert "RUNNING" not in compared.stderr
        assert client.get_run(running.info.run_id).info.status == "RUNNING"  # its process is there
        assert [client.get_run(one).info.status for one in others] == ["RUNNING", "RUNNING", "KILLED", "KILLED"]
        process.kill()
        process.wait()
    run_forked("common.cli.compare", "gates")
    assert client.get_run(running.info.run_id).info.status == "KILLED"


@pytest.mark.usefixtures("store")
def test_training_goes_on_after_anything_was_deleted_in_the_ui() -> None:
    def train() -> "subprocess.CompletedProcess[str]":
        result = run_app("perceptron", "train", "--epochs", "2")
        assert result.returncode == 0, result.stderr
        return result

    train()
    client = tracking.connect()
    (model,) = client.search_registered_models()
    (found,) = mlflow.search_runs(search_all_experiments=True, output_format="list")
    client.delete_run(found.info.run_id)
    assert run_app("perceptron", "evaluate").returncode == 0  # its model is still registered
    train()
    client.delete_model_version(model.name, "1")
    train()
    client.delete_registered_model(model.name)
    assert_user_error(run_app("perceptron", "evaluate"), "train")
    train()
    client.delete_experiment(found.info.experiment_id)
    assert run_app("perceptron", "evaluate", "--model", found.info.run_id).returncode == 0  # its files are there
    assert "note: the experiment iris had been deleted; it is restored" in train().stderr
    assert client.get_experiment(found.info.experiment_id).lifecycle_stage == "active"


@pytest.mark.usefixtures("no_store")
def test_two_first_runs_at_once_share_a_new_store() -> None:
    both = [Process("apps.mnist_mlp", "train", "--epochs", "1", "--limit", "1000") for _ in range(2)]
    for process in both:
        _, errors = process.communicate(timeout=200)
        assert process.returncode == 0, errors
    tracking.connect()
    runs = mlflow.search_runs(experiment_names=["mnist"], output_format="list")
    assert [run.info.status for run in runs] == ["FINISHED"] * 2
    versions = mlflow.MlflowClient().search_model_versions("name = 'mnist_mlp-mnist'")
    assert {int(version.version) for version in versions} == {1, 2}


def test_a_writer_waits_for_the_others_and_names_a_lock_that_stays(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = store / "mlflow.db"
    client = tracking.connect()
    run = client.create_run("0").info.run_id

    def log_while_locked(seconds: float) -> None:
        with contextlib.closing(sqlite3.connect(database, check_same_thread=False)) as other:
            other.execute("BEGIN IMMEDIATE")
            release = threading.Timer(seconds, other.rollback)
            release.start()
            try:
                with recording():
                    client.log_metric(run, "loss", 1.0)
            finally:
                release.join()

    statements: list[str] = []
    noted = (sqlalchemy.Engine, "after_cursor_execute", lambda *parts: statements.append(parts[2]))
    sqlalchemy.event.listen(*noted)
    log_while_locked(0.5)
    sqlalchemy.event.remove(*noted)
    assert "PRAGMA busy_timeout = 120000;" in statements
    monkeypatch.setattr(tracking.store, "LOCKED", 0)
    with pytest.raises(UserError, match=r"cannot record \(database is locked\)"):
        log_while_locked(1.0)


def test_a_store_whose_first_use_was_interrupted_is_made_anew(no_store: Path) -> None:
    no_store.mkdir()
    (no_store / ".mlflow.db.1.partial").write_bytes(b"half a database")
    assert tracking.connect().search_experiments()


def test_the_default_store_is_beside_the_project_whatever_the_working_directory(tmp_path: Path) -> None:
    script = "from common import tracking; print(tracking.STORE)"
    result = run("-c", script, cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert result.stdout.strip().endswith(str(ROOT / "mlruns")), result.stderr


def test_a_store_that_cannot_be_opened_is_the_users_to_mend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("this is no database")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    with pytest.raises(UserError, match="not a database of MLflow"):
        tracking.connect()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "no-such-scheme://host")
    with pytest.raises(UserError, match="MLFLOW_TRACKING_URI no-such-scheme://host"):
        tracking.connect()
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]
