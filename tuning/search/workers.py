"""Workers: processes that train trials, on this machine or, by `cluster.py`, on several ones."""

import contextlib
import multiprocessing
import os
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent import futures
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from common.config import Config
from common.errors import UserError
from tuning.search.specs import Outcome, SearchSpec, TrialSpec

if TYPE_CHECKING:  # a worker starts without KerasTuner
    from tuning.search.oracle import PersistentOracle

MAX_DEATHS = 2
"""Deaths of a worker in the same trial after which the trial has failed."""
MAX_FAILED_STARTS = 3
"""Deaths in a row without a trial after which the search ends."""
TIMEOUT = 10
"""Seconds between the request that a worker end and its kill."""
INTERVAL = 0.2
"""Seconds after which a worker without a trial asks for one again."""
DEVICES = Path("/dev")

T = TypeVar("T")


class Workers(Protocol):
    """Processes that call functions, one at a time each."""

    @property
    def names(self) -> Sequence[str]:
        """Their names."""

    @property
    def lost(self) -> type[Exception] | tuple[type[Exception], ...]:
        """Errors of a call whose process has ended."""

    def start(self, name: str, function: Callable[..., T], *arguments: Any) -> "Future[T]":
        """Start a worker, or replace its process, and call a function in it."""

    def call(self, name: str, function: Callable[..., T], *arguments: Any) -> "Future[T]":
        """Call a function in a worker that has started."""

    def close(self) -> None:
        """End all workers."""


class LocalWorkers:
    """Worker processes of this machine, each with a share of it, which write into logs in `folder`."""

    lost = BrokenProcessPool

    def __init__(self, count: int, folder: Path) -> None:
        self.names = [f"worker-{index}" for index in range(count)]
        self.folder = folder
        self.pools: dict[str, ProcessPoolExecutor] = {}

    def start(self, name: str, function: Callable[..., T], *arguments: Any) -> "Future[T]":
        if name in self.pools:
            self.pools[name].shutdown(wait=False)
        variables, cores = machine_share(self.names.index(name), len(self.names))
        preparation = (self.folder / f"{name}.log", os.environ | variables, cores)
        self.pools[name] = ProcessPoolExecutor(1, _context(), _begin, preparation)
        return self.call(name, function, *arguments)

    def call(self, name: str, function: Callable[..., T], *arguments: Any) -> "Future[T]":
        try:
            return self.pools[name].submit(function, *arguments)
        except BrokenProcessPool as error:  # it ended while it had nothing to do
            failed = Future[T]()
            failed.set_exception(error)
            return failed

    def close(self) -> None:
        processes = multiprocessing.active_children()
        for process in processes:
            process.terminate()
        for pool in self.pools.values():
            pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.join(TIMEOUT)
            process.kill()


def _context() -> multiprocessing.context.BaseContext:
    """Return the way in which workers start: where it is safe, as forks of one process that has imported Keras."""
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tuning.search.worker"])
    return context


def _begin(log: Path, environment: Mapping[str, str], cores: Collection[int]) -> None:
    """Prepare a process of this machine to be a worker."""
    if hasattr(os, "setsid"):
        os.setsid()  # Ctrl-C reaches only the command, which then ends its workers
    write_into(log)
    os.environ.clear()
    os.environ.update(environment)
    if cores:
        os.sched_setaffinity(0, cores)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def write_into(log: Path) -> None:
    """Let this process write its output and errors into a file."""
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)


def _end_with_parent() -> None:
    """End this process once its parent is gone: the search may be resumed at once."""
    parent = multiprocessing.parent_process()
    assert parent
    parent.join()
    os._exit(1)


def prepare(search: SearchSpec) -> str | None:
    """Load a search's app and data in a worker; returns the error of a user, or None."""
    if not search.folder.exists():
        return f"{search.folder}: not on {socket.gethostname()}; all nodes must share this folder"
    try:
        from tuning.search import worker  # imports Keras

        worker.trainer(search)
    except UserError as error:
        return str(error)
    return None


