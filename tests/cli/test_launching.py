"""`train --hosts N --cluster ADDRESS`: processes on the nodes of a real Ray cluster, which are on this machine.

Here they are small programs; `tests/training/test_hosts.py` has trainings.
"""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from common import cluster, tracking
from common.cli import launching
from common.cli.launching import Launch
from common.errors import UserError
from tests.conftest import ROOT, assert_user_error, load_app, run_app
from tests.nodes import two_nodes

SETTINGS = load_app("mnist_mlp").settings(epochs=3)


@pytest.fixture(scope="module")
def running() -> Iterator[str]:
    with two_nodes() as (nodes, _):
        yield nodes.address


@pytest.fixture
def address(running: str, store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of the cluster, for one command."""
    assert store.exists()
    monkeypatch.setattr(launching, "main_module", lambda: "tests.cli.hosted")
    yield running
    ray.shutdown()


def launch(address: str, *ends: str, starts: Path | None = None, restarts: int = 0, resumed: str | None = None) -> None:
    """Run a process on each of as many hosts as there are ends."""
    options = {"ends": ends, "starts": starts}
    Launch(load_app("mnist_mlp"), SETTINGS, resumed, address, len(ends), restarts, 1, options).train()


def test_the_output_of_the_first_host_appears(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    launch(address, "0", "0")
    output, errors = capsys.readouterr()
    (line, arguments) = output.splitlines()
    assert line == f"host 0 of 2 in {ROOT}"
    assert "--epochs 3" in arguments
    assert errors.endswith("error: on host 0\n")


def test_the_error_and_the_status_of_a_host_are_those_of_the_command(
    address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        launch(address, "lost", "3")
    assert ended.value.code == 3
    assert capsys.readouterr().err.endswith("error: on host 1\n")


def test_the_loss_of_a_host_is_one_line_with_the_command_that_goes_on(
    address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tracking.connect().create_run("0", tags={"kind": "train"})
    with pytest.raises(UserError, match=r"host 1 on \S+ was ended by SIGKILL; to go on: (.*)$") as error:
        launch(address, "lost", "kill", resumed=run.info.run_id)
    assert f"-m apps.mnist_mlp train --resume {run.info.run_id} --hosts 2 --cluster {address}" in str(error.value)
    assert tracking.get(run.info.run_id).info.status == "KILLED"
    assert "error" not in capsys.readouterr().err


def test_after_the_loss_of_a_host_the_training_starts_again(
    address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "starts").mkdir()
    launch(address, "lost", "kill", starts=tmp_path / "starts", restarts=1)
    output, errors = capsys.readouterr()
    assert output.count("host 0 of 2") == 2
    assert "SIGKILL; the training starts again, 1 of 1 times" in errors


def test_flags_of_a_cluster_go_together_and_need_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    for flags in (
        ("--restarts", "1"),
        ("--cluster", "auto", "--hosts", "auto"),
        ("--cluster", "auto", "--host", "1"),
    ):
        assert_user_error(run_app("perceptron", "train", *flags), "--restarts needs --cluster")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ray" else name)
    result = run_app("perceptron", "train", "--cluster", "auto")
    assert_user_error(result, "--cluster: Ray is not installed; pip install -r requirements-cluster.txt")


def test_a_node_that_is_lost_after_its_reservation_leaves_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray still counts it as alive for some seconds: the process that should start there never does."""
    with two_nodes() as (nodes, second):
        cluster.connect(nodes.address)
        wait, lost = cluster._wait, list[Any]()

        def wait_and_lose(*arguments: Any) -> bool:
            found = wait(*arguments)
            if not lost:
                lost.append(second)
                nodes.remove_node(second, allow_graceful=False)
            return found

        monkeypatch.setattr(cluster, "_wait", wait_and_lose)
        try:
            with cluster.reserved(2, {"num_cpus": 1}, seconds=5) as hosts:
                assert hosts is None
        finally:
            ray.shutdown()
    assert lost
