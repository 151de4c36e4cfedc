"""Worker processes: started, each with a share of the machine, replaced when they die, and ended."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Self

from common.errors import UserError

VARIABLE = "TUNING_WORKER"
"""The environment variable that makes a process a worker. It holds a `WorkerSpec` as JSON."""
RESTART = 75
"""Exit status of a worker that asks to be replaced by a new process."""
MAX_DEATHS = 2
"""Deaths of a worker in the same trial after which the trial has failed."""
MAX_FAILED_STARTS = 3
"""Deaths in a row without a trial after which the search ends."""
TIMEOUT = 10
"""Seconds between the request that a worker end and its kill."""
DEVICES = Path("/dev")


@dataclass(frozen=True)
class WorkerSpec:
    """What a worker process needs to know."""

    name: str
    """Its name at the chief. A process that replaces it has the same name, and so receives the same trial."""
    search: str
    """The id of the search's run."""
    folder: Path
    """The folder of checkpoints and logs."""
    parent: int = 0
    """The id of the process that started it."""
    fatal_trials: Mapping[str, str] = field(default_factory=dict)
    """Trials that killed their worker too often, with the error to record."""

    @classmethod
    def from_environment(cls) -> Self | None:
        """Return this process's specification, or None if it is not a worker."""
        if VARIABLE not in os.environ:
            return None
        values = json.loads(os.environ[VARIABLE])
        return cls(**values | {"folder": Path(values["folder"])})

    @property
    def trial_file(self) -> Path:
        """The file that holds the number of the worker's current trial."""
        return self.folder / f"{self.name}.trial"

    @property
    def log(self) -> Path:
        """The file of the worker's output."""
        return self.folder / f"{self.name}.log"

    @contextlib.contextmanager
    def current_trial(self, trial: str) -> Iterator[None]:
        """Write `trial_file` while a trial runs; a process that dies leaves it behind."""
        self.trial_file.write_text(trial)
        try:
            yield
        finally:
            self.trial_file.unlink(missing_ok=True)


class WorkerProcess:
    """A worker's process, and its replacements."""

    def __init__(self, spec: WorkerSpec, environment: dict[str, str], cores: set[int], flags: Sequence[str]) -> None:
        self.spec, self.environment, self.cores, self.flags = spec, environment, cores, flags
        self.deaths: dict[str, int] = {}
        self.failed_starts = 0
        self.process = self._start()

    def _start(self) -> "subprocess.Popen[bytes]":
        self.spec.trial_file.unlink(missing_ok=True)
        with self.spec.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", main_module(), *self.flags],
                env=os.environ | self.environment | {VARIABLE: json.dumps(asdict(self.spec), default=str)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches only the command, which then ends its workers
            )
        if self.cores and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(process.pid, self.cores)
        return process

    def poll(self) -> bool:
        """Replace the process if it has died or asked for it.

        Returns:
            Whether the worker has finished.

        Raises:
            UserError: If processes die before they have a trial.
        """
        status = self.process.poll()
        if status in (None, 0):
            return status == 0
        if status != RESTART:
            self._on_death(f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}")
        self.process = self._start()
        return False

    def _on_death(self, cause: str) -> None:
        if not self.spec.trial_file.exists():
            self.failed_starts += 1
            if self.failed_starts == MAX_FAILED_STARTS:
                last = ["nothing", *self.spec.log.read_text(errors="replace").strip().splitlines()][-1]
                raise UserError(f"workers end before they have a trial ({cause}); {self.spec.log} ends: {last}")
            return
        self.failed_starts = 0
        trial = self.spec.trial_file.read_text()
        self.deaths[trial] = self.deaths.get(trial, 0) + 1
        if self.deaths[trial] >= MAX_DEATHS:
            error = f"the trial ended its process {self.deaths[trial]} times, the last time by {cause}"
            self.spec = replace(self.spec, fatal_trials={**self.spec.fatal_trials, trial: error})

    def wait(self) -> None:
        """Wait for the end of the process; after `TIMEOUT` seconds, end it by force."""
        try:
            self.process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def run(count: int, spec: WorkerSpec, address: tuple[str, int], flags: Sequence[str], poll: Callable[[], bool]) -> None:
    """Run workers until all have finished and `poll` returns True.

    Args:
        count: Number of processes.
        spec: Specification of all; their names are its name with a number.
        address: Host and port of the chief.
        flags: Command-line flags of the search, which the workers receive too.
        poll: Is called several times a second.
    """
    host, port = address
    processes = list[WorkerProcess]()
    try:
        for index, name in enumerate(names(count, spec.name)):
            environment, cores = machine_share(index, count)
            environment |= {
                "KERASTUNER_ORACLE_IP": host,
                "KERASTUNER_ORACLE_PORT": str(port),
                "KERASTUNER_TUNER_ID": name,
            }
            processes.append(WorkerProcess(replace(spec, name=name, parent=os.getpid()), environment, cores, flags))
        working = list(processes)
        while not poll() or working:
            working = [process for process in working if not process.poll()]
            time.sleep(0.1)
    finally:
        for process in processes:
            process.process.terminate()
        for process in processes:
            process.wait()


def main_module() -> str:
    """Return the name of the module that was run with -m."""
    spec = sys.modules["__main__"].__spec__
    assert spec is not None
    return spec.name


def names(count: int, prefix: str) -> list[str]:
    """Return the names of `count` workers."""
    return [f"{prefix}-{index}" for index in range(count)]


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