def train(search: SearchSpec, trial: TrialSpec) -> Outcome:
    """Train a trial in a worker."""
    from tuning.search import worker

    return worker.trainer(search).train(trial)


def run(
    workers: Workers,
    search: SearchSpec,
    oracle: "PersistentOracle",
    configs: Callable[[Any], Config],
    poll: Callable[[], object],
) -> None:
    """Train the trials that an oracle proposes until it has no more.

    If a worker is lost, another process replaces it, and the first worker without a trial goes on with the lost one.

    Args:
        workers: The workers, none of which has been started.
        search: The search.
        oracle: The oracle.
        configs: From a trial's hyperparameters to its settings.
        poll: Is called after each change.

    Raises:
        UserError: If the data cannot be loaded, or workers end before they have a trial.
    """
    starting, running = dict[Future[Any], str](), dict[Future[Any], tuple[str, Any]]()
    idle, deaths, failed_starts = list[str](), Counter[str](), 0

    def start(name: str) -> None:
        starting[workers.start(name, prepare, search)] = name

    for name in workers.names:
        start(name)
    while True:
        for name in list(idle):
            trial = oracle.create_trial(name)
            if trial.status != "RUNNING":
                continue
            try:
                config = configs(trial.hyperparameters)
            except UserError as error:
                oracle.end(trial, None, str(error))
                continue
            died = deaths[trial.trial_id]
            ended = f"the trial ended its process {died} times; the memory may not suffice"
            spec = TrialSpec(
                trial.trial_id, config, trial.hyperparameters.values, ended if died >= MAX_DEATHS else None
            )
            running[workers.call(name, train, search, spec)] = name, trial
            idle.remove(name)
        if idle and not running:
            return
        done, _ = futures.wait([*starting, *running], INTERVAL, futures.FIRST_COMPLETED)
        for future in done & starting.keys():
            name = starting.pop(future)
            try:
                if problem := future.result():
                    raise UserError(problem)
            except workers.lost as error:
                failed_starts += 1
                if failed_starts == MAX_FAILED_STARTS:
                    raise UserError(_failed_start(search.folder / f"{name}.log")) from error
                start(name)
            else:
                failed_starts = 0
                idle.append(name)
        for future in done & running.keys():
            name, trial = running.pop(future)
            try:
                outcome = future.result()
            except workers.lost:
                deaths[trial.trial_id] += 1
                oracle.requeue(name)
                start(name)
                continue
            oracle.end(trial, outcome.score, outcome.error)
            if outcome.grown:
                start(name)
            else:
                idle.append(name)
        if done:
            poll()


def _failed_start(log: Path) -> str:
    """Return the message for workers that end before they have a trial."""
    lines = []
    with contextlib.suppress(OSError):
        lines = log.read_text(errors="replace").strip().splitlines()
    return f"workers end before they have a trial; {log} ends: {lines[-1] if lines else 'nothing'}"


def main_module() -> str:
    """Return the name of the module that was run with -m."""
    spec = sys.modules["__main__"].__spec__
    assert spec is not None
    return spec.name


def machine_share(index: int, count: int) -> tuple[dict[str, str], set[int]]:
    """Divide this machine's GPUs, or else its CPU cores, among `count` workers.

    Returns:
        The environment variables of worker `index`, and its CPU cores; an empty set means all of them.
    """
    gpus = visible_gpus()
    if gpus:
        return {"CUDA_VISIBLE_DEVICES": gpus[index % len(gpus)]}, set()
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return {}, set(cores[index::count]) if count <= len(cores) else set()


def visible_gpus() -> list[str]:
    """Return the numbers of the NVIDIA GPUs that this process may use, without a library, which would allocate them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [number for number in visible.split(",") if number not in ("", "-1")]
    return sorted(path.name.removeprefix("nvidia") for path in DEVICES.glob("nvidia[0-9]*"))
