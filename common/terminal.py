"""How commands show things on the terminal."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

if TYPE_CHECKING:
    import pandas as pd

UNBROKEN = 13
"""Letters of a word that stay together in a table on a narrow terminal."""


def this_python() -> str:
    """This Python as one types it here."""
    executable = Path(sys.executable)
    return str(executable.relative_to(Path.cwd()) if executable.is_relative_to(Path.cwd()) else executable)


def pairs(rows: dict[str, str]) -> Table:
    """Names and what they stand for, a row each."""
    table = Table.grid(padding=(0, 2))
    for name, value in rows.items():
        table.add_row(name, value, style=None)
    return table


def sheet(frame: "pd.DataFrame", title: str) -> Table:
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
