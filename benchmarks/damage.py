"""Damage a project in many ways, and print the outcome of the next command.

    python -m benchmarks.damage

A project in a temporary folder has a finished run, an interrupted one, and an interrupted search. Each case damages a
file of a copy, or moves, copies or mounts the store, and runs a command of the suite. The outcome is `survived` if the
command succeeds, `named` if it ends with status 2 and one line that names the place, and the fix works if there is one,
and else `lost`. The table is in docs/reliability.md.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from common.cli.parsing import run_program
from common.files import ROOT

SECONDS = 120
"""Longest time to wait for a file."""
EVALUATE = "apps.perceptron evaluate"
TRAIN = "apps.perceptron train --data xor --epochs 1"
LONG = "--epochs 100"
RESUME = "apps.perceptron train --resume"
SEARCH = f"tuning.perceptron --trials 2 {LONG}"


@dataclass(frozen=True)
class Case:
    """A kind of damage, and the command that meets it."""

    name: str
    damage: Callable[[Path], Path]
    """Damages the store in this folder, and returns the folder in which it is afterwards."""
    command: str
    named: str = ""
    """Words that one line of an error must have."""
    fix: str = ""
    """Command that succeeds after the error."""
    mount: str = ""
    """Options of a mount at the place of the store, in which the command runs."""


def main() -> None:
    """Run all cases and print a table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print("making a project …", file=sys.stderr)
        make(folder / "whole")
        table = Table("damage", "command", "outcome", "last line")
        outcomes = Counter[str]()
        for number, case in enumerate(cases()):
            place = folder / str(number)
            shutil.copytree(folder / "whole", place)
            run(place, "common.cli.compare xor")  # the addresses follow the copy
            outcome, line = judge(case, place)
            outcomes[outcome] += 1
            print(f"{case.name}, {case.command}: {outcome} {line}", file=sys.stderr, flush=True)
            table.add_row(case.name, case.command, outcome, line.replace(name, ""))
            shutil.rmtree(folder / "moved", ignore_errors=True)
    Console(width=200).print(table)
    print(f"{outcomes.total()} tried: " + ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items()))


def make(store: Path) -> None:
    """Make the project's store: a finished run, an interrupted one, and an interrupted search."""
    run(store, TRAIN)
    kill(store, f"apps.perceptron train --data xor {LONG}", "checkpoints/*/training.npz")
    kill(store, SEARCH, "checkpoints/*/trial_*/1.npz")


def kill(store: Path, command: str, reached: str) -> None:
    """Run a command until a file exists, and kill it with the processes that it has started."""
    with start(store, command) as process:
        deadline = time.monotonic() + SECONDS
        while not list(store.glob(reached)) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGKILL)


