"""Ratings of items by users: generating, sparse storage, and a split within each user."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from common.data import Array, fingerprint

if TYPE_CHECKING:
    import pandas as pd
    from scipy.sparse import csr_array


LARGEST_SCALE = 20
"""Maximum number of levels of a rating scale."""
COLUMNS = {"user": np.int32, "item": np.int32, "rating": np.float32}
"""Columns of a table of ratings, and their types."""


@dataclass(frozen=True, eq=False)
class Ratings:
    """A sparse array of float32 ratings (users, items), 0 for no rating. Indexing returns dense rows."""

    matrix: "csr_array"
    """The ratings (users, items)."""
    users: Array
    """Numbers or names of the users (users,)."""
    items: tuple[str, ...]
    """Names of the items."""
    levels: tuple[float, ...]
    """Levels of the rating scale, ascending."""
    dtype = np.dtype(np.float32)
    ndim = 2

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape (users, items)."""
        return (len(self.users), len(self.items))

    @property
    def size(self) -> int:
        """Number of ratings."""
        return int(self.matrix.nnz)

    @property
    def nbytes(self) -> int:
        """Number of bytes in memory."""
        return int(self.matrix.data.nbytes + self.matrix.indices.nbytes + self.matrix.indptr.nbytes)

    def __len__(self) -> int:
        return len(self.users)

    def __getitem__(self, indices: Any) -> Array:
        if isinstance(indices, int | np.integer):
            return self[[indices]][0]
        rows: Array = self.matrix[indices].toarray()
        return rows

    @property
    def digest(self) -> str:
        """Fingerprint of the ratings, the users and the items."""
        parts = (self.matrix.indptr, self.matrix.indices, self.matrix.data, self.users)
        return fingerprint(repr(self.items), *(np.ascontiguousarray(part).view(np.uint8).data for part in parts))

    @property
    def user_of(self) -> Array:
        """Row of each stored rating, (ratings,)."""
        return np.repeat(np.arange(len(self), dtype=np.int32), np.diff(self.matrix.indptr))

    def hold_out(self, share: float, *seed: int) -> tuple["Ratings", "Ratings"]:
        """Split each user's ratings at random into the rest and a `share` of them, rounded to whole ratings."""
        rows = self.user_of
        # Sort each user's ratings at random, and hold out the first ones.
        order = np.lexsort((np.random.default_rng(seed).random(self.size, dtype=np.float32), rows))
        place = np.arange(self.size) - self.matrix.indptr[rows]
        held_out = np.empty(self.size, dtype=bool)
        held_out[order] = place < np.round(share * np.diff(self.matrix.indptr))[rows]
        return self.part(~held_out), self.part(held_out)

    def part(self, selected: Array) -> "Ratings":
        """Return the stored ratings for which `selected` (ratings,) is true."""
        from scipy.sparse import csr_array

        ends = np.concatenate([[0], np.cumsum(selected)])[self.matrix.indptr]
        parts = (self.matrix.data[selected], self.matrix.indices[selected], ends.astype(self.matrix.indptr.dtype))
        return replace(self, matrix=csr_array(parts, shape=self.shape))


def collect(frame: "pd.DataFrame", titles: Mapping[int | str, str]) -> Ratings:
    """Convert a table of ratings.

    Args:
        frame: Table with the `COLUMNS`, one row per rating. Users and items are numbers, or text.
        titles: Titles by item. The name of an item is its number or text and its title, if it has one.

    Raises:
        ValueError: if a user rated an item twice, or the number of levels is less than 2 or above `LARGEST_SCALE`.
    """
    import pandas as pd
    from scipy.sparse import csr_array

    users, items, ratings = (frame[name].to_numpy() for name in COLUMNS)
    levels = np.sort(pd.unique(ratings))
    if not 2 <= len(levels) <= LARGEST_SCALE:
        fix = "; round them" if len(levels) > LARGEST_SCALE else ""
        raise ValueError(f"{len(levels):,} different ratings; a scale of 2 to {LARGEST_SCALE} is needed{fix}")
    rows, user_names = pd.factorize(users, sort=True)
    columns, item_names = pd.factorize(items, sort=True)
    shape = (len(user_names), len(item_names))
    matrix = csr_array((ratings, (rows.astype(np.int32), columns.astype(np.int32))), shape=shape, dtype=np.float32)
    if matrix.nnz < len(ratings):
        twice = frame.duplicated(["user", "item"]).to_numpy().argmax()
        raise ValueError(f"user {users[twice]} rated item {items[twice]} twice; keep one of the two")
    names = tuple(f"{name} {titles[name]}" if name in titles else str(name) for name in item_names.tolist())
    # An array of Python objects would have no fingerprint.
    user_names = user_names.astype(np.int64 if user_names.dtype.kind == "i" else np.str_)
    return Ratings(matrix, user_names, names, tuple(levels.tolist()))


def generate(users: int, items: int, each: int, seed: int = 0) -> "pd.DataFrame":
    """Generate ratings with the structure of a matrix factorisation.

    A rating is 3.5 + b_i + b_u + p_u q_i + e, rounded and clipped to [1, 5]. The standard deviations are 0.5 of the
    item bias b_i, 0.3 of the user bias b_u, 0.8 of p_u q_i, which has three dimensions, and 0.6 of the noise e. Items
    and users differ in their number of ratings, which is independent of the values.

    Args:
        users: Number of users.
        items: Number of items.
        each: Mean number of ratings per user, approximately.
        seed: Seed.

    Returns:
        A table with the columns user, item and rating. Users and items are counted from 1.
    """
    import pandas as pd

    rng = np.random.default_rng(seed)
    counts = np.maximum(each // 4, each * rng.lognormal(-0.125, 0.5, users)).astype(int)
    popularity = rng.lognormal(0, 0.8, items)
    # If a user draws an item twice, one rating is kept.
    raters = np.repeat(np.arange(users), counts)
    chosen = rng.choice(items, len(raters), p=popularity / popularity.sum())
    raters, chosen = np.divmod(np.unique(raters * items + chosen), items)
    mean = 3.5 + rng.normal(0, 0.5, items)[chosen] + rng.normal(0, 0.3, users)[raters]
    for _ in range(3):
        mean += 0.8 / 3**0.5 * rng.normal(size=users)[raters] * rng.normal(size=items)[chosen]
    stars = np.clip(np.round(mean + rng.normal(0, 0.6, len(mean))), 1, 5)
    return pd.DataFrame({"user": raters + 1, "item": chosen + 1, "rating": stars.astype(np.float32)})
