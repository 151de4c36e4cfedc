"""Nothing that ends a search, a worker or a trial loses anything."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from apps.mnist_mlp import Settings as MnistMlp
from tests import tiny_search
from tests.conftest import free_port
from tests.searching import Store, settings

LONG = {"TINY_EPOCHS": "25"}
KILLED = ("--trials", "2", "--executions", "2", "--warm-start", "--hidden", "16")


def wait_for(condition: Callable[[], object], process: "subprocess.Popen[str]", seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.1)


def wait_until_gone() -> None:
    """Until no worker of the killed command is left: each sees by itself that it has no parent any more."""
    deadline = time.monotonic() + 60
    command = "tests.tiny_search " + " ".join(KILLED)
    while subprocess.run(["pgrep", "-f", command], stdout=subprocess.DEVNULL, check=False).returncode == 0:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def finished(store: Store) -> int:
    return sum(run.info.status == "FINISHED" for run in store.trials().values())


def test_killed_anywhere_it_goes_on_from_the_last_epoch_to_the_same_scores(tmp_path: Path) -> None:
    """Killed while its worker starts, and in two trials' epochs; then compared with a search that nobody killed."""
    store, whole = Store(tmp_path / "killed"), Store(tmp_path / "whole")
    for reached in ("worker-0.log", "trial_0/2.state", "trial_1/1.state"):
        process = store.begin(*KILLED, **LONG)
        wait_for(lambda: list(store.folder.glob(f"searches/*/{reached}")), process)  # noqa: B023
        process.kill()
        process.communicate()
        wait_until_gone()
        assert [run.info.status for run in store.runs("search")] == ["RUNNING"]
    assert store.search(*KILLED, **LONG)[0] == 0
    assert whole.search(*KILLED, **LONG)[0] == 0
    assert settings(store.trials()) == settings(whole.trials())
    assert store.trials()["0"].data.params["epochs"] == str(MnistMlp().epochs)  # the app's own settings, tried first
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


def test_workers_of_several_commands_share_a_search_and_are_replaced_when_they_die(tmp_path: Path) -> None:
    """Two workers of the chief's command and one that joins it by its address, of which two are killed.

    One from without, whose trial goes on; the other one by its trial, which has then failed.
    """
    store, fault = Store(tmp_path), {"TINY_FAULT": "kill"}
    address = f"127.0.0.1:{free_port()}"
    arguments = ("--trials", "7", "--algorithm", "grid", "--chief", address, "--epochs", "120", "--patience", "200")
    chief = store.begin(*arguments, "--workers", "2", **fault)
    wait_for(lambda: store.runs("search"), chief)
    joined = store.begin(*arguments, "--join", **fault)
    wait_for(lambda: finished(store) >= 1, chief)
    workers = subprocess.run(["pgrep", "--parent", str(chief.pid)], capture_output=True, text=True, check=True)
    os.kill(int(workers.stdout.split()[0]), signal.SIGKILL)
    output, _ = chief.communicate(timeout=200)
    joined_output, _ = joined.communicate(timeout=60)
    assert (chief.returncode, joined.returncode) == (0, 0), output + joined_output
    trials = store.trials()
    assert len(trials) == 7
    for run in trials.values():
        unlucky = run.data.params["hidden"] == f"({tiny_search.UNLUCKY},)"
        assert run.info.status == ("FAILED" if unlucky else "FINISHED")
        assert ("SIGKILL" in run.data.tags.get("error", "")) == unlucky
        assert len(store.curve(run, "loss")) == (0 if unlucky else 120)
    logs = [file.read_text() for file in store.folder.glob("searches/*/*.log")]
    assert len(logs) == 3
    assert all("Epoch 120/120" in log for log in logs)


def test_a_search_in_which_every_trial_fails_says_so_and_can_be_started_over(tmp_path: Path) -> None:
    store, fault = Store(tmp_path), {"TINY_FAULT": "nan", "TINY_UNLUCKY": "all"}
    status, output, _ = store.search("--trials", "4", **fault)
    assert status == 1
    assert "every trial failed" in output
    assert "loss is nan" in output
    assert [run.info.status for run in (*store.runs("search"), *store.runs("trial"))] == ["FAILED"] * 5
    assert store.runs("train") == []
    for answer in ("n\n", ""):
        status, _, errors = store.search("--trials", "4", "--fresh", answer=answer)
        assert status == 2
        assert "4 finished trials" in errors.splitlines()[-1]
    assert len(store.runs("search")) == 1
    assert store.search("--trials", "1", "--fresh", answer="y\n")[0] == 0
    assert [run.info.status for run in store.runs("search")] == ["FAILED", "FINISHED"]
    assert len(store.runs("trial")) == 5
