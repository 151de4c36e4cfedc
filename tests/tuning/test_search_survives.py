"""Nothing that ends a search, a worker or a trial loses anything."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from apps.mnist_mlp import Settings as MnistMlp
from tests.processes import Process
from tests.tuning.searching import Store, settings
from tests.tuning.tiny_search import SECONDS

KILLED = ("--trials", "2", "--executions", "2", "--warm-start", "--hidden", "16", "--epochs", "4")


def wait_for(condition: Callable[[], object], process: Process) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.1)


def wait_until_gone(store: Store) -> None:
    """Until each worker, which writes into a log of the search, has seen that the command that started it is gone."""
    deadline = time.monotonic() + SECONDS
    logs = {str(file.resolve()) for file in store.folder.glob("searches/*/*.log")}
    while any(
        file.path in logs
        for process in psutil.process_iter(["open_files"])
        for file in process.info["open_files"] or ()
    ):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_killed_anywhere_it_goes_on_from_the_last_epoch_to_the_same_scores(tmp_path: Path) -> None:
    """Killed while its worker starts, and in two trials' epochs; then compared with a search that nobody killed."""
    store, whole = Store(tmp_path / "killed"), Store(tmp_path / "whole")
    for reached, let_go in (("worker-0.log", ()), ("trial_0/2.npz", ("go-0",)), ("trial_1/1.npz", ())):
        folder = tmp_path / reached.replace("/", "-")
        folder.mkdir()
        for name in let_go:
            (folder / name).touch()
        process = store.begin(*KILLED, TINY_HOLD=str(folder))
        wait_for(lambda: list(store.folder.glob(f"*/*/{reached}")), process)  # noqa: B023
        process.kill()
        process.communicate()
        wait_until_gone(store)
        assert [run.info.status for run in store.runs("search")] == ["RUNNING"]
    assert store.search(*KILLED)[0] == 0
    assert whole.search(*KILLED)[0] == 0
    assert settings(store.trials()) == settings(whole.trials())
    rates = [run.data.params["learning_rate"] for run in store.trials().values()]
    assert rates[0] == str(MnistMlp().learning_rate)  # the app's own settings, tried first
    assert rates[0] != rates[1]
    for kind in ("search", "trial", "fold", "train"):
        ended, expected = store.runs(kind), whole.runs(kind)
        assert [run.info.status for run in ended] == ["FINISHED"] * len(expected)
    curves = {
        (run.data.tags["trial"], run.data.tags["part"]): other.curve(run, "val_loss")
        for other in (whole, store)
        for run in other.runs("fold")
    }
    for run in whole.runs("fold"):
        assert whole.curve(run, "val_loss") == curves[run.data.tags["trial"], run.data.tags["part"]]
    for number, run in store.trials().items():
        parts = [one for one in store.runs("fold") if one.data.tags["trial"] == number]
        assert {one.data.params["seed"] for one in parts} == {"0", "1"}
        scores = [one.data.metrics["best_val_accuracy"] for one in parts]
        assert run.data.metrics["best_val_accuracy"] == pytest.approx(np.mean(scores))
        assert run.data.metrics["best_val_accuracy_se"] == pytest.approx(np.std(scores, ddof=1) / 2**0.5)


def test_workers_are_replaced_when_they_die(tmp_path: Path) -> None:
    """Three workers, of which two are killed: one while all three train, whose trial goes on; another by its trial."""
    store, folder, unlucky = Store(tmp_path), tmp_path / "hold", "16"
    folder.mkdir()
    environment = {"TINY_FAULT": "kill", "TINY_UNLUCKY": unlucky, "TINY_HOLD": str(folder)}
    # The grid has three rates with 8 units, one a worker, and then the first with 16, which kills.
    command = store.begin("--trials", "4", "--algorithm", "grid", "--workers", "3", **environment)
    wait_for(lambda: len(list(folder.iterdir())) == 3, command)
    os.kill(int(next(folder.iterdir()).name), signal.SIGKILL)
    (folder / "go-0").touch()
    output, _ = command.communicate(timeout=SECONDS)
    assert command.returncode == 0, output
    trials = store.trials()
    assert len(trials) == 4
    for run in trials.values():
        fatal = run.data.params["hidden"] == f"({unlucky},)"
        assert run.info.status == ("FAILED" if fatal else "FINISHED")
        assert ("the trial ended its process 2 times" in run.data.tags.get("error", "")) == fatal
        assert len(store.curve(run, "loss")) == (0 if fatal else 3)
    logs = "".join(file.read_text() for file in store.folder.glob("searches/*/*.log"))
    # The trial of the killed worker was not begun again.
    assert [logs.count(f"Epoch {epoch}/3") for epoch in (1, 2, 3)] == [3, 3, 3]


def test_a_search_in_which_every_trial_fails_says_so_and_can_be_started_over(tmp_path: Path) -> None:
    store, fault = Store(tmp_path), {"TINY_FAULT": "nan", "TINY_UNLUCKY": "all"}
    status, output, _ = store.search("--trials", "4", **fault)
    assert status == 1
    assert "every trial failed" in output
    assert "loss is nan" in output
    assert [run.info.status for run in (*store.runs("search"), *store.runs("trial"))] == ["FAILED"] * 5
    assert store.runs("train") == []
    (page,) = store.folder.glob(f"artifacts/*/{store.runs('search')[0].info.run_id}/artifacts/report.html")
    assert page.read_text().count("loss is nan") == 4
    for answer in ("n\n", ""):
        status, _, errors = store.search("--trials", "4", "--fresh", answer=answer)
        assert status == 2
        assert "4 finished trials" in errors.splitlines()[-1]
    assert len(store.runs("search")) == 1
    assert store.search("--trials", "1", "--fresh", answer="y\n")[0] == 0
    assert [run.info.status for run in store.runs("search")] == ["FAILED", "FINISHED"]
    assert len(store.runs("trial")) == 5


def test_ctrl_c_while_a_worker_imports_keras_shows_one_line(tmp_path: Path) -> None:
    """(A terminal sends the signal to all processes of the command.)"""
    command = subprocess.Popen(
        [sys.executable, "-m", "tuning.perceptron"],
        env=os.environ | {"MLFLOW_TRACKING_URI": Store(tmp_path).uri},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    search, deadline = psutil.Process(command.pid), time.monotonic() + SECONDS
    while not any("forkserver" in " ".join(child.cmdline()) for child in search.children()):
        assert command.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(0.5)  # Python has started, and Keras's import has not ended
    os.killpg(command.pid, signal.SIGINT)
    _, errors = command.communicate(timeout=SECONDS)
    assert errors.splitlines() == ["stopped by SIGINT"]
