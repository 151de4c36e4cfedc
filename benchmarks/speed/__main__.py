"""Measure the rows and write docs/performance.md; a part of the rows is only printed."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tyro
from rich.console import Console
from rich.markdown import Markdown

from benchmarks.speed import report
from benchmarks.speed.contest import ROOT, train
from benchmarks.speed.rows import CONTESTANTS, ROWS, Row
from common.cli.parsing import plain_errors
from common.errors import UserError

MOST = 8
"""Largest number of rounds; a training of 10 epochs has no more."""


def main(rows: tuple[str, ...] = (), rounds: int = 5, output: Path | None = None) -> None:
    """Measure and write.

    Args:
        rows: Names of the rows; by default all.
        rounds: Rounds of each contestant. Long rows have fewer.
        output: File of the page; by default docs/performance.md for all rows, and none for some.
    """
    known = [row.name for row in ROWS]
    if unknown := set(rows) - set(known):
        raise UserError(f"`rows`: {', '.join(sorted(unknown))} unknown; there are {', '.join(known)}")
    if not 1 <= rounds <= MOST:
        raise UserError(f"`rounds` must be between 1 and {MOST}, not {rounds}")
    output = output or (None if rows else report.PAGE)
    chosen = [row for row in ROWS if not rows or row.name in rows]
    per_wall, per_cpu = json.loads(python("-m", "benchmarks.speed.floor"))
    sections = []
    with tempfile.TemporaryDirectory() as folder:
        for row in chosen:
            sections.append(measure(row, Path(folder), rounds, (per_wall, per_cpu)))
            rate = f"{per_wall / 1e9:.0f} GFLOP a second and {per_cpu / 1e9:.0f} GFLOP a CPU second"
            old = output.read_text() if output and output.exists() else ""
            text = report.page(sections, rounds, rate, old)
            if output:
                output.write_text(text)
    Console().print(Markdown(text.partition(report.MARK)[0]))


def measure(row: Row, folder: Path, rounds: int, rates: tuple[float, float]) -> report.Section:
    """Measure the contestants of a row."""
    python("-m", "benchmarks.speed.arrays", str(folder), row.name)
    contestants = {
        label: (label, CONTESTANTS[label].environment | row.environment(label), ROOT) for label in row.contestants
    }
    measured = train(row.name, contestants, folder, min(rounds, row.rounds), progress)
    with np.load(folder / f"{row.name}.npz") as data:
        operations = len(data["y_train"]) * row.epochs * row.flops
    floor = (operations / rates[0], operations / rates[1]) if operations else None
    return report.Section(row.title, row.name, row.group, measured, floor)


def python(*arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """Run Python in the work tree and return its output."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout


def progress(line: str) -> None:
    """Print a line at once."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    with plain_errors():
        tyro.cli(main)
