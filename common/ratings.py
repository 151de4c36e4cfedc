"""Ratings of items by users: held sparse, split within each user, generated, and compared with what was expected."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from common.app import Array

if TYPE_CHECKING:
    import pandas as pd
    from scipy.sparse import csr_array

LEVELS = 20
"""Different ratings that a scale may have, at most."""
AT_ONCE = 2**28
"""Bytes of all the ratings of some users, those of unrated items too, that are in memory at a time."""
COLUMNS = {"user": np.int32, "item": np.int32, "rating": np.float32}
"""What a table of ratings has, whatever the file."""
DISCOUNTED = 10
"""Places of a ranking that count."""


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
        content = hashlib.sha256(repr(self.items).encode())
        for part in parts:
            content.update(np.ascontiguousarray(part).data)
        return content.hexdigest()[:16]

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
    if not 2 <= len(levels) <= LEVELS:
        raise ValueError(f"{len(levels):,} different ratings; a scale of 2 to {LEVELS} is needed")
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


def at_targets(predict: Callable[[Array], Array], inputs: Ratings, targets: Ratings) -> Array:
    """What `predict` says of the ratings in `targets`, and of no others, in their order: (ratings,).

    `predict` takes rows of `inputs` (users, items) and gives a rating of every item, for so few users at a time that
    those fit into memory.
    """
    users = max(1, AT_ONCE // (4 * inputs.shape[1]))
    parts = []
    for start in range(0, len(inputs), users):
        some = targets.matrix[start : start + users]
        rows = np.repeat(np.arange(some.shape[0]), np.diff(some.indptr))
        parts.append(predict(inputs[start : start + users])[rows, some.indices])
    return np.concatenate(parts)


def root_mean_square(targets: Ratings, predictions: Array) -> float:
    """Root mean square error of `predictions` (ratings,), in the ratings' unit."""
    return float(np.sqrt(np.mean(np.square(targets.matrix.data - predictions, dtype="float64"))))


def ranking_gain(targets: Ratings, predictions: Array) -> float:
    """How well `predictions` (ratings,) rank each user's items in `targets`: NDCG@10, the mean over users.

    DCG sums rating / log2(place + 1) over the first ten places, the normalised one divides by that of the best ranking
    (Järvelin and Kekäläinen 2002). Equal predictions share their places' discounts (McSherry and Najork 2008), as in
    scikit-learn's `ndcg_score`. Users with fewer than two ratings in `targets` have no ranking, and do not count; NaN
    where all have fewer.
    """
    ratings, rows = targets.matrix.data, targets.user_of
    gain = _discounted(rows, ratings, predictions, targets) / _discounted(rows, ratings, ratings, targets)
    ranked = np.diff(targets.matrix.indptr) >= 2
    return float(gain[ranked].mean()) if ranked.any() else float("nan")


def _discounted(rows: Array, ratings: Array, scores: Array, targets: Ratings) -> Array:
    """The discounted gain of each user, (users,), whose items are ranked by `scores` (ratings,), the highest first."""
    order = np.lexsort((-scores, rows))
    place = np.arange(len(rows)) - targets.matrix.indptr[rows]
    discount = np.where(place < DISCOUNTED, 1 / np.log2(place + 2), 0)
    ordered = scores[order]
    tie = np.concatenate([[0], np.cumsum((np.diff(ordered) != 0) | (np.diff(rows) != 0))])
    shared = (np.bincount(tie, ratings[order]) / np.bincount(tie))[tie]
    with np.errstate(invalid="ignore"):
        return np.bincount(rows, shared * discount, minlength=len(targets))
