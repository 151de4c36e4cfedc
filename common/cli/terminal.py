"""Show results on the terminal, and write tables."""

import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import keras
from rich import box
from rich.console import Console
from rich.table import Table

from common import files
from common.app import App
from common.config import Config, as_flags, data_of
from common.errors import UserError, writing

if TYPE_CHECKING:
    import pandas as pd

    from common import training


UNBROKEN = 13
"""Longest word, in letters, that is not broken in a table on a narrow terminal."""
WIDE = 10_000
"""Columns of a terminal without line breaks."""
SHOWN = 15
"""Largest number of rows of a table on the terminal."""


def summarise(
    app: App,
    result: "training.Result",
    name: str | None = None,
    settings: Config | None = None,
    more: Sequence[str] = (),
) -> None:
    """Print the metrics of a finished run, its place and the next commands.

    Args:
        app: The app.
        result: Result of the run.
        name: Name of the trained model; by default the app's.
        settings: Settings of the run, whose data a search takes too.
        more: More commands that may follow.
    """
    from common import tracking

    metrics = result.metrics
    training = f"{metrics['train_seconds']:.0f} s ({metrics['train_cpu_seconds']:.0f} CPU s)"
    if "best_epoch" in metrics:
        speed = f"{metrics['examples_per_second']:,.0f} examples/s"
        training += f", {speed}, best epoch {metrics['best_epoch']:.0f}"
    summary = result.task.summary(metrics, result.test_examples)
    rows = {f"{name or app.name} on {result.data}": "", **summary, "training": training}
    if "best_epoch" in metrics:  # a baseline is fitted without Keras, on the CPU
        used = keras.distribution.list_devices()[: int(metrics.get("devices", 1))]
        rows["device"] = ", ".join(used)
    if result.baselines:
        compared, own = result.task.comparison(metrics)
        values = [f"{name} {value:.4g}" for name, value in result.baselines.items()]
        rows["beside"] = f"test {compared}: this network {own:.4g}, {', '.join(values)}"
    if result.findings:
        rows["diagnosis"] = "\n".join(result.findings)
    following = ["make ui"]
    if version := result.version:
        match version.champion:
            case version.number:
                rank = "the champion"
            case None:
                rank = "there is no champion"
            case champion:
                rank = f"champion stays version {champion}"
        rows["model"] = f"{version.name} version {version.number}, {rank}"
        python, data = this_python(), as_flags(data_of(settings)) if settings else ""
        following += [f"{python} -m apps.{app.name} predict FILE...", f"{python} -m tuning.{app.name} {data}".rstrip()]
    rows |= {"run": str(result.run_id), "recorded in": tracking.folder()}
    for title, frame in result.tables.items():  # the run's artifacts contain all rows
        Console().print(table(frame.head(SHOWN), f"{title}, {min(SHOWN, len(frame))} of {len(frame):,}"))
    Console().print(key_values(rows))
    print_next([*following, *more])


def print_next(commands: Sequence[str]) -> None:
    """Print the commands that may follow, each in one line, so that they can be copied."""
    print("next", *commands, sep="\n  ")


def check_output(output: Path | None, *endings: str) -> None:
    """Check that the name of `--output` has one of the `endings`, if there are any, and that its folder exists.

    Raises:
        UserError: if not.
    """
    if output and endings and output.suffix not in endings:
        raise UserError(f"--output {output}: the name must end in {' or '.join(endings)}")
    if output and not output.absolute().parent.is_dir():
        raise UserError(f"--output {output}: there is no folder {output.parent}; create it first")


def check_output_folder(output: Path | None) -> None:
    """Check that `--output` is a folder, or can become one.

    Raises:
        UserError: if it is a file, or the folder that it is in does not exist.
    """
    check_output(output)
    if output and output.exists() and not output.is_dir():
        raise UserError(f"--output {output}: a file; name a folder")


def write(flag: str, output: Path, frame: "pd.DataFrame") -> None:
    """Write a table to the file that `flag` names, as CSV or else as a JSON list of objects, all or nothing.

    In CSV, text that a spreadsheet would execute as a formula gets an apostrophe in front.

    Raises:
        UserError: if it cannot be written.
    """
    with writing(f"{flag} {output}"), files.replacing(output) as temporary:
        if output.suffix == ".csv":
            frame.map(_without_formula).to_csv(temporary, index=False)
        else:
            frame.to_json(temporary, orient="records", indent=2, double_precision=15)


def _without_formula(cell: object) -> object:
    """Put an apostrophe in front of text that begins like a formula of a spreadsheet, and is not a number."""
    if not isinstance(cell, str) or not cell.startswith(("=", "+", "-", "@", "\t", "\r")):
        return cell
    return cell if re.fullmatch(r"[-+]?[\d.,]+([eE][-+]?\d+)?%?", cell) else f"'{cell}"


def this_python() -> str:
    """Return the path of this Python, relative to the current folder if it is below it."""
    executable = Path(sys.executable)
    return str(executable.relative_to(Path.cwd()) if executable.is_relative_to(Path.cwd()) else executable)


def key_values(rows: dict[str, str]) -> Table:
    """Return a table of two columns: names and values."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")  # a long path is broken, not cut
    for name, value in rows.items():
        table.add_row(name, value, style=None)
    return table


def table(frame: "pd.DataFrame", title: str, width: int | None = None) -> Table:
    """Return a table for the terminal. Names that are too long for its width are broken at their underscores.

    Args:
        frame: The rows.
        title: Title of the table.
        width: Columns of the terminal; by default those of this one.
    """
    width = width or Console().width
    made = _table(frame, title)
    needed = Console(width=WIDE).measure(made).maximum
    return made if needed <= width else _table(frame, title, _broken)


def _table(frame: "pd.DataFrame", title: str, text: Callable[[str], str] = str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE, show_edge=False, pad_edge=False)
    rows = [
        [f"{cell:.5g}" if isinstance(cell, float) else text(str(cell)) for cell in row]
        for row in frame.itertuples(index=False)
    ]
    for name, *cells in zip(map(text, frame.columns), *rows, strict=True):
        longest = max(len(word) for words in (name, *cells) for word in words.split() or [""])
        # Words and numbers stay whole; only longer ones, such as paths, are broken.
        table.add_column(name, overflow="fold", min_width=min(longest, UNBROKEN))
    for row in rows:
        table.add_row(*row)
    return table


def _broken(text: str) -> str:
    """Return a text with line breaks after underscores in words that are longer than `UNBROKEN`."""
    return re.sub(rf"\S{{{UNBROKEN + 1},}}", lambda found: "\n".join(_lines(found[0])), text)


def _lines(word: str) -> list[str]:
    lines = [""]
    for part in re.findall(r"[^_]*_|[^_]+", word):
        if lines[-1] and len(lines[-1] + part) > UNBROKEN:
            lines.append("")
        lines[-1] += part
    return lines
