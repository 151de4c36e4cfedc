"""Files of the rows of a table as they are in memory, with a check sum of each, which are mapped into memory."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.data import Array

WHOLE = 0xFFFF
"""Exclusive or of the words of a row with its check sum; that of zeros is another one."""


class RowFiles:
    """The rows of a table, and a check sum of each, as they are in memory, in files that are mapped into memory.

    Args:
        files: The files.
        row: Type of a row, with a field for each column.
    """

    def __init__(self, files: Sequence[Path], row: np.dtype[Any]) -> None:
        self.files = [path.open("rb") for path in files]
        self.parts = [np.memmap(file, _stored(row), "r") for file in self.files]
        self.starts = np.cumsum([0, *map(len, self.parts)])

    def read(self, rows: Array) -> Array:
        """Return the rows (n,) with the numbers `rows` (n,).

        Raises:
            ValueError: if a row is damaged.
        """
        found: Array = np.empty(len(rows), self.parts[0].dtype)
        places = np.searchsorted(self.starts, rows, "right") - 1
        for place in np.unique(places):
            chosen = places == place
            found[chosen] = self._read(place, rows[chosen] - self.starts[place])
        if np.any(_sums(found) != WHOLE):
            raise ValueError("the check sum of a row is wrong")
        return found["row"]

    def _read(self, place: int, rows: Array) -> Array:
        """Return rows (n,) of a file, as they are in it."""
        if sys.platform == "linux":  # the disk reads all of them at once, not one after the other, and nothing else
            number, size = self.files[place].fileno(), self.parts[place].itemsize
            for start in (rows * size).tolist():
                os.posix_fadvise(number, start, size, os.POSIX_FADV_WILLNEED)
        found: Array = self.parts[place][rows]
        return found


def _stored(row: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type of a row in a file."""
    return np.dtype([("row", row), ("check", "<u2")])


def _sums(stored: Array) -> Array:
    """Return the exclusive or (rows,) of the 16-bit words of each row in a file."""
    sums: Array = np.bitwise_xor.reduce(stored.view("<u2").reshape(len(stored), -1), axis=1)
    return sums


def content(rows: Array) -> bytes:
    """Return the content of a file of `RowFiles` with `rows` (n,)."""
    stored = np.zeros(len(rows), _stored(rows.dtype))
    stored["row"] = rows
    stored["check"] = _sums(stored) ^ WHOLE
    return stored.tobytes()
