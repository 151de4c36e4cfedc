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
from tests.conftest import free_port
from tests.tuning.searching import Store, settings
from tests.tuning.tiny_search import SECONDS

KILLED = ("--trials", "2", "--executions", "2", "--warm-start", "--hidden", "16", "--epochs", "4")


def wait_for(condition: Callable[[], object], process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.1)


def children(process: "subprocess.Popen[str]") -> list[str]:
    listed = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True)
    return listed.stdout.split()


def wait_until_gone(workers: list[str]) -> None:
    """Until each worker, which leads a session of its own, has seen that the command that started it is gone."""
    deadline = time.monotonic() + SECONDS
    command = ["pgrep", "-s", ",".join(workers), "-f", "tests.tuning.tiny_search"]
    while subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode == 0:
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
        wait_for(lambda: list(store.folder.glob(f"searches/*/{reached}")), process)  # noqa: B023
        workers = children(process)
        process.kill()
        process.communicate()
        wait_until_gone(workers)
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


def test_workers_of_several_commands_share_a_search_and_are_replaced_when_they_die(tmp_path: Path) -> None:
    """Two workers of the chief's command and one that joins it by its address, of which two are killed.

    One from without, while all three train, whose trial goes on; another one by its trial, which has then failed.
    """
    store, folder, unlucky = Store(tmp_path), tmp_path / "hold", "16"
    folder.mkdir()
    environment = {"TINY_FAULT": "kill", "TINY_UNLUCKY": unlucky, "TINY_HOLD": str(folder)}
    # The grid has three rates with 8 units, one a worker, and then the first with 16, which kills.
    arguments = ("--trials", "4", "--algorithm", "grid", "--chief", f"127.0.0.1:{free_port()}")
    chief = store.begin(*arguments, "--workers", "2", **environment)
    wait_for(lambda: store.runs("search"), chief)
    joined = store.begin(*arguments, "--join", **environment)
    wait_for(lambda: len(list(folder.iterdir())) == 3, chief)
    workers = {file.name for file in folder.iterdir()}.intersection(children(chief))
    assert len(workers) == 2
    os.kill(int(workers.pop()), signal.SIGKILL)
    (folder / "go-0").touch()
    output, _ = chief.communicate(timeout=SECONDS)
    joined_output, _ = joined.communicate(timeout=SECONDS)
    assert (chief.returncode, joined.returncode) == (0, 0), output + joined_output
    trials = store.trials()
    assert len(trials) == 4
    for run in trials.values():
        fatal = run.data.params["hidden"] == f"({unlucky},)"
        assert run.info.status == ("FAILED" if fatal else "FINISHED")
        assert ("SIGKILL" in run.data.tags.get("error", "")) == fatal
        assert len(store.curve(run, "loss")) == (0 if fatal else 3)
    logs = [file.read_text() for file in store.folder.glob("searches/*/*.log")]
    assert len(logs) == 3
    for log in logs:  # each trained one of the three trials; who replaced the killed worker did not begin it again
        assert [log.count(f"Epoch {epoch}/3") for epoch in (1, 2, 3)] == [1, 1, 1]


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
