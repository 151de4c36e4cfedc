"""A server that does not answer, or stops answering for a while."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import pytest

from common import tracking
from common.cli import ui
from common.errors import UserError
from tests.conftest import free_port, new_store
from tests.processes import Process

EPOCHS = 40
SETTINGS = ("--limit", "2000", "--hidden", "64", "--batch-size", "32")


def test_a_server_that_never_answers_is_named_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    began = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        with pytest.raises(UserError, match=f"MLFLOW_TRACKING_URI {address}: cannot open this store"):
            tracking.connect()
    assert time.monotonic() - began < 15


def server(store: Path, port: int) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{store}/mlflow.db", "--artifacts-destination", str(store / "served")]
    environment = os.environ | ui._environment()
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    assert ui._answers(process, f"http://127.0.0.1:{port}/health")
    return process


def kill(process: "subprocess.Popen[bytes]") -> None:
    """Kill a server with the process that it has started."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_training_goes_on_while_the_server_is_away_and_loses_no_metric(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, port = new_store(tmp_path / "store"), free_port()
    address = f"http://127.0.0.1:{port}"
    serving = server(store, port)
    flags = ("--epochs", str(EPOCHS), "--patience", str(EPOCHS))
    try:
        with Process(
            "apps.mnist_mlp", "train", *SETTINGS, *flags, MLFLOW_TRACKING_URI=address, COLUMNS="200"
        ) as training:
            assert any("Epoch 5/" in line for line in training.stdout)
            kill(serving)
            assert any("Epoch 20/" in line for line in training.stdout)  # it goes on
            while "does not answer" not in Path(training.errors.name).read_text():
                assert training.poll() is None
                time.sleep(0.1)
            serving = server(store, port)
            output, errors = training.communicate(timeout=300)
        assert training.returncode == 0, errors
        notes = [line for line in errors.splitlines() if line.startswith("note: ")]
        assert len(notes) == 2
        assert "does not answer" in notes[0]
        assert "no metric was lost" in notes[1]
        assert "no metric was lost" in output
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        tracking.connect()
        (run,) = mlflow.search_runs(search_all_experiments=True, output_format="list")
        history = mlflow.MlflowClient().get_metric_history(run.info.run_id, "val_loss")
        assert [point.step for point in history] == list(range(1, EPOCHS + 1))
        assert run.info.status == "FINISHED"
    finally:
        kill(serving)
