"""Files of the rows of a table as they are in memory, with a check sum of each, which are mapped into memory."""

import mmap
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.data import Array

WHOLE = 0xFFFF
"""Exclusive or of the words of a row with its check sum; that of zeros is another one."""
FEW = 16
"""Rows that tell whether the others are in memory."""


class RowFiles:
    """The rows of a table, and a check sum of each, as they are in memory, in files that are mapped into memory.

    Args:
        files: The files.
        row: Type of a row, with a field for each column.
    """

    def __init__(self, files: Sequence[Path], row: np.dtype[Any]) -> None:
        self.maps, self.parts = list[mmap.mmap](), list[Array]()
        for path in files:
            with path.open("rb") as file:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            if sys.platform != "win32":
                mapped.madvise(mmap.MADV_RANDOM)  # else the system reads 128 kB for each row
            self.maps.append(mapped)
            self.parts.append(np.frombuffer(mapped, _stored(row)))
        self.starts = np.cumsum([0, *map(len, self.parts)])

    def read(self, rows: Array) -> Array:
        """Return the rows (n,) with the numbers `rows` (n,).

        Raises:
            ValueError: if a row is damaged.
        """
        if self._on_disk(rows[:FEW]):
            self._announce(rows)
        found = self._stored_at(rows)
        if np.any(_sums(found) != WHOLE):
            raise ValueError("the check sum of a row is wrong")
        return found["row"]

    def _stored_at(self, rows: Array) -> Array:
        """Return the rows (n,) with the numbers `rows` (n,), as they are in the files."""
        found: Array = np.empty(len(rows), self.parts[0].dtype)
        places = np.searchsorted(self.starts, rows, "right") - 1
        for place in np.unique(places):
            chosen = places == place
            found[chosen] = self.parts[place][rows[chosen] - self.starts[place]]
        return found

    def _on_disk(self, rows: Array) -> bool:
        """Return whether the system has to read some of these `rows` (n,) from the disk; it has read them then."""
        if sys.platform == "win32":
            return False
        import resource

        before = resource.getrusage(resource.RUSAGE_SELF).ru_majflt
        self._stored_at(rows)
        return resource.getrusage(resource.RUSAGE_SELF).ru_majflt > before

    def _announce(self, rows: Array) -> None:
        """Let the disk read the `rows` (n,) all at once, not one after the other."""
        size = self.parts[0].itemsize
        places = np.searchsorted(self.starts, rows, "right") - 1
        starts = (rows - self.starts[places]) * size
        for place, start in zip(places.tolist(), starts.tolist(), strict=True):
            before = start % mmap.PAGESIZE  # an advice begins with a page
            self.maps[place].madvise(mmap.MADV_WILLNEED, start - before, before + size)


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
