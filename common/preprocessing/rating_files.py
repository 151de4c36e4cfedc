"""Read ratings of items by users from a file: one of MovieLens, or any table with a column for each of the three."""

import csv
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from common.data import Array
from common.errors import UserError, reading
from common.preprocessing import cell_numbers, csv_file, table_files
from common.preprocessing.cells import Cells
from common.preprocessing.ratings import COLUMNS, Ratings, collect

if TYPE_CHECKING:
    import pandas as pd

HEADER = ["userId", "movieId", "rating"]
"""The first columns of ratings.csv."""
SUFFIX = r"([._ -]?(id|no|number|name))?"
NAMES = {
    "user": rf"(user|customer|member|reviewer|reader|viewer|client|person){SUFFIX}",
    "item": rf"(item|movie|film|book|product|song|track|artist|game|recipe|joke|article|restaurant|business|hotel"
    rf"|anime|title|isbn|asin){SUFFIX}",
    "rating": r"((star|book|movie)[._ -]?)?(rating|score|stars?|grade)|overall",
}
"""Names of the columns in tables of others, without case."""
TITLE = re.compile("title", re.IGNORECASE)
Table: TypeAlias = "tuple[pd.DataFrame, dict[int | str, str], tuple[str, ...]]"
"""A table of the columns `COLUMNS`, the titles by item, and notes about decisions."""


@dataclass(frozen=True)
class Layout:
    """A file of MovieLens: its separator, and the positions of user, item and rating in a line."""

    separator: str
    columns: tuple[int, int, int]
    header: bool = False


U_DATA = Layout("\t", (0, 1, 2))
RATINGS_DAT = Layout(":", (0, 2, 4))  # "::" as two separators, because pandas parses longer ones slowly
RATINGS_CSV = Layout(",", (0, 1, 2), header=True)
WITHOUT_NAMES = Layout(",", (0, 1, 2))


def read(path: Path, columns: tuple[str, str, str] | None = None) -> tuple[Ratings, tuple[str, ...]]:
    """Read a file of MovieLens in the layout of u.data, ratings.dat or ratings.csv, or a table with other columns.

    The titles of MovieLens's items come from u.item, movies.dat or movies.csv in the same folder, if there is one, and
    those of a table from its column of titles.

    Args:
        path: The file. A table is a CSV or Parquet file, or a pattern of several.
        columns: Columns of the user, the item and the rating. None: those of MovieLens, or those with usual names.

    Returns:
        The ratings, and notes about decisions.

    Raises:
        UserError: if the file cannot be read, or a line is not a rating; names the line.
    """
    layout = None if columns or len(table_files.files(path)) > 1 else _layout(path)
    frame, titles, notes = _read_movielens(path, layout) if layout else _read_table(path, columns)
    try:
        return collect(frame, titles), notes
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error


def _layout(path: Path) -> Layout | None:
    """Return the MovieLens layout of a file by its first line; None if it has none.

    Raises:
        UserError: if the file cannot be read, or is empty.
    """
    with reading(path), path.open(encoding="utf-8-sig", errors="replace") as file:
        first = file.readline(2**12).strip()
    if not first:
        raise UserError(f"{path}: the file is empty")
    if next(csv.reader([first]))[:3] == HEADER:
        return RATINGS_CSV
    for layout, separator in ((RATINGS_DAT, "::"), (U_DATA, "\t"), (WITHOUT_NAMES, ",")):
        cells = first.split(separator)
        if len(cells) >= 3 and cells[0].strip().isdecimal():
            return layout
    return None


def _read_movielens(path: Path, layout: Layout) -> Table:
    """Read a file of MovieLens, and the titles beside it."""
    import pandas as pd

    try:
        # A number that is too large for int32 ends in an error, and one that is too large for float32 is infinite.
        with np.errstate(invalid="ignore", over="ignore"):
            frame = pd.read_csv(
                path,
                sep=layout.separator,
                header=None,
                skiprows=int(layout.header),
                usecols=list(layout.columns),
                names=list(COLUMNS),
                dtype=COLUMNS,
                encoding_errors="replace",
            )
        faulty = not np.isfinite(frame["rating"]).all() or not (frame["rating"] > 0).all()
    except (ValueError, TypeError, OverflowError):
        faulty = True
    if faulty:
        raise UserError(f"{path}, {_first_fault(path, layout)}")
    return frame, titles_beside(path), ()


