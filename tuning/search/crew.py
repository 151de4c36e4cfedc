"""Worker processes: started with a share of the machine, watched over, replaced when they die, and ended."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

from common.errors import UserError

VARIABLE = "TUNING_WORKER"
"""Of the environment: tells a process that it is a worker, and its assignment."""
MORE = 75
"""Exit status of a worker that wants to be replaced by a new one."""
DEATHS = 2
"""Times that a trial may kill its worker, after which it has failed."""
FALSE_STARTS = 3
"""Workers that die in a row without a trial, after which something is wrong with all of them."""
GRACE = 10
"""Seconds that a worker has to end when it is told to."""
GPUS = Path("/dev")


@dataclass(frozen=True)
class Assignment:
    """What a worker is told."""

    name: str
    """By which the chief knows it; one that replaces it has it too, and so is given its trial."""
    search: str
    """The run of the search."""
    folder: Path
    """Where the states of trainings are kept."""
    parent: int = 0
    """The process that watches over it."""
    deadly: str | None = None
    """Trial that has killed its worker too often, and how."""

    @classmethod
    def given(cls) -> Self | None:
        """This process's assignment, if it is a worker."""
        if VARIABLE not in os.environ:
            return None
        told = json.loads(os.environ[VARIABLE])
        return cls(**(told | {"folder": Path(told["folder"]), "parent": int(told["parent"])}))

    @property
    def marker(self) -> Path:
        """The file that names the trial that the worker is at."""
        return self.folder / f"{self.name}.trial"

    @property
    def log(self) -> Path:
        """Where the worker writes what it has to say."""
        return self.folder / f"{self.name}.log"

    @contextlib.contextmanager
    def at(self, trial: str) -> Iterator[str | None]:
        """Mark that the worker is at this trial; gives what is to be said of it if it has killed too often."""
        self.marker.write_text(trial)
        number, _, how = (self.deadly or "").partition(" ")
        try:
            yield how if number == trial else None
        finally:
            self.marker.unlink(missing_ok=True)


class Member:
    """A worker, and those that replace it."""

    def __init__(self, assignment: Assignment, share: dict[str, str], cores: set[int], flags: Sequence[str]) -> None:
        self.assignment, self.share, self.cores, self.flags = assignment, share, cores, flags
        self.deaths: dict[str, int] = {}
        self.false_starts = 0
        self.process = self.start()

    def start(self) -> "subprocess.Popen[bytes]":
        """Start a process."""
        self.assignment.marker.unlink(missing_ok=True)
        told = {name: str(value) for name, value in asdict(self.assignment).items() if value is not None}
        with self.assignment.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", module(), *self.flags],
                env=os.environ | self.share | {VARIABLE: json.dumps(told)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches the command, which ends its workers
            )
        if self.cores and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(process.pid, self.cores)
        return process

    def look(self) -> bool:
        """Whether the worker has done its work; one that has died, or wants to be, is replaced.

        Raises:
            UserError: where workers die before they have a trial.
        """
        status = self.process.poll()
        if status is None:
            return False
        if status == 0:
            return True
        if status != MORE:
            self._mourn(status)
        self.process = self.start()
        return False

    def _mourn(self, status: int) -> None:
        how = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
        if not self.assignment.marker.exists():
            self.false_starts += 1
            if self.false_starts == FALSE_STARTS:
                last = ["nothing", *self.assignment.log.read_text(errors="replace").strip().splitlines()][-1]
                raise UserError(f"workers end before they have a trial ({how}); {self.assignment.log} ends: {last}")
            return
        self.false_starts = 0
        trial = self.assignment.marker.read_text()
        self.deaths[trial] = self.deaths.get(trial, 0) + 1
        if self.deaths[trial] >= DEATHS:
            said = f"{trial} the trial ended its process {self.deaths[trial]} times, the last time by {how}"
            self.assignment = replace(self.assignment, deadly=said)

    def end(self) -> None:
        """End the process, by force if need be."""
        self.process.terminate()
        try:
            self.process.wait(GRACE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def work(
    count: int, first: Assignment, address: tuple[str, int], flags: Sequence[str], look: Callable[[], bool]
) -> None:
    """Let so many workers work until all have done, and `look`, which is called again and again, says so.

    `first` is what the first is told, whose name the others' are like; `address` is the chief's. With `flags` the
    command is called as a worker.
    """
    host, port = address
    shared = {"KERASTUNER_ORACLE_IP": host, "KERASTUNER_ORACLE_PORT": str(port)}
    members = list[Member]()
    try:
        for index, name in enumerate(names(count, first.name)):
            variables, cores = share(index, count)
            told = replace(first, name=name, parent=os.getpid())
            members.append(Member(told, {**shared, **variables, "KERASTUNER_TUNER_ID": name}, cores, flags))
        working = list(members)
        while not look() or working:
            working = [member for member in working if not member.look()]
            time.sleep(0.1)
    finally:
        for member in members:
            member.process.terminate()
        for member in members:
            member.end()


def module() -> str:
    """The module that the command is, which is run with -m."""
    spec = sys.modules["__main__"].__spec__
    assert spec is not None
    return spec.name


def names(count: int, prefix: str) -> list[str]:
    """What workers are called."""
    return [f"{prefix}-{index}" for index in range(count)]


def share(index: int, count: int) -> tuple[dict[str, str], set[int]]:
    """The part of this machine that one of `count` workers has: variables of its environment, and processor cores.

    Of GPUs one each, in turn; without, a share of the cores that this process may use, where the system can be told.
    """
    gpus = visible_gpus()
    if gpus:
        return {"CUDA_VISIBLE_DEVICES": gpus[index % len(gpus)]}, set()
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if count > len(cores):
        return {}, set()
    return {}, set(cores[index::count])


def visible_gpus() -> list[str]:
    """The numbers of the NVIDIA GPUs that this process may use; asking a library would take hold of them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [number for number in visible.split(",") if number not in ("", "-1")]
    return sorted(path.name.removeprefix("nvidia") for path in GPUS.glob("nvidia[0-9]*"))
