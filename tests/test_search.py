"""Real searches on a few digits: what they leave in the store, and that nothing that ends them loses anything."""

import ast
import contextlib
import io
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mlflow
import numpy as np
import pytest
import tyro
from PIL import Image

from apps.mnist_mlp import MnistMlp
from common import tracking
from tests import tiny_search
from tests.conftest import ROOT
from tuning.search import crew

Runs = dict[str, mlflow.entities.Run]


@dataclass(frozen=True)
class Store:
    """A store of its own for the searches of a test."""

    folder: Path

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.folder}/mlflow.db"

    def search(self, *arguments: str, answer: str = "", **environment: str) -> tuple[int, str, str]:
        """Run the command to its end, the chief in this process; gives status, output and errors."""
        output, errors, status = io.StringIO(), io.StringIO(), 0
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["tiny_search", *arguments])
            patch.setattr(sys, "stdin", io.StringIO(answer))
            patch.setattr(crew, "module", lambda: "tests.tiny_search")
            for name, value in {"MLFLOW_TRACKING_URI": self.uri, "COLUMNS": "200", **environment}.items():
                patch.setenv(name, value)
            with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
                try:
                    tiny_search.main()
                except SystemExit as ended:
                    status = int(ended.code or 0)
        return status, output.getvalue(), errors.getvalue()

    def begin(self, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
        """Begin the command as a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "tests.tiny_search", *arguments],
            cwd=ROOT,
            env=os.environ | {"MLFLOW_TRACKING_URI": self.uri} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def runs(self, kind: str) -> list[mlflow.entities.Run]:
        """The runs of a kind, the oldest first."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MLFLOW_TRACKING_URI", self.uri)
            return tracking.find({"kind": kind})[::-1]

    def trials(self) -> Runs:
        """The trials by their numbers."""
        return {run.data.tags["trial"]: run for run in self.runs("trial")}

    def curve(self, run: mlflow.entities.Run, metric: str) -> list[float]:
        """What a run recorded of a metric; fails where an epoch is recorded twice, or left out."""
        points = mlflow.MlflowClient(self.uri).get_metric_history(run.info.run_id, metric)
        steps = sorted(point.step for point in points)
        assert steps == list(range(1, len(points) + 1))
        return [point.value for point in sorted(points, key=lambda point: point.step)]


def settings(runs: Runs) -> dict[str, tuple[object, ...]]:
    """What each trial tried, and its score."""
    names = ("hidden", "learning_rate")
    return {
        number: (*(run.data.params[name] for name in names), run.data.metrics.get("best_val_accuracy"))
        for number, run in runs.items()
    }


GRID = ("--algorithm", "grid", "--trials", "7")


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, str]:
    """A grid of which the seventh settings cannot be built, and its output."""
    store = Store(tmp_path_factory.mktemp("searched"))
    status, output, errors = store.search(*GRID, TINY_FAULT="build")
    assert status == 0, errors
    return store, output


def test_a_search_is_a_run_with_a_child_run_a_trial(searched: tuple[Store, str]) -> None:
    store, _ = searched
    (parent,), trials = store.runs("search"), store.trials()
    assert parent.data.params["algorithm"] == "grid"
    assert parent.info.status == "FINISHED"
    assert list(trials) == list("0123456")
    tried = [(run.data.params["hidden"], float(run.data.params["learning_rate"])) for run in trials.values()]
    assert tried == [(f"({units},)", rate) for units in (8, 16) for rate in (0.003, 0.01, 0.03)] + [("(24,)", 0.003)]
    usual = {name: str(value) for name, value in vars(MnistMlp(dropout=0.2, epochs=3)).items()}
    for number, run in trials.items():
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        changed = {name for name, value in run.data.params.items() if value != usual[name]}
        assert changed <= {"hidden", "learning_rate"}
        assert run.data.params.keys() == usual.keys()
        assert run.info.status == ("FAILED" if number == "6" else "FINISHED")
        if number != "6":
            curve = store.curve(run, "val_accuracy")
            assert len(curve) == 3
            assert run.data.metrics["best_val_accuracy"] == max(curve)
            assert run.data.metrics["train_seconds"] > 0
    assert trials["6"].data.tags["error"] == "ValueError: no such network"


