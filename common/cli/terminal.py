"""How commands show results on the terminal and write tables."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table

from common import files
from common.app import App
from common.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from common import training


UNBROKEN = 13
"""Letters of a word that stay together in a table on a narrow terminal."""
SHOWN = 15
"""Rows of a table that are shown on the terminal."""


def summarise(app: App, result: "training.Result", what: str | None = None) -> None:
    """Say what a finished run measured, where it is, and what to type next."""
    from common import tracking

    metrics = result.metrics
    training = f"{metrics['train_seconds']:.0f} s ({metrics['train_cpu_seconds']:.0f} CPU s)"
    if "best_epoch" in metrics:
        speed = f"{metrics['examples_per_second']:,.0f} examples/s"
        training += f", {speed}, best epoch {metrics['best_epoch']:.0f}"
    summary = app.task.summary(metrics, result.test_examples)
    rows = {f"{what or app.name} on {result.data}": "", **summary, "training": training}
    if result.findings:
        rows["diagnosis"] = "\n".join(result.findings)
    following = ["make ui"]
    if version := result.version:
        standing = "the champion" if version.champion is None else f"champion stays version {version.champion}"
        rows["model"] = f"{version.name} version {version.number}, {standing}"
        python = this_python()
        following += [f"{python} -m apps.{app.name} predict FILE...", f"{python} -m tuning.{app.name}"]
    rows |= {"run": str(result.run_id), "recorded in": tracking.folder(), "next": "\n".join(following)}
    for name, frame in result.tables.items():
        # As many rows as fit on a screen; all of them are in the run's artifacts.
        Console().print(table(frame.head(SHOWN), f"{name}, {min(SHOWN, len(frame))} of {len(frame):,}"))
    Console().print(key_values(rows))


def _check_place(output: Path | None) -> None:
    """See that what `--output` names can be made."""
    if output and not output.absolute().parent.is_dir():
        raise UserError(f"--output {output}: there is no folder {output.parent}")


def write(flag: str, output: Path, answers: "pd.DataFrame") -> None:
    """Write a table into the file that `flag` names, .csv or else a list of objects; all of it or nothing.

    Raises:
        UserError: where it cannot be written.
    """
    try:
        with files.replacing(output) as temporary:
            if output.suffix == ".csv":
                answers.to_csv(temporary, index=False)
            else:
                answers.to_json(temporary, orient="records", indent=2, double_precision=15)
    except OSError as error:
        raise UserError(f"{flag} {output}: cannot write ({error.strerror})") from error


def this_python() -> str:
    """This Python as one types it here."""
    executable = Path(sys.executable)
    return str(executable.relative_to(Path.cwd()) if executable.is_relative_to(Path.cwd()) else executable)


def key_values(rows: dict[str, str]) -> Table:
    """Names and what they stand for, a row each."""
    table = Table.grid(padding=(0, 2))
    for name, value in rows.items():
        table.add_row(name, value, style=None)
    return table


def table(frame: "pd.DataFrame", title: str) -> Table:
    """A table for the terminal."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE, show_edge=False, pad_edge=False)
    rows = [
        [f"{cell:.5g}" if isinstance(cell, float) else str(cell) for cell in row]
        for row in frame.itertuples(index=False)
    ]
    for name, *cells in zip(frame.columns, *rows, strict=True):
        longest = max(len(word) for text in (name, *cells) for word in text.split() or [""])
        # A name that is cut off says nothing, nor does a number in two parts; a path may be.
        table.add_column(name, overflow="fold", min_width=min(longest, UNBROKEN))
    for row in rows:
        table.add_row(*row)
    return table
