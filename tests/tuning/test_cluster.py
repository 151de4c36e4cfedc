"""A search on a real Ray cluster, whose two nodes are processes of this machine."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ray.cluster_utils import Cluster

from tests.tuning.searching import Store, settings
from tests.tuning.test_search_survives import wait_for
from tests.tuning.tiny_search import SECONDS

COMMAND = ("--trials", "4", "--algorithm", "grid", "--workers", "2")


@pytest.fixture
def hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the trainings wait; the nodes have its name from the environment."""
    folder = tmp_path / "hold"
    folder.mkdir()
    monkeypatch.setenv("TINY_HOLD", str(folder))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    return folder


@pytest.fixture
def nodes(hold: Path) -> Iterator[tuple[Cluster, Any]]:
    """A cluster of two nodes with a core each, and the one that is not its head."""
    assert hold.exists()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        yield cluster, cluster.add_node(num_cpus=1)
    finally:
        cluster.shutdown()


@pytest.mark.slow
def test_the_trial_of_a_lost_node_goes_on_elsewhere(nodes: tuple[Cluster, Any], hold: Path, tmp_path: Path) -> None:
    """One of two nodes is killed while each trains, and no other one takes its place."""
    (cluster, node), store, whole = nodes, Store(tmp_path / "killed"), Store(tmp_path / "whole")
    command = store.begin(*COMMAND, "--cluster", cluster.address)
    wait_for(lambda: len(list(hold.iterdir())) == 2, command)
    processes = subprocess.run(
        ["pgrep", "-P", str(node.all_processes["raylet"][0].process.pid)], capture_output=True, check=True
    )
    (worker,) = {file.name for file in hold.iterdir()}.intersection(processes.stdout.decode().split())
    cluster.remove_node(node, allow_graceful=False)
    os.kill(int(worker), signal.SIGKILL)
    (hold / "go-0").touch()
    output, _ = command.communicate(timeout=SECONDS)
    assert command.returncode == 0, output
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