def test_the_best_is_trained_on_all_but_the_test_set_which_nothing_else_reads(
    searched: tuple[Store, str], tmp_path: Path
) -> None:
    store, output = searched
    (parent,), (tuned,), trials = store.runs("search"), store.runs("train"), store.trials()
    best = max(settings(trials).values(), key=lambda tried: float(str(tried[-1] or 0)))
    assert (tuned.data.params["hidden"], tuned.data.params["learning_rate"]) == best[:2]
    assert tuned.data.metrics["best_val_accuracy"] == parent.data.metrics["best_val_accuracy"] == best[-1]
    assert tuned.data.metrics["test_accuracy"] > 0.3
    assert not any(name.startswith("test_") for run in trials.values() for name in run.data.metrics)
    (training,) = (entry for entry in tuned.inputs.dataset_inputs if entry.tags[0].value == "training")  # type: ignore[union-attr]
    assert '"features_shape": [1536, 28, 28]' in str(training.dataset.profile)  # 1,024 to train, 512 to validate
    assert not store.curve(tuned, "val_loss")
    client = mlflow.MlflowClient(store.uri)
    assert client.get_model_version_by_alias("mnist_mlp-mnist", "champion").run_id == tuned.info.run_id
    names = {artifact.path for artifact in client.list_artifacts(parent.info.run_id)}
    assert names >= {"best_so_far.png", "best_trials.csv", "importance.csv", "space.csv"}
    with Image.open(client.download_artifacts(parent.info.run_id, "best_so_far.png", str(tmp_path))) as picture:
        assert len(picture.getcolors(2**24) or []) > 20
    for words in (
        "failed: 1 of 7 trials (6); ValueError: no such network",
        "best trials",
        "importance",
        "trial 7 of 7",
    ):
        assert words in output
    flags = output.strip().splitlines()[-1].split(" train ")[1].split()
    assert vars(tyro.cli(MnistMlp, args=flags))["hidden"] == ast.literal_eval(str(best[0]))


def test_a_finished_search_shows_what_it_found_and_goes_on_with_more_trials(searched: tuple[Store, str]) -> None:
    store, _ = searched
    before = settings(store.trials())
    status, output, _ = store.search(*GRID[:-1], "8")
    assert status == 0
    assert "goes on with 7 finished trials" in output
    after = settings(store.trials())
    assert {number: tried for number, tried in after.items() if number != "7"} == before
    assert len(after) == 8
    assert len(store.runs("search")) == 1
    again = store.runs("train")
    if after["7"][-1] <= max(float(str(tried[-1] or 0)) for tried in before.values()):  # type: ignore[operator]
        assert len(again) == 1
        assert "trained for good already" in output


def wait_for(condition: Callable[[], object], process: "subprocess.Popen[str]", seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.1)


def wait_until_gone() -> None:
    """Until no worker of the killed command is left: each sees by itself that it has no parent any more."""
    deadline = time.monotonic() + 60
    while subprocess.run(["pgrep", "-f", "tests.tiny_search"], stdout=subprocess.DEVNULL, check=False).returncode == 0:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def finished(store: Store) -> int:
    return sum(run.info.status == "FINISHED" for run in store.trials().values())


LONG = {"TINY_EPOCHS": "25"}


