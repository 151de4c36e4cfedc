"""A training on several hosts is that of one; here they are processes of this machine."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import keras
import mlflow
import numpy as np
import psutil
import pytest

from common import host_log, lazy
from common.data import Array
from common.errors import UserError
from common.training import hosts
from common.training.checkpoint import Followed, State
from tests.conftest import ROOT, assert_user_error, free_port, new_store, run_app
from tests.nodes import two_nodes

COMMAND = ("-m", "tests.training.on_hosts", "train", "--no-baseline", "--epochs", "3", "--batch-size", "16")


@dataclass(frozen=True)
class Ended:
    """How a process ended, and its stderr."""

    status: int
    errors: str


def environment(folder: Path) -> dict[str, str]:
    """The environment of a training with the store in `folder`."""
    return os.environ | {
        "KERAS_BACKEND": "jax",
        "XLA_FLAGS": "--xla_backend_optimization_level=0",
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
    }


def train(folder: Path, number: int, *flags: str, killed: int | None = None) -> list[Ended]:
    """Train on so many hosts with the store in `folder`; one of them may be killed after the first epoch."""
    variables = {"JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{free_port()}", "HOSTS_END": f"{folder}/{killed}"}
    with contextlib.ExitStack() as stack:
        processes = []
        for index in range(number):
            joining = ("--hosts", str(number), "--host", str(index)) if number > 1 else ()
            process = subprocess.Popen(
                [sys.executable, *COMMAND, *joining, *flags],
                cwd=ROOT,
                env=environment(folder) | variables,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            processes.append(stack.enter_context(process))
        errors = [process.communicate(timeout=500)[1] for process in processes]
    return [Ended(process.returncode, error) for process, error in zip(processes, errors, strict=True)]


def weights(store: Path) -> list[Array]:
    """The weights of the model in a store."""
    lazy.register_layers()
    (model,) = store.glob("artifacts/*/models/*/artifacts/data/model.keras")
    return [np.asarray(weight) for weight in keras.models.load_model(model).get_weights()]


def only_run(store: Path) -> mlflow.entities.Run:
    """The one run in a store."""
    client = mlflow.MlflowClient(f"sqlite:///{store}/mlflow.db")
    (run,) = client.search_runs([one.experiment_id for one in client.search_experiments()])
    return run


def history(store: Path) -> list[float]:
    """The loss and the validation loss of every epoch of the one run in a store."""
    client, run = mlflow.MlflowClient(f"sqlite:///{store}/mlflow.db"), only_run(store)
    assert run.info.status == "FINISHED"
    return [point.value for name in ("loss", "val_loss") for point in client.get_metric_history(run.info.run_id, name)]


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a training on one host."""
    store = new_store(tmp_path_factory.mktemp("single"))
    assert train(store, 1) == [Ended(0, "")]
    return store


