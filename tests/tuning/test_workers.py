"""Workers of this machine and of a cluster, and their trials when they are lost."""

import importlib.util
import itertools
import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from apps.mnist_mlp import Settings as MnistMlp
from common import Classification, tracking
from common.errors import UserError
from tests.tuning import tiny_search
from tuning.search import chief, cluster, oracle, space, worker, workers
from tuning.search.options import ExecutionOptions, SearchOptions
from tuning.search.specs import Outcome, SearchSpec, TrialSpec


class LostError(Exception):
    """The process of a worker has ended."""


class FakeWorkers:
    """Workers that end at once; `lose` says by its trial and number whether a call is lost."""

    lost = LostError
    patience = 0.0

    def __init__(self, names: Sequence[str], lose: Callable[[str, int], bool], problem: str | None = None) -> None:
        self.names, self.lose, self.problem = names, lose, problem
        self.calls, self.starts = Counter[str](), Counter[str]()
        self.trained = list[tuple[str, TrialSpec]]()

    def start(self, name: str, function: Callable[..., Any], *arguments: Any) -> "Future[Any]":
        self.starts[name] += 1
        return self.call(name, function, *arguments)

    def call(self, name: str, function: Callable[..., Any], *arguments: Any) -> "Future[Any]":
        done = Future[Any]()
        trial = arguments[1] if function is workers.train else None
        key = trial.number if trial else "start"
        self.calls[key] += 1
        if self.lose(key, self.calls[key]):
            done.set_exception(LostError())
        elif trial:
            self.trained.append((name, trial))
            done.set_result(Outcome(error=trial.error) if trial.error else Outcome(0.5, grown=trial.number == "0"))
        else:
            done.set_result(self.problem)
        return done

    def close(self) -> None:
        pass


def search(fake: FakeWorkers, folder: Path, trials: int = 3, impossible: int | None = None) -> oracle.PersistentOracle:
    configs = space.ConfigBuilder(tiny_search.space, [], "tiny")
    proposer = oracle.create(SearchOptions(), configs, Classification(), folder / "oracle")
    proposer.max_trials = trials
    spec = SearchSpec("tests.tuning.tiny_search", SearchOptions(), MnistMlp(), "run", folder)
    calls = itertools.count()

    def of(hyperparameters: Any) -> MnistMlp:
        if next(calls) == impossible:
            raise UserError("`hidden` must be at least 1")
        return configs(hyperparameters)  # type: ignore[return-value]

    workers.run(fake, spec, proposer, of, lambda: None)
    return proposer


def test_a_lost_trial_goes_on_and_one_that_is_lost_twice_has_failed(tmp_path: Path) -> None:
    fake = FakeWorkers(["worker-0", "worker-1"], lambda key, call: (key, call) in {("1", 1), ("2", 1), ("2", 2)})
    finished = {trial.trial_id: trial for trial in search(fake, tmp_path).finished()}
    assert {number: trial.status for number, trial in finished.items()} == {
        "0": "COMPLETED",
        "1": "COMPLETED",
        "2": "FAILED",
    }
    assert "ended its process 2 times" in finished["2"].message
    assert sum(fake.starts.values()) == 2 + 3 + 1  # at first, after three losses, and after trial 0 in new memory


def test_a_trial_with_impossible_settings_has_failed_and_the_next_one_is_trained(tmp_path: Path) -> None:
    fake = FakeWorkers(["worker-0"], lambda _key, _call: False)
    finished = search(fake, tmp_path, impossible=0).finished()
    assert [trial.status for trial in finished] == ["FAILED", "COMPLETED", "COMPLETED"]
    assert finished[0].message == "`hidden` must be at least 1"


def test_workers_that_cannot_start_end_the_search(tmp_path: Path) -> None:
    (tmp_path / "worker-0.log").write_text("first line\nno memory\n")
    with pytest.raises(UserError, match=r"before they have a trial; .*worker-0.log ends: no memory"):
        search(FakeWorkers(["worker-0"], lambda key, _call: key == "start"), tmp_path)
    search(FakeWorkers(["worker-0"], lambda key, call: key == "start" and call < 3), tmp_path)
    with pytest.raises(UserError, match="before they have a trial"):  # others that start do not count
        search(FakeWorkers(["worker-0", "worker-1"], lambda key, call: key != "start" or call > 2), tmp_path)
    with pytest.raises(UserError, match="no such file"):
        search(FakeWorkers(["worker-0"], lambda _key, _call: False, "data.csv: no such file"), tmp_path)


def test_starts_that_fail_while_ray_does_not_know_that_a_node_is_lost_count_as_one(tmp_path: Path) -> None:
    fake = FakeWorkers(["worker-0"], lambda key, call: key == "start" and call < 9)
    fake.patience = 600
    assert [trial.status for trial in search(fake, tmp_path).finished()] == ["COMPLETED"] * 3


def test_a_worker_needs_the_folder_of_the_search(tmp_path: Path) -> None:
    spec = SearchSpec("tests.tuning.tiny_search", SearchOptions(), MnistMlp(), "run", tmp_path / "elsewhere")
    assert "all nodes must share this folder" in str(workers.prepare(spec))


def test_a_worker_is_replaced_after_a_growth_of_150_mebibytes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    spec = SearchSpec("tests.tuning.tiny_search", SearchOptions(), MnistMlp(), "run", tmp_path)
    trainer = worker.Trainer(spec)
    monkeypatch.setattr(tracking, "finished", lambda *_: {"best_val_accuracy": 0.5})
    for mebibytes, grown in ((800, False), (900, False), (950, False), (951, True)):
        monkeypatch.setattr(tracking, "peak_memory", lambda peak=mebibytes * 2**20: peak)
        assert trainer.train(TrialSpec("0", MnistMlp(), {})) == Outcome(0.5, None, grown)


def test_each_worker_has_its_share_of_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(workers, "DEVICES", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: {0, 1, 2, 3, 4})
    assert [workers.machine_share(index, 2) for index in range(2)] == [({}, {0, 2, 4}), ({}, {1, 3})]
    assert workers.machine_share(0, 6) == ({}, set())
    for number in (0, 1):
        (tmp_path / f"nvidia{number}").touch()
    (tmp_path / "nvidia-uvm").touch()
    assert [workers.machine_share(index, 3)[0]["CUDA_VISIBLE_DEVICES"] for index in range(3)] == ["0", "1", "0"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    assert [workers.machine_share(index, 2)[0]["CUDA_VISIBLE_DEVICES"] for index in range(2)] == ["5", "7"]


def test_without_ray_a_cluster_is_one_line_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(UserError, match=r"`cluster`: Ray is not installed; pip install -r requirements-cluster.txt"):
        chief.open_workers(ExecutionOptions(cluster="auto"), tmp_path)


def test_a_cluster_that_does_not_answer_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"`cluster` auto: no Ray cluster answers there .*`ray start --head`") as error:
        cluster.RayWorkers(1, tmp_path, "auto")
    assert "\n" not in str(error.value)