def test_killed_anywhere_it_goes_on_from_the_last_epoch_to_the_same_scores(tmp_path: Path) -> None:
    """Killed while its worker starts, and in two trials' epochs; then compared with a search that nobody killed."""
    store, whole = Store(tmp_path / "killed"), Store(tmp_path / "whole")
    arguments = ("--trials", "2", "--executions", "2", "--warm-start", "--hidden", "16")
    for reached in ("worker-0.log", "trial_0/2.state", "trial_1/1.state"):
        process = store.begin(*arguments, **LONG)
        wait_for(lambda: list(store.folder.glob(f"searches/*/{reached}")), process)  # noqa: B023
        process.kill()
        process.communicate()
        wait_until_gone()
        assert [run.info.status for run in store.runs("search")] == ["RUNNING"]
    assert store.search(*arguments, **LONG)[0] == 0
    assert whole.search(*arguments, **LONG)[0] == 0
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
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    arguments = ("--trials", "8", "--algorithm", "grid", "--chief", address, "--epochs", "30", "--patience", "100")
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
    assert len(trials) == 8
    for run in trials.values():
        unlucky = run.data.params["hidden"] == f"({tiny_search.UNLUCKY},)"
        assert run.info.status == ("FAILED" if unlucky else "FINISHED")
        assert ("SIGKILL" in run.data.tags.get("error", "")) == unlucky
        assert len(store.curve(run, "loss")) == (0 if unlucky else 30)
    logs = [file.read_text() for file in store.folder.glob("searches/*/*.log")]
    assert len(logs) == 3
    assert all("Epoch 30/30" in log for log in logs)


def test_median_pruning_ends_exactly_the_trials_that_are_worse(tmp_path: Path) -> None:
    store = Store(tmp_path)
    status, _, errors = store.search("--trials", "9", "--prune", "median", "--seed", "1", TINY_EPOCHS="4")
    assert status == 0, errors
    standard: list[list[float]] = []
    pruned = 0
    for run in store.trials().values():
        curve = store.curve(run, "val_accuracy")
        below = [
            len(standard) >= 3 and value < np.median([other[epoch] for other in standard])
            for epoch, value in enumerate(curve)
        ]
        if "pruned" in run.data.tags:
            pruned += 1
            assert run.data.tags["pruned"] == f"epoch {len(curve)}"
            assert below == [False] * (len(curve) - 1) + [True]
        else:
            assert len(curve) == 4
            assert not any(below)
            standard.append(curve)
    assert pruned >= 1


def test_hyperband_goes_on_with_the_best_from_where_they_were(tmp_path: Path) -> None:
    store = Store(tmp_path)
    status, _, errors = store.search("--trials", "7", "--algorithm", "hyperband", TINY_EPOCHS="4")
    assert status == 0, errors
    trials = store.trials()
    early = [run for run in trials.values() if len(store.curve(run, "loss")) == 2]
    late = [run for run in trials.values() if len(store.curve(run, "loss")) == 4]
    assert (len(early), len(late)) == (5, 2)
    for run in late:
        tried = {name: run.data.params[name] for name in ("hidden", "learning_rate")}
        (before,) = (one for one in early if tried.items() <= one.data.params.items())
        assert store.curve(run, "val_loss")[:2] == store.curve(before, "val_loss")
    scores = sorted((max(store.curve(run, "val_accuracy")[:2]) for run in early), reverse=True)
    assert sorted((max(store.curve(run, "val_accuracy")[:2]) for run in late), reverse=True) == scores[:2]


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


def test_flags_of_the_app_hold_in_all_trials_and_are_checked_at_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    _, output, _ = store.search("--dry-run", "--hidden", "5", "6", "--seed", "4")
    assert re.search(r"size: 12 settings at most", output)
    lines = [line for line in output.splitlines() if re.match(r"\d: ", line)]
    assert len(lines) == 5
    assert all("--hidden 5 6" in line for line in lines)
    assert len({line.split(": ")[1] for line in lines}) > 1
    assert not store.folder.joinpath("searches").exists()
    for arguments, words in {
        ("--batch-size", "0"): "--batch-size",
        ("--objective", "val_acuracy"): "val_accuracy",
        ("--objective", "accuracy"): "val_NAME",
        ("--folds", "600"): "--folds",
        ("--chief", "nowhere"): "HOST:PORT",
        ("--join",): "--chief",
        ("--join", "--chief", "127.0.0.1:9"): "the store has no such search",
        ("--algorithm", "grid", "--warm-start"): "--warm-start",
        ("--algorithm", "hyperband", "--folds", "2"): "--folds",
    }.items():
        status, _, errors = store.search("--trials", "1", *arguments)
        assert status == 2, arguments
        (line,) = errors.strip().splitlines()
        assert words in line
    assert store.runs("trial") == []
