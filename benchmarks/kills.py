"""Interrupt commands at random moments, and print how often the next command works and a training is resumed exactly.

    python -m benchmarks.kills --kills 120

The commands are train, train --resume, a search, baseline and export, in turn on fresh and used stores. The signals are
SIGKILL, SIGTERM and SIGINT, at moments uniform over the time that the command takes. After each one, the next command
on the store must succeed and leave no run RUNNING, and the database must be sound. If the interrupted training has a
checkpoint, `train --resume` must end with the weights and metrics of a training that nothing interrupted. A signal is
ignored if the command succeeds in spite of it, unless it had printed its result before. A command crashes if its status
is neither that nor the signal's.
"""

import contextlib
import itertools
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from common import recorded, tracking
from common.cli.parsing import run_program
from common.files import ROOT

SETTINGS = "--limit 4000 --hidden 32 --dropout 0.3 --epochs 20 --batch-size 64"
COMMANDS = {
    "train": f"apps.mnist_mlp train {SETTINGS}",
    "resume": "apps.mnist_mlp train --resume",
    "search": "tuning.mnist_mlp --trials 2 --limit 1000 --epochs 2",
    "baseline": "apps.mnist_mlp baseline --limit 2000",
    "export": "apps.mnist_mlp export --format keras --output {folder}/exported",
}
RESULT = b"\nnext"
"""The beginning of the last lines that every command prints."""
CHECKPOINTS = "checkpoints/*/training.npz"
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
TIMES = ("seconds", "examples_per_second")
Outcome = tuple[dict[str, float], dict[str, list[float]], list[np.ndarray]]


def main(kills: int = 120, seed: int = 0) -> None:
    """Interrupt commands and print a table.

    Args:
        kills: Number of signals.
        seed: Seed of their moments.
    """
    rng, counts = random.Random(seed), {name: Counter[str]() for name in COMMANDS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        used, durations = prepare(folder)
        expected = outcome(used)
        cases = itertools.cycle(itertools.product((False, True), COMMANDS, SIGNALS))
        for number, (fresh, command, sent) in zip(range(kills), cases, strict=False):
            store = folder / str(number)
            shutil.copytree(folder / "cut", store) if command == "resume" else store.mkdir()
            if command == "export" or (command != "resume" and not fresh):
                shutil.copytree(used, store, dirs_exist_ok=True)
            found = counts[command]
            found["signals"] += 1
            status = interrupt(command, store, sent, rng.uniform(0, durations[command]))
            found["ignored"] += status == 0
            found["crashed"] += status not in (0, -sent, 128 + sent, None)
            examine(store, found, expected)
            print(f"{number + 1}: {command}, {sent.name}: {dict(found)}", file=sys.stderr, flush=True)
            shutil.rmtree(store)
    columns = ("signals", "ignored", "crashed", "next command works", "sound", "running", "resumed", "equal")
    table = Table("command", *columns)
    for command, found in counts.items():
        table.add_row(command, *(str(found[column]) for column in columns))
    total = sum(counts.values(), Counter[str]())
    table.add_row("all", *(str(total[column]) for column in columns))
    Console().print(table)


def prepare(folder: Path) -> tuple[Path, dict[str, float]]:
    """Run each command once; return a store with a finished training, and the seconds that each command takes."""
    used, cut, durations = folder / "used", folder / "cut", dict[str, float]()
    for store in (used, cut):
        store.mkdir()
    for command in COMMANDS:
        began = time.monotonic()
        if command == "resume":
            kill_after_checkpoint(cut)
            began = time.monotonic()
            shutil.copytree(cut, folder / "resumed")
        elif command == "export":
            shutil.copytree(used, folder / command)
        place = {"train": used, "resume": folder / "resumed"}.get(command, folder / command)
        place.mkdir(exist_ok=True)
        with start(command, place) as process:
            if process.wait():
                raise RuntimeError(f"{command} fails")
        durations[command] = time.monotonic() - began
    return used, durations


def start(command: str, store: Path) -> "subprocess.Popen[bytes]":
    """Start a command on a store."""
    with output_of(store).open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-u", "-m", *COMMANDS[command].format(folder=store).split()],
            cwd=ROOT,
            env=os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{store}/mlflow.db"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.DEVNULL,
            # A shell lets the commands that it runs in the background ignore Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )


def output_of(store: Path) -> Path:
    """Return the file beside a store with the output of the command that was started last."""
    return store.with_suffix(".txt")


def interrupt(command: str, store: Path, sent: signal.Signals, seconds: float) -> int | None:
    """Send a signal to a command after some seconds; return its status, or None if it had done its work before."""
    with start(command, store) as process:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
            return None
        done = RESULT in output_of(store).read_bytes()
        process.send_signal(sent)
        status = process.wait()
        return None if done else status


def kill_after_checkpoint(store: Path) -> None:
    """Start a training, and kill it once it has written a checkpoint."""
    with start("train", store) as process:
        while process.poll() is None and not any(store.glob(CHECKPOINTS)):
            time.sleep(0.01)
        process.kill()


def examine(store: Path, found: Counter[str], expected: Outcome) -> None:
    """Run the next commands on a store, and count what is in order."""
    resumable = any(store.glob(CHECKPOINTS))
    environment = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{store}/mlflow.db"}
    following = ["train", "--resume"] if resumable else ["train", "--epochs", "1", "--limit", "500"]
    command = [sys.executable, "-m", "apps.mnist_mlp", *following]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    works = result.returncode == 0
    found["next command works"] += works
    if not works:
        print(f"status {result.returncode} of the next command:\n{result.stderr}", file=sys.stderr)
    with contextlib.closing(sqlite3.connect(store / "mlflow.db")) as connection:
        found["sound"] += connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        found["running"] += connection.execute("SELECT count(*) FROM runs WHERE status = 'RUNNING'").fetchone()[0]
    if resumable:
        found["resumed"] += 1
        found["equal"] += works and equal(outcome(store), expected)


def outcome(store: Path) -> Outcome:
    """Return the metrics without times, the curves and the weights of the last finished training in a store."""
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{store}/mlflow.db"
    run = next(run for run in tracking.find({"kind": "train", "app": "mnist_mlp"}) if run.info.status == "FINISHED")
    metrics = {name: value for name, value in run.data.metrics.items() if not name.endswith(TIMES)}
    curves = recorded.curves(run.info.run_id)
    weights = recorded.model(run.info.run_id).get_weights()
    return metrics, {str(name): list(curves[name]) for name in curves}, weights


def equal(one: Outcome, other: Outcome) -> bool:
    """Return whether two outcomes are the same, to the bit."""
    same = all(np.array_equal(mine, its) for mine, its in zip(one[2], other[2], strict=True))
    return one[:2] == other[:2] and same


if __name__ == "__main__":
    run_program(main)