def assert_same(store: Path, single: Path) -> None:
    assert history(store) == pytest.approx(history(single), rel=1e-4)
    for own, other in zip(weights(store), weights(single), strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("number", [2, 4])
def test_curves_and_weights_are_those_of_one_host(number: int, single: Path, tmp_path: Path) -> None:
    store = new_store(tmp_path)
    assert train(store, number) == [Ended(0, "")] * number
    assert_same(store, single)


@pytest.mark.slow
def test_after_the_death_of_a_host_the_training_goes_on_with_another_number(single: Path, tmp_path: Path) -> None:
    store = new_store(tmp_path)
    leader, follower = train(store, 2, killed=1)
    assert follower == Ended(-9, "")
    assert leader.errors == f"error: {host_log.LOST}\n"
    assert train(store, 1, "--resume") == [Ended(0, "")]
    assert_same(store, single)


@pytest.mark.slow
def test_the_death_of_the_first_host_ends_the_others(tmp_path: Path) -> None:
    leader, follower = train(new_store(tmp_path), 2, killed=0)
    assert leader.status == -9
    assert follower.errors == f"error: {host_log.LOST}\n"


@contextlib.contextmanager
def launched(folder: Path, *flags: str, killed: str | None = None) -> Iterator["subprocess.Popen[str]"]:
    """Train on two nodes of a Ray cluster with the store in `folder`; a host or its node is killed after an epoch."""
    variables = {"HOSTS_END": f"{folder}/{1 if killed else None}", "HOSTS_END_NODE": "1" if killed == "node" else ""}
    program = "import runpy, sys; from common.cli import launching; launching.RETURN = 5; sys.argv[:] = sys.argv[1:]; "
    program += "runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
    with (
        two_nodes(**variables) as (cluster, _),
        subprocess.Popen(
            [sys.executable, "-c", program, *COMMAND[1:], "--hosts", "2", "--cluster", cluster.address, *flags],
            cwd=ROOT,
            env=environment(folder),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as command,
    ):
        yield command


@pytest.mark.slow
@pytest.mark.parametrize("killed", ["host", "node"])
def test_on_a_cluster_a_training_starts_again_after_the_death_of_a_host_or_its_node(
    killed: str, single: Path, tmp_path: Path
) -> None:
    store = new_store(tmp_path)
    with launched(store, "--restarts", "1", killed=killed) as command:
        output, errors = command.communicate(timeout=900)
    assert command.returncode == 0, errors
    assert "the training starts again, 1 of 1 times" in errors
    assert ("room for 1 of 2 hosts" in errors) == (killed == "node")
    assert [output.count(f"Epoch {epoch}/3") for epoch in (1, 3)] == [1, 1]
    assert_same(store, single)


@pytest.mark.slow
@pytest.mark.parametrize("killed", ["host", "node"])
def test_on_a_cluster_the_death_of_a_host_or_its_node_ends_all_within_a_minute(killed: str, tmp_path: Path) -> None:
    store = new_store(tmp_path)
    with launched(store, killed=killed) as command:
        _, errors = command.communicate(timeout=900)
    assert time.time() - (store / "1").stat().st_mtime < 60
    assert command.returncode == 2
    (line,) = errors.splitlines()
    run = only_run(store)
    assert f"to go on: .venv/bin/python -m apps.mnist_mlp train --resume {run.info.run_id} --hosts 2 --cluster" in line
    assert run.info.status in ("FAILED", "KILLED")


@pytest.mark.slow
def test_on_a_cluster_ctrl_c_ends_all_processes(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    with launched(store, "--epochs", "1000", "--patience", "1000") as command:
        assert command.stdout
        assert any("Epoch 2/1000" in line for line in command.stdout)
        processes = [one for one in psutil.process_iter(["cmdline"]) if "--coordinator" in (one.info["cmdline"] or ())]
        assert len(processes) == 2
        command.send_signal(signal.SIGINT)
        _, errors = command.communicate(timeout=300)
        assert psutil.wait_procs(processes, timeout=60)[1] == []
    run = only_run(store)
    assert command.returncode == 130, errors
    assert f"to go on: .venv/bin/python -m apps.mnist_mlp train --resume {run.info.run_id} --hosts 2" in errors
    assert run.info.status == "KILLED"


@contextlib.contextmanager
def filtered() -> Iterator["subprocess.Popen[str]"]:
    program = [sys.executable, "-I", host_log.__file__]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        yield process


def test_the_last_words_of_native_code_become_a_line() -> None:
    native = (
        "E1129 10:01:31.410015 12732 service.cc:1549] a task died\nF1129 10:01:31.410650 client.h:80] Terminating\n"
    )
    with filtered() as process:
        _, errors = process.communicate(f"note: a note\n{native}*** Check failure stack trace: ***\n    @ 0x7f\n")
    assert errors == f"note: a note\nerror: {host_log.LOST}\n"
    with filtered() as process:
        _, errors = process.communicate(f"error: {host_log.LOST}\n{native}")
    assert errors == f"error: {host_log.LOST}\n"


def test_a_signal_to_all_processes_of_a_job_loses_no_words() -> None:
    with filtered() as process:
        assert process.stdin
        assert process.stderr
        process.stdin.write("note: a note\n")
        process.stdin.flush()
        assert process.stderr.readline() == "note: a note\n"
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate("stopped by SIGTERM\n")
    assert errors == "stopped by SIGTERM\n"


def test_a_host_that_follows_stops_at_no_signal_because_the_first_one_needs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("common.interruption._State.received", signal.SIGTERM)
    model, followed = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]), Followed(State())
    model.compile(loss="mse")
    model.fit(np.ones((4, 1)), np.ones((4, 1)), epochs=2, verbose=0, callbacks=[followed])
    assert len(followed.history["loss"]) == 2


def test_several_hosts_need_jax() -> None:
    flags = ("train", "--hosts", "2", "--host", "0", "--coordinator", "127.0.0.1:1")
    assert_user_error(run_app("perceptron", *flags), "--hosts", "--backend jax")


@pytest.mark.parametrize(
    ("environment", "given", "words"),
    [
        ({}, ("auto", None, None), "`hosts` is not known; add it, or set JAX_NUM_PROCESSES or SLURM_NTASKS"),
        ({"SLURM_NTASKS": "2"}, ("auto", None, None), "`host` is not known"),
        ({"JOB_COMPLETION_INDEX": "1"}, (2, None, None), "`coordinator` is not known.* JAX_COORDINATOR_ADDRESS"),
        ({"JAX_COORDINATOR_ADDRESS": "there"}, (2, 1, None), "`coordinator` there: must be .* HOST:PORT"),
        ({"SLURM_PROCID": "2"}, (2, None, "there:1"), "`host` 2: must be less than `hosts` 2"),
    ],
)
def test_what_is_not_known_of_the_hosts_is_an_error(
    environment: dict[str, str],
    given: tuple[int | str, int | None, str | None],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    for name in (*hosts.COUNT, *hosts.INDEX, *hosts.ADDRESS):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=words), hosts.joined(*given):  # type: ignore[arg-type]
        pass
