"""Ratings of items by users: read from MovieLens files, generated, held sparse and split within each user."""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.data import Array, fingerprint
from common.errors import UserError

if TYPE_CHECKING:
    import pandas as pd
    from scipy.sparse import csr_array


LARGEST_SCALE = 20
"""Different ratings that a scale may have, at most."""
COLUMNS = {"user": np.int32, "item": np.int32, "rating": np.float32}
"""What a table of ratings has, whatever the file."""


@dataclass(frozen=True, eq=False)
class Ratings:
    """Ratings as an array of float32 (users, items), 0 where there is none: of its numbers only the others are stored.

    An index, a slice or an array of indices gives the rows of those users, dense.
    """

    matrix: "csr_array"
    """The ratings, (users, items)."""
    users: Array
    """What the users are called, (users,) integers."""
    items: tuple[str, ...]
    """What the items are called."""
    levels: tuple[float, ...]
    """The ratings that the scale has, the lowest first."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Numbers of users and items."""
        return (len(self.users), len(self.items))

    @property
    def ndim(self) -> int:
        """Two."""
        return 2

    @property
    def size(self) -> int:
        """Number of ratings."""
        return int(self.matrix.nnz)

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return int(self.matrix.data.nbytes + self.matrix.indices.nbytes + self.matrix.indptr.nbytes)

    @property
    def dtype(self) -> "np.dtype[Any]":
        """Single precision, in which halves are exact."""
        return np.dtype(np.float32)

    def __len__(self) -> int:
        return len(self.users)

    def __getitem__(self, indices: Any) -> Array:
        if isinstance(indices, int | np.integer):
            return self[[indices]][0]
        rows: Array = self.matrix[indices].toarray()
        return rows

    @property
    def digest(self) -> str:
        """Fingerprint of everything in it."""
        parts = (self.matrix.indptr, self.matrix.indices, self.matrix.data, self.users)
        return fingerprint(repr(self.items), *(np.ascontiguousarray(part).data for part in parts))

    @property
    def user_of(self) -> Array:
        """The row of each stored rating, (ratings,)."""
        return np.repeat(np.arange(len(self), dtype=np.int32), np.diff(self.matrix.indptr))

    def hold_out(self, share: float, *seed: int) -> tuple["Ratings", "Ratings"]:
        """The ratings without, and those of a `share` of each user's ratings, rounded; `seed` draws which."""
        rows = self.user_of
        # Each user's ratings in a random order, of which the first are taken.
        order = np.lexsort((np.random.default_rng(seed).random(self.size, dtype=np.float32), rows))
        place = np.arange(self.size) - self.matrix.indptr[rows]
        held = np.empty(self.size, dtype=bool)
        held[order] = place < np.round(share * np.diff(self.matrix.indptr))[rows]
        return self.part(~held), self.part(held)

    def part(self, kept: Array) -> "Ratings":
        """Those of the stored ratings that are true in `kept` (ratings,)."""
        from scipy.sparse import csr_array

        ends = np.concatenate([[0], np.cumsum(kept)])[self.matrix.indptr]
        parts = (self.matrix.data[kept], self.matrix.indices[kept], ends.astype(self.matrix.indptr.dtype))
        return replace(self, matrix=csr_array(parts, shape=self.shape))


def collect(frame: "pd.DataFrame", titles: Mapping[int, str]) -> Ratings:
    """The ratings in the columns of `frame`, which are `COLUMNS`.

    An item is called by its number and, if it has one, its title.

    Raises:
        ValueError: with what is wrong, where a rating is there twice, or the ratings are no scale.
    """
    import pandas as pd
    from scipy.sparse import csr_array

    users, items, ratings = (frame[name].to_numpy() for name in COLUMNS)
    levels = np.sort(pd.unique(ratings))
    if not 2 <= len(levels) <= LARGEST_SCALE:
        raise ValueError(f"{len(levels):,} different ratings; a scale of 2 to {LARGEST_SCALE} is needed")
    rows, user_names = pd.factorize(users, sort=True)
    columns, item_names = pd.factorize(items, sort=True)
    shape = (len(user_names), len(item_names))
    matrix = csr_array((ratings, (rows.astype(np.int32), columns.astype(np.int32))), shape=shape, dtype=np.float32)
    if matrix.nnz < len(ratings):
        twice = frame.duplicated(["user", "item"]).to_numpy().argmax()
        raise ValueError(f"user {users[twice]} rated item {items[twice]} twice; keep one of the two")
    names = tuple(f"{name} {titles[name]}" if name in titles else str(name) for name in item_names.tolist())
    return Ratings(matrix, user_names.astype(np.int64), names, tuple(levels.tolist()))


def generate(users: int, items: int, each: int, seed: int = 0) -> "pd.DataFrame":
    """Ratings with planted structure: columns user, item, rating, each from 1; about `each` ratings by a user.

    A rating is 3.5 + b_i + b_u + p_u q_i + e, rounded and held to 1 to 5: the item's and the user's bias, of standard
    deviation 0.5 and 0.3, the agreement of tastes, of three dimensions and deviation 0.8, and noise of deviation 0.6.
    Some items are rated more often, some users rate more, and whether a rating is there says nothing about its value.
    """
    import pandas as pd

    rng = np.random.default_rng(seed)
    counts = np.maximum(each // 4, each * rng.lognormal(-0.125, 0.5, users)).astype(int)
    popularity = rng.lognormal(0, 0.8, items)
    # A user may draw an item twice; once is kept.
    raters = np.repeat(np.arange(users), counts)
    chosen = rng.choice(items, len(raters), p=popularity / popularity.sum())
    raters, chosen = np.divmod(np.unique(raters * items + chosen), items)
    mean = 3.5 + rng.normal(0, 0.5, items)[chosen] + rng.normal(0, 0.3, users)[raters]
    for _ in range(3):
        mean += 0.8 / 3**0.5 * rng.normal(size=users)[raters] * rng.normal(size=items)[chosen]
    stars = np.clip(np.round(mean + rng.normal(0, 0.6, len(mean))), 1, 5)
    return pd.DataFrame({"user": raters + 1, "item": chosen + 1, "rating": stars.astype(np.float32)})


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
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    if not first:
        raise UserError(f"{path}: the file is empty")
    if first.split(",")[:3] == HEADER:
        return RATINGS_CSV
    for layout, separator in ((RATINGS_DAT, "::"), (U_DATA, "\t")):
        if len(first.split(separator)) >= 3:
            return layout
    raise UserError(
        f"{path}: not in a layout of MovieLens; the first line must be the header {','.join(HEADER)}, or "
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
        raise UserError(f"{path}, {_first_fault(path, layout)}")
    try:
        return collect(frame, titles_beside(path))
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error


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
