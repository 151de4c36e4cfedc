"""Cells of a column as text: those without a value, the different ones, and messages about wrong ones.

A column is a pandas Series of cells as text, "" for an empty cell, with line numbers as its index.
"""

from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from common.data import Array

if TYPE_CHECKING:
    import pandas as pd

Cells: TypeAlias = "pd.Series[str]"
"""A column of cells as text."""
MARKS = ("", "?", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NULL", "null", "None")
"""Cells that programs write for a missing value."""
WORDS = ("na", "n/a", "n.a.", "null", "none", "missing", "unknown", "not available", "k. a.", "k.a.", "unbekannt")
"""Words that people write for a missing value, in English and German, in small letters."""
MISSING = (
    *(*MARKS, "-", "--", "\u2013", "\u2014", ".", "..", "k. A.", "k.A."),
    *(spelled for word in WORDS for spelled in (word, word.capitalize(), word.upper())),
)
"""Cells without a value in a column of numbers or dates. In a column of text, only the empty cell has none."""
TRIED = 200
"""Cells that decide what is tried on all cells."""
SHOWN = 40
"""Maximum number of characters of a cell in a message."""


def factorized(cells: Cells) -> tuple[Array, Array]:
    """Return the index of the text of each cell (rows,), and the different texts as Python strings."""
    import pandas as pd

    codes, levels = pd.factorize(cells)
    return codes, levels.to_numpy(object)


def strings(cells: Cells) -> Array:
    """Return cells as Python strings (rows,), equal ones as one object."""
    codes, levels = factorized(cells)
    return levels[codes] if len(levels) else np.empty(0, object)


def wrong_cell(path: Path, cells: Cells, values: Array, noun: str, fix: str) -> str:
    """Return a message about the filled cells that are not a `noun`, where `values` is NaN; "" if there are none."""
    wrong = cells[np.isnan(values)]
    wrong = wrong[~wrong.isin(MISSING)]
    if wrong.empty:
        return ""
    more = f" (nor are {len(wrong) - 1:,} more cells)" if len(wrong) > 1 else ""
    place = f"{path}, line {wrong.index[0]}: {shortened(wrong.iloc[0])} in the column {cells.name}"
    return f"{place} is not a {noun}{more}; {fix}"


def shortened(cell: str) -> str:
    """Return a cell in quotes, and cut if it is long."""
    return repr(cell if len(cell) <= SHOWN else f"{cell[:SHOWN]}…")
