"""Measure the rows and write docs/performance.md; a part of the rows is only printed."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tyro
from rich.console import Console
from rich.markdown import Markdown

from benchmarks.speed import report
from benchmarks.speed.commands import COMMANDS, Command
from benchmarks.speed.contest import Measured, progress, python, run_program, run_programs, train
from benchmarks.speed.report import Section
from benchmarks.speed.rows import CONTESTANTS, ROWS, Row
from common.cli.parsing import plain_errors
from common.errors import UserError
from common.files import ROOT

MOST = 8
"""Largest number of rounds; a training of 10 epochs has no more."""


def main(
    rows: tuple[str, ...] = (),
    contestants: tuple[str, ...] = (),
    rounds: int = 5,
    runs: int = 1,
    examples: int = 0,
    output: Path | None = None,
) -> None:
    """Measure and write.

    Args:
        rows: Names of the rows; by default all.
        contestants: Labels of the contestants, such as "suite, JAX" PyTorch; by default all.
        rounds: Rounds of each contestant in a run. Long rows have fewer.
        runs: Runs, each with new processes.
        examples: Largest number of training examples, for a quick look; 0 for all.
        output: File of the page; by default docs/performance.md for all rows, and none for some. Of a page that
            exists, only the chosen rows are replaced.
    """
    every: list[Row | Command] = [*ROWS, *COMMANDS]
    known = [row.name for row in every]
    if unknown := set(rows) - set(known):
        raise UserError(f"`rows`: {', '.join(sorted(unknown))} unknown; there are {', '.join(known)}")
    if not 1 <= rounds <= MOST:
        raise UserError(f"`rounds` must be between 1 and {MOST}, not {rounds}")
    if runs < 1:
        raise UserError(f"`runs` must be at least 1, not {runs}")
    output = output or (None if rows or contestants or examples else report.PAGE)
    chosen = [row for row in every if not rows or row.name in rows]
    replaced = output.read_text() if rows and output and output.exists() else ""
    if missing := [row.name for row in chosen if replaced and not report.has(replaced, row.title)]:
        raise UserError(f"`rows`: {output} has no row {', '.join(missing)}; measure all rows first")
    rates = json.loads(python("-m", "benchmarks.speed.floor"))
    sections, text = list[Section](), ""
    for number in range(runs):
        for section in measure(chosen, contestants, rounds, examples, rates):
            if number:
                next(other for other in sections if other.name == section.name).extend(section)
            else:
                sections.append(section)
            old = output.read_text() if output and output.exists() else ""
            if replaced:
                text = report.update(sections, rounds, number + 1, old)
            else:
                text = report.page(sections, rounds, number + 1, rates, old)
            if output:
                output.write_text(text)
    Console().print(Markdown(text.partition(report.MARK)[0]))


def measure(
    rows: list[Row | Command], only: tuple[str, ...], rounds: int, examples: int, rates: tuple[float, float]
) -> Iterator[Section]:
    """Measure the contestants of each row."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for row in rows:
            most = min(rounds, row.rounds)
            if isinstance(row, Command):
                yield Section(row.title, row.name, row.group, measure_command(row, only, folder, most))
            else:
                measured = measure_training(row, only, folder, most, examples)
                with np.load(folder / f"{row.name}.npz") as data:
                    operations = len(data["y_train"]) * row.epochs * row.flops
                floor = (operations / rates[0], operations / rates[1]) if operations else None
                yield Section(row.title, row.name, row.group, measured, floor)


def measure_training(row: Row, only: tuple[str, ...], folder: Path, rounds: int, examples: int) -> dict[str, Measured]:
    """Write the row's arrays and let its contestants train."""
    if row.prepare:
        row.prepare(folder)
    python("-m", "benchmarks.speed.arrays", str(folder), row.name, str(examples))
    contestants = {
        label: (label, {**CONTESTANTS[label].environment, **row.environment(label)}, ROOT)
        for label in row.contestants
        if not only or label in only
    }
    return train(row.name, contestants, folder, rounds, examples, progress)


def measure_command(row: Command, only: tuple[str, ...], folder: Path, rounds: int) -> dict[str, Measured]:
    """Write the row's files, run the commands that come before, and then the programs in turn."""
    row.prepare(folder)
    for program in row.before(folder):
        failed = Measured()
        run_program(program, failed)
        if failed.fault:
            raise UserError(f"{row.name}: {' '.join(program.command)} failed: {failed.fault}")
    programs = {label: one for label, one in row.programs(folder).items() if not only or label in only}
    return run_programs(row.name, programs, rounds, progress)


if __name__ == "__main__":
    with plain_errors():
        tyro.cli(main)
