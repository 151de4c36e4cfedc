"""Contestants in processes of their own, one at work at a time, and the seconds that they take."""

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.files import ROOT

REST = 0.3
"""Seconds between two measurements. The waiting threads of the last contestant stop spinning meanwhile."""


class FailedError(Exception):
    """A contestant ended without an answer; the message is the last line that it wrote."""


@dataclass
class Measured:
    """The measurements of a contestant."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    start: float = 0.0
    """Seconds from the start of the process to the end of its first round, which compiles."""
    peak: float = 0.0
    """Largest resident memory in MiB."""
    results: Mapping[str, float] = field(default_factory=dict)
    """Metrics on the test set."""
    fault: str = ""
    """Why there are no measurements."""

    @property
    def seconds(self) -> float:
        """Median wall seconds of a round."""
        return statistics.median(self.wall)

    @property
    def processor(self) -> float:
        """Median processor seconds of a round."""
        return statistics.median(self.cpu)

    def extend(self, other: "Measured") -> None:
        """Add the measurements of another process, and keep its results.

        The smaller of the two peaks of memory counts. A process starts with the memory of the one that starts it, which
        grows from run to run and may be more than a small program needs.
        """
        self.wall += other.wall
        self.cpu += other.cpu
        self.start, self.peak = max(self.start, other.start), min(self.peak, other.peak)
        self.results, self.fault = other.results or self.results, self.fault or other.fault


class Resident:
    """A process that trains one round for each line that it receives (`gate.py`).

    Args:
        command: Arguments of Python.
        environment: Variables in addition to this process's.
        folder: Working folder, the root of a work tree.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], folder: Path = ROOT) -> None:
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 - `close` closes it
        began = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, *command],
            cwd=folder,
            env=os.environ | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )
        self.measured = Measured()
        try:
            self._read()
        except FailedError as error:
            self.measured.fault = str(error)
        self.measured.start = time.perf_counter() - began

    def round(self, last: bool) -> None:
        """Measure a round, and after the last one read the results."""
        if self.measured.fault:
            return
        assert self.process.stdin
        try:
            print(file=self.process.stdin, flush=True)
            answer = self._read()
            self.measured.wall.append(answer["wall"])
            self.measured.cpu.append(answer["cpu"])
            if last:
                answer = self._read()
                self.measured.results, self.measured.peak = answer["results"], answer["peak"]
        except (FailedError, BrokenPipeError) as error:
            self.measured.fault = str(error)

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()
        self.log.close()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout
        if line := self.process.stdout.readline():
            answer: dict[str, Any] = json.loads(line)
            return answer
        self.process.wait()
        raise FailedError(last_line(self.log.fileno()))


def last_line(descriptor: int) -> str:
    """Return the last line of a file that is not empty."""
    with os.fdopen(os.dup(descriptor), "rb") as file:
        file.seek(0)
        lines = file.read().decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else "no message"


def train(
    name: str,
    contestants: Mapping[str, tuple[str, Mapping[str, str], Path]],
    data: Path,
    rounds: int,
    examples: int,
    report: Callable[[str], None],
) -> dict[str, Measured]:
    """Start the contestants of a row one after another, then let each train in turn.

    Args:
        name: Name of the row.
        contestants: For each label, the contestant's name, its environment and its work tree.
        data: Folder with the row's files.
        rounds: Number of rounds to measure.
        examples: Largest number of training examples; 0 for all.
        report: Called with a line of progress.
    """
    residents = dict[str, Resident]()
    with ExitStack() as stack:
        for label, (contestant, environment, folder) in contestants.items():
            command = ["-m", "benchmarks.speed.worker", name, contestant, str(data), str(rounds), str(examples)]
            residents[label] = Resident(command, environment, folder)
            stack.callback(residents[label].close)
            found = residents[label].measured
            report(f"{name}, {label}: {found.fault or f'ready after {found.start:.1f} s'}")
        for number in range(rounds):
            for resident in residents.values():
                time.sleep(REST)
                resident.round(last=number == rounds - 1)
        for label, resident in residents.items():
            report(f"{name}, {label}: {words(resident.measured)}")
    return {label: resident.measured for label, resident in residents.items()}


@dataclass(frozen=True)
class Program:
    """A whole command: arguments of Python, environment and work tree."""

    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables. `{round}` in a value is the number of the round."""
    folder: Path = ROOT


def run_programs(
    name: str, programs: Mapping[str, Program], rounds: int, report: Callable[[str], None]
) -> dict[str, Measured]:
    """Run the programs of a row in turn, once more before the first round, which fills the caches of files."""
    measured = {label: Measured() for label in programs}
    for number in range(1 + rounds):
        for label, program in programs.items():
            if measured[label].fault:
                continue
            time.sleep(REST)
            wall, cpu, peak, results = run_program(program, measured[label], number)
            if number and not measured[label].fault:
                measured[label].wall.append(wall)
                measured[label].cpu.append(cpu)
                measured[label].peak = max(measured[label].peak, peak)
                measured[label].results = results
            else:
                measured[label].start = wall
    for label, found in measured.items():
        report(f"{name}, {label}: {words(found)}")
    return measured


def run_program(program: Program, measured: Measured, number: int = 0) -> tuple[float, float, float, dict[str, float]]:
    """Run a program; return its wall and processor seconds, its peak of memory in MiB and the results it printed."""
    own = {name: value.replace("{round}", str(number)) for name, value in program.environment.items()}
    with tempfile.TemporaryFile() as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *program.command],
            cwd=program.folder,
            env=os.environ | own,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - began
        if process.returncode:
            measured.fault = last_line(output.fileno())
        output.seek(0)
        printed = output.read().decode(errors="replace")
    peak = usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return wall, usage.ru_utime + usage.ru_stime, peak, results_in(printed)


def results_in(printed: str) -> dict[str, float]:
    """Return the test metrics in the output of a program: lines such as `test accuracy  0.97`, or with %."""
    found = re.findall(r"^\W*(test (?:accuracy|R²))\W+([\d.]+) ?(%?)", printed, re.MULTILINE)
    return {name: float(value) / (100 if percent else 1) for name, value, percent in found}


def words(measured: Measured) -> str:
    """Describe measurements in a line."""
    if measured.fault:
        return measured.fault
    results = ", ".join(f"{name} {value:.5g}" for name, value in measured.results.items())
    return (
        f"{measured.seconds:.2f} s ({min(measured.wall):.2f} to {max(measured.wall):.2f}), "
        f"{measured.processor:.2f} CPU s, {measured.peak:.0f} MiB; {results}"
    )


def python(*arguments: str) -> str:
    """Run Python in the work tree and return its output."""
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout


def progress(line: str) -> None:
    """Print a line at once."""
    print(line, file=sys.stderr, flush=True)