def start(store: Path, command: str, mount: str = "") -> "subprocess.Popen[str]":
    """Start a command with its store in this folder, at which there may be a mount that only the command sees."""
    private = ["unshare", "--map-root-user", "--mount", "sh", "-c", f'mount {mount} {store} && exec "$@"', "sh"]
    return subprocess.Popen(
        [*(private if mount else []), sys.executable, "-m", *command.split()],
        cwd=ROOT,
        env=os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{store}/mlflow.db", "COLUMNS": "500"},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def run(store: Path, command: str, mount: str = "") -> tuple[int, list[str]]:
    """Run a command, answer its questions with yes, and return its status and the lines of its errors."""
    with start(store, command, mount) as process:
        _, errors = process.communicate("y\n")
    return process.returncode, errors.splitlines()


def judge(case: Case, store: Path) -> tuple[str, str]:
    """Return the outcome of a case and the last line of the command's errors."""
    store = case.damage(store)
    status, lines = run(store, case.command, case.mount.format(store))
    last = lines[-1] if lines else ""
    if status == 0:
        return "survived", last
    errors = [line for line in lines if line.startswith("error: ")]
    if status != 2 or len(errors) != 1 or case.named not in errors[0] or any("Traceback" in line for line in lines):
        return "lost", f"status {status}: {last}"
    if case.fix and (fixed := run(store, case.fix))[0]:
        return "lost", f"after the fix: status {fixed[0]}: {fixed[1][-1:]}"
    return "named", last


def cases() -> Iterator[Case]:
    """Yield all cases."""
    kinds = {"junk": junk, "truncated": truncated, "empty": empty, "missing": missing}
    for kind, damage in {**kinds, "with a page of zeros": zeros}.items():
        if kind != "missing":
            yield Case(f"database {kind}", one("mlflow.db", damage), EVALUATE, "mlflow.db")
    yield Case("database missing", one("mlflow.db", missing), TRAIN)
    for kind, damage in kinds.items():
        yield Case(f"MLmodel {kind}", one("artifacts/*/models/*/artifacts/MLmodel", damage), EVALUATE, "--model", TRAIN)
        keras = one("artifacts/*/models/*/artifacts/data/model.keras", damage)
        yield Case(f"model.keras {kind}", keras, EVALUATE, "--model", TRAIN)
        yield Case(f"checkpoint {kind}", one("checkpoints/*/training.npz", damage), RESUME)
        yield Case(
            f"oracle of a search {kind}", one("searches/*/oracle", damage), SEARCH, "oracle", f"{SEARCH} --fresh"
        )
        yield Case(f"checkpoint of a trial {kind}", one("checkpoints/*/trial_*/1.npz", damage), SEARCH)
    for kind in ("junk", "missing"):
        settings = one("artifacts/*/*/artifacts/settings.json", kinds[kind])
        yield Case(f"settings.json {kind}", settings, RESUME, "settings.json", TRAIN)
    yield Case("time of a search's start empty", one("searches/*/begun", empty), SEARCH)
    gone = one("artifacts/*/models/*", missing)
    yield Case("folder of the champion missing", gone, "tuning.perceptron --trials 1 --epochs 2 --warm-start")
    yield Case("all artifacts missing", one("artifacts", missing), EVALUATE, "--model", TRAIN)
    yield Case("project moved", moved, EVALUATE)
    yield Case("project copied", copied, TRAIN)
    if shutil.which("unshare"):  # Linux's private mounts
        for command, named in ((EVALUATE, ""), ("common.cli.compare xor", ""), (TRAIN, "writable")):
            yield Case("store read-only", Path, command, named, mount="--bind -o ro {}")
        yield Case("disk full", Path, TRAIN, "disk full", mount="-t tmpfs -o size=1m tmpfs")


def one(pattern: str, damage: Callable[[Path], None]) -> Callable[[Path], Path]:
    """Return a function that damages the files of a store with this pattern, and returns its folder."""

    def damaged(store: Path) -> Path:
        found = list(store.glob(pattern))
        assert found, pattern
        for file in found:
            damage(file)
        return store

    return damaged


def junk(file: Path) -> None:
    """Write other bytes."""
    file.write_bytes(b"\x93junk, not what was here\n" * 40)


def truncated(file: Path) -> None:
    """Keep the first half."""
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def empty(file: Path) -> None:
    """Keep nothing."""
    file.write_bytes(b"")


def zeros(file: Path) -> None:
    """Write zeros over the second page of 4,096 bytes and those that follow."""
    content = file.read_bytes()
    file.write_bytes(content[:4096] + bytes(20 * 4096) + content[21 * 4096 :])


def missing(path: Path) -> None:
    """Delete a file or a folder."""
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def moved(store: Path) -> Path:
    """Move the store."""
    return store.rename(store.with_name("moved"))


def copied(store: Path) -> Path:
    """Copy the store; it fails later if anything is written into the first one."""
    copy = shutil.copytree(store, store.with_name("moved"))
    shutil.rmtree(store)
    store.touch(0o000)  # a folder of this name cannot be made again
    return copy


if __name__ == "__main__":
    run_program(main)
