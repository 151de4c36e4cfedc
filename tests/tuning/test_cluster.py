"""A search on a real Ray cluster, whose two nodes are processes of this machine."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from ray.cluster_utils import Cluster

from tests.buckets import keys, new_bucket
from tests.nodes import two_nodes
from tests.tuning.searching import Store, settings
from tests.tuning.test_search_survives import wait_for
from tests.tuning.tiny_search import SECONDS

COMMAND = ("--trials", "4", "--algorithm", "grid", "--workers", "2")


@pytest.fixture
def hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the trainings wait."""
    folder = tmp_path / "hold"
    folder.mkdir()
    monkeypatch.setenv("TINY_HOLD", str(folder))
    return folder


@pytest.fixture
def nodes(hold: Path) -> Iterator[tuple[Cluster, Any]]:
    """A cluster, and its node that is not the head."""
    assert hold.exists()  # its name is in the environment of the nodes
    with two_nodes() as found:
        yield found


@pytest.fixture
def bucket(hold: Path) -> Iterator[Any]:
    """A bucket for checkpoints, whose address the nodes have."""
    assert hold.exists()
    with new_bucket() as found:
        yield found


@pytest.mark.slow
@pytest.mark.parametrize("shared", [True, False])
def test_the_trial_of_a_lost_node_goes_on_elsewhere(
    shared: bool, bucket: Any, nodes: tuple[Cluster, Any], hold: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of two nodes is killed while each trains, and no other one takes its place.

    Without a shared folder, its checkpoints are lost with it, except for the copies in an object storage.
    """
    (cluster, node), store, whole = nodes, Store(tmp_path / "killed"), Store(tmp_path / "whole")
    if not shared:
        monkeypatch.setenv("CHECKPOINTS", "s3://data/checkpoints")
    command = store.begin(*COMMAND, "--cluster", cluster.address)
    wait_for(lambda: len(list(hold.iterdir())) == 2, command)
    processes = subprocess.run(
        ["pgrep", "-P", str(node.all_processes["raylet"][0].process.pid)], capture_output=True, check=True
    )
    (worker,) = {file.name for file in hold.iterdir()}.intersection(processes.stdout.decode().split())
    cluster.remove_node(node, allow_graceful=False)
    os.kill(int(worker), signal.SIGKILL)
    assert len(keys(bucket)) == (0 if shared else 2)
    if not shared:
        shutil.rmtree(store.folder / "checkpoints")
    (hold / "go-0").touch()
    _, errors = command.communicate(timeout=SECONDS)
    assert command.returncode == 0, errors
    monkeypatch.delenv("CHECKPOINTS", raising=False)
    assert whole.search(*COMMAND)[0] == 0
    assert settings(store.trials()) == settings(whole.trials())
    for kind in ("search", "trial", "train"):
        assert [run.info.status for run in store.runs(kind)] == ["FINISHED"] * len(whole.runs(kind))
    for number, run in whole.trials().items():  # no epoch is recorded twice
        assert store.curve(store.trials()[number], "val_loss") == whole.curve(run, "val_loss")
    logs = "".join(file.read_text() for file in store.folder.glob("searches/*/*.log"))
    assert [logs.count(f"Epoch {epoch}/3") for epoch in (1, 2, 3)] == [4, 4, 4]  # the lost trial was not begun again
    (best,), (expected,) = store.runs("train"), whole.runs("train")
    assert best.data.params == expected.data.params


@pytest.mark.slow
def test_ctrl_c_ends_the_workers_and_the_same_command_goes_on(
    nodes: tuple[Cluster, Any], hold: Path, tmp_path: Path
) -> None:
    (cluster, _), store = nodes, Store(tmp_path / "stopped")
    arguments = (*COMMAND, "--cluster", cluster.address)
    command = store.begin(*arguments)
    wait_for(lambda: len(list(hold.iterdir())) == 2, command)
    trainings = [psutil.Process(int(file.name)) for file in hold.iterdir()]
    command.send_signal(signal.SIGINT)
    output, errors = command.communicate(timeout=SECONDS)
    assert command.returncode == 130, errors
    assert "0 trials have finished; the same command resumes the search" in output
    assert psutil.wait_procs(trainings, timeout=60)[1] == []
    assert [run.info.status for run in store.runs("trial")] == ["KILLED"] * 2
    (hold / "go-0").touch()
    command = store.begin(*arguments)
    output, errors = command.communicate(timeout=SECONDS)
    assert command.returncode == 0, errors
    assert [run.info.status for run in store.runs("trial")] == ["FINISHED"] * 4


@pytest.mark.slow
def test_workers_that_die_while_they_start_end_the_search(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with two_nodes(TINY_FAULT="start") as (cluster, _):
        command = store.begin(*COMMAND, "--cluster", cluster.address)
        _, errors = command.communicate(timeout=SECONDS)
    assert command.returncode == 2
    (line,) = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert "workers end before they have a trial" in line
    assert [run.info.status for run in store.runs("search")] == ["FAILED"]
