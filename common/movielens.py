"""Ratings from files in the layouts of MovieLens: u.data, ratings.dat and ratings.csv."""

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import UserError
from common.ratings import COLUMNS, Ratings, collect

HEADER = ["userId", "movieId", "rating"]
"""The first columns of ratings.csv."""


@dataclass(frozen=True)
class Layout:
    """How a line is cut into user, item and rating."""

    separator: str
    columns: tuple[int, int, int]
    header: int | None = None


U_DATA = Layout("\t", (0, 1, 2))
RATINGS_DAT = Layout(":", (0, 2, 4))  # its "::" has an empty column inside, which spares pandas's slow parser
RATINGS_CSV = Layout(",", (0, 1, 2), header=0)


def layout_of(path: Path) -> Layout:
    """The layout of MovieLens that the file's first line has.

    Raises:
        UserError: where there is no such file, or it has another layout.
    """
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            first = file.readline(2**12).strip()
    except OSError as error:
        raise UserError(f"--ratings {path}: cannot be read ({error.strerror})") from error
    if not first:
        raise UserError(f"--ratings {path}: the file is empty")
    if first.split(",")[:3] == HEADER:
        return RATINGS_CSV
    for layout, separator in ((RATINGS_DAT, "::"), (U_DATA, "\t")):
        if len(first.split(separator)) >= 3:
            return layout
    raise UserError(
        f"--ratings {path}: not in a layout of MovieLens; the first line must be the header {','.join(HEADER)}, or "
        "user, item and rating with tabs or :: between"
    )


def read(path: Path) -> Ratings:
    """The ratings in a file of MovieLens: u.data, ratings.dat or ratings.csv, told apart by the first line.

    The items' titles are taken from u.item, movies.dat or movies.csv where that is in the same folder.

    Raises:
        UserError: for what is wrong with the file, with the line.
    """
    import pandas as pd

    layout = layout_of(path)
    try:
        frame = pd.read_csv(
            path,
            sep=layout.separator,
            header=None,
            skiprows=0 if layout.header is None else 1,
            usecols=list(layout.columns),
            names=list(COLUMNS),
            dtype=COLUMNS,
            encoding_errors="replace",
        )
        faulty = not np.isfinite(frame["rating"]).all() or not (frame["rating"] > 0).all()
    except (ValueError, OverflowError):
        faulty = True
    if faulty:
        raise UserError(f"--ratings {path}, {_first_fault(path, layout)}")
    try:
        return collect(frame, titles_beside(path))
    except ValueError as error:
        raise UserError(f"--ratings {path}: {error}") from error


def _first_fault(path: Path, layout: Layout) -> str:
    """The first line that is no rating, and what a line should be."""
    wanted = "a user's and an item's number and a rating above 0 are needed"
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            cells = line.rstrip("\n").split(layout.separator)
            try:
                user, item, rating = (cells[column] for column in layout.columns)
                fine = abs(int(user)) < 2**31 and abs(int(item)) < 2**31 and 0 < float(rating) < np.inf
            except (ValueError, IndexError):
                fine = False
            if not fine and line.strip() and (layout.header is None or number > 1):
                return f"line {number}: {line.strip()[:80]!r}; {wanted}"
    return f"somewhere: {wanted}"


def titles_beside(path: Path) -> dict[int, str]:
    """The titles of MovieLens's films, by number, from the file in the folder of `path` that has them; or none."""
    readers: dict[str, Callable[[Path], Iterator[Sequence[str]]]] = {
        "movies.csv": _cells_of_csv,
        "movies.dat": lambda file: (line.split("::") for line in file.read_text("latin-1").splitlines()),
        "u.item": lambda file: (line.split("|") for line in file.read_text("latin-1").splitlines()),
    }
    for name, cells in readers.items():
        if (file := path.with_name(name)).is_file():
            return {int(row[0]): row[1].strip() for row in cells(file) if len(row) > 1 and row[0].isdecimal()}
    return {}


def _cells_of_csv(file: Path) -> Iterator[Sequence[str]]:
    with file.open(encoding="utf-8", errors="replace", newline="") as lines:
        yield from csv.reader(lines)
