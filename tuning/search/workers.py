"""Workers: processes that train trials, on this machine or, by `cluster.py`, on several ones."""

import contextlib
import math
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent import futures
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import forkserver
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from common import interruption
from common.config import Config
from common.errors import UserError
from tuning.search.specs import Outcome, SearchSpec, TrialSpec

if TYPE_CHECKING:  # a worker starts without KerasTuner
    from tuning.search.oracle import PersistentOracle

MAX_DEATHS = 2
"""Deaths of a worker in the same trial after which the trial has failed."""
MAX_FAILED_STARTS = 3
"""Starts that fail, with no trial ended between them, after which the search ends."""
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

    @property
    def patience(self) -> float:
        """Seconds after a failed start within which others have the same cause."""

    def start(self, name: str, function: Callable[..., T], *arguments: Any) -> "Future[T]":
        """Start a worker, or replace its process, and call a function in it."""

    def call(self, name: str, function: Callable[..., T], *arguments: Any) -> "Future[T]":
        """Call a function in a worker that has started."""

    def close(self) -> None:
        """End all workers."""


class LocalWorkers:
    """Worker processes of this machine, each with a share of it, which write into logs in `folder`."""

    lost = BrokenProcessPool
    patience = 0.0

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


def start_fork_server() -> None:
    """Start the process of which the workers will be forks. It imports Keras while this one goes on."""
    if _context().get_start_method() == "forkserver":
        handler = signal.signal(signal.SIGINT, signal.SIG_IGN)  # it inherits this, so that Ctrl-C shows no traceback
        forkserver.ensure_running()
        signal.signal(signal.SIGINT, handler)


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
    interruption.end_with_parent()  # the search may be resumed at once


def write_into(log: Path) -> None:
    """Let this process write its output and errors into a file."""
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)


def prepare(search: SearchSpec) -> str | None:
    """Load a search's app and data in a worker; returns the error of a user, or None."""
    if not search.folder.exists():
        return f"{search.folder}: not on {socket.gethostname()}; all nodes must share this folder, or set CHECKPOINTS"
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
    assignment = _Assignment(workers, search, oracle, configs)
    for name in workers.names:
        assignment.start(name)
    while assignment.assign():
        if assignment.wait():
            poll()


class _Assignment:
    """The workers of a search: those that start, those that train a trial, and those that have none."""

    def __init__(
        self, workers: Workers, search: SearchSpec, oracle: "PersistentOracle", configs: Callable[[Any], Config]
    ) -> None:
        self.workers, self.search, self.oracle, self.configs = workers, search, oracle, configs
        self.starting = dict[Future[Any], str]()
        self.training = dict[Future[Any], tuple[str, Any]]()
        self.idle = list[str]()
        self.deaths, self.failed_starts, self.failed_at = Counter[str](), 0, -math.inf

    def start(self, name: str) -> None:
        """Start a worker, or replace its process."""
        self.starting[self.workers.start(name, prepare, self.search)] = name

    def assign(self) -> bool:
        """Give trials to the workers without one; returns whether the search goes on."""
        self.idle = [name for name in self.idle if not self._give_trial(name)]
        return bool(self.training) or not self.idle

    def wait(self) -> bool:
        """Wait until a worker has started or has ended a trial; returns whether one has."""
        done, _ = futures.wait([*self.starting, *self.training], INTERVAL, futures.FIRST_COMPLETED)
        for start in done & self.starting.keys():
            self._on_start(self.starting.pop(start), start)
        for trained in done & self.training.keys():
            self._on_outcome(*self.training.pop(trained), trained)
        return bool(done)

    def _give_trial(self, name: str) -> bool:
        """Give the oracle's next trial to a worker; returns whether there is one. Impossible settings fail."""
        while (trial := self.oracle.create_trial(name)).status == "RUNNING":
            try:
                config = self.configs(trial.hyperparameters)
            except UserError as error:
                self.oracle.end(trial, None, str(error))
                continue
            died = self.deaths[trial.trial_id]
            ended = f"the trial ended its process {died} times; the memory may not suffice"
            given_up = ended if died >= MAX_DEATHS else None
            spec = TrialSpec(trial.trial_id, config, trial.hyperparameters.values, given_up)
            self.training[self.workers.call(name, train, self.search, spec)] = name, trial
            return True
        return False

    def _on_start(self, name: str, start: "Future[str | None]") -> None:
        try:
            if problem := start.result():
                raise UserError(problem)
        except self.workers.lost as error:
            if time.monotonic() >= self.failed_at + self.workers.patience:
                self.failed_starts, self.failed_at = self.failed_starts + 1, time.monotonic()
            if self.failed_starts == MAX_FAILED_STARTS:
                raise UserError(_failed_start(self.search.folder / f"{name}.log")) from error
            self.start(name)
        else:
            self.idle.append(name)

    def _on_outcome(self, name: str, trial: Any, trained: "Future[Outcome]") -> None:
        try:
            outcome = trained.result()
        except self.workers.lost:
            self.deaths[trial.trial_id] += 1
            self.oracle.requeue(name)
            self.start(name)
            return
        self.oracle.end(trial, outcome.score, outcome.error)
        self.failed_starts = 0
        if outcome.grown:
            self.start(name)
        else:
            self.idle.append(name)


def _failed_start(log: Path) -> str:
    """Return the message for workers that end before they have a trial."""
    lines = []
    with contextlib.suppress(OSError):
        lines = log.read_text(errors="replace").strip().splitlines()
    return f"workers end before they have a trial; {log} ends: {lines[-1] if lines else 'nothing'}"


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