def _read_table(path: Path, columns: tuple[str, str, str] | None) -> Table:
    """Read a table with these columns of the user, the item and the rating, or with usual names."""
    import pandas as pd

    cells = table_files.read(path)
    names = columns or _find_columns(path, cells.frame)
    csv_file.require(path, cells.frame, names)
    notes = [*cells.notes, *([] if columns else [f"user, item and rating are the columns {', '.join(names)}"])]
    stars = cell_numbers.read_column(path, cells.frame[names[2]])
    known = ~np.isnan(stars) & np.all([cells.frame[name].ne("") for name in names[:2]], axis=0)
    rated, stars = cells.frame[known], stars[known]
    if missing := len(known) - len(rated):
        notes.append(f"{missing:,} of {len(known):,} rows have no {names[0]}, {names[1]} or {names[2]}; left out")
    if len(low := rated[stars <= 0]):
        place = f"{path}, line {low.index[0]}: {names[2]} {low[names[2]].iloc[0]}"
        raise UserError(
            f"{place}; ratings must be above 0. Leave out rows in which 0 means none, or add the same number to all"
        )
    users, items = (_ids(rated[name]) for name in names[:2])
    title = next((name for name in map(str, rated) if TITLE.fullmatch(name) and name not in names), None)
    titles = dict(zip(items.tolist(), rated[title], strict=True)) if title else {}
    frame = pd.DataFrame({"user": users, "item": items, "rating": stars.astype("float32")})
    return frame, titles, tuple(notes)


def _find_columns(path: Path, frame: "pd.DataFrame") -> tuple[str, str, str]:
    """Return the columns of the user, the item and the rating by their names.

    Raises:
        UserError: if the table has no column for one of them, or several.
    """
    found = []
    for noun, pattern in NAMES.items():
        fitting = [name for name in map(str, frame.columns) if re.fullmatch(pattern, name, re.IGNORECASE)]
        if noun == "item" and len(fitting) > 1:  # an item has a number and a title
            fitting = [name for name in fitting if not TITLE.fullmatch(name)] or fitting
        if len(fitting) != 1:
            which = f"several columns may have the {noun}" if fitting else f"no column has a name for the {noun}"
            has = ", ".join((fitting or list(frame.columns))[:20])
            unnamed = re.search(r"\d", "".join(map(str, frame.columns)))
            fix = ", or write a first line with the names of the columns" if unnamed else ""
            raise UserError(
                f"{path}: {which} ({has}); set `columns` to those of the user, the item and the rating{fix}"
            )
        found += fitting
    user, item, rating = found
    return user, item, rating


def _ids(cells: Cells) -> Array:
    """Return users or items (rows,) as numbers if all are, else as text."""
    return cells.to_numpy("int32" if cells.str.fullmatch("0|[1-9][0-9]{0,8}").all() else object)


def _first_fault(path: Path, layout: Layout) -> str:
    """Return a message about the first line that is not a rating."""
    expected = "a user number, an item number and a rating above 0 are needed; leave out rows in which 0 means none"
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            cells = line.rstrip("\n").split(layout.separator)
            try:
                user, item, rating = (cells[column] for column in layout.columns)
                with np.errstate(over="ignore"):
                    stars = np.float32(rating)
                valid = abs(int(user)) < 2**31 and abs(int(item)) < 2**31 and 0 < stars < np.inf
            except (ValueError, IndexError):
                valid = False
            if not valid and line.strip() and number > layout.header:
                return f"line {number}: {line.strip()[:80]!r}; {expected}"
    return f"unknown line: {expected}"


def titles_beside(path: Path) -> dict[int | str, str]:
    """Return the titles of MovieLens's films by number, from a file in the folder of `path`; empty if there is none."""
    for name, separator in (("movies.csv", ""), ("movies.dat", "::"), ("u.item", "|")):
        if (file := path.with_name(name)).is_file():
            with file.open(encoding="latin-1" if separator else "utf-8", errors="replace", newline="") as lines:
                rows = (line.split(separator) for line in lines) if separator else csv.reader(lines)
                return {int(row[0]): row[1].strip() for row in rows if len(row) > 1 and row[0].isdecimal()}
    return {}
