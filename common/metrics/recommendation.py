"""Metrics of predicted ratings and of the rankings that they give."""

from collections.abc import Callable

import numpy as np

from common.data import Array
from common.preprocessing.ratings import Ratings

AT_ONCE = 2**28
"""Bytes of all the ratings of some users, those of unrated items too, that are in memory at a time."""


DISCOUNTED = 10
"""Places of a ranking that count."""


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
    scikit-learn's `ndcg_score`. Two kinds of users do not count, because all rankings of their items are equally good:
    those with fewer than two ratings in `targets`, and those whose ratings are all 0, to whom `ndcg_score` gives 0.
    NaN where no user counts.
    """
    ratings, rows = targets.matrix.data, targets.user_of
    best = _discounted(rows, ratings, ratings, targets)
    ranked = (np.diff(targets.matrix.indptr) >= 2) & (best > 0)
    gain = _discounted(rows, ratings, predictions, targets)[ranked] / best[ranked]
    return float(gain.mean()) if len(gain) else float("nan")


def _discounted(rows: Array, ratings: Array, scores: Array, targets: Ratings) -> Array:
    """The discounted gain of each user, (users,), whose items are ranked by `scores` (ratings,), the highest first."""
    order = np.lexsort((-scores, rows))
    place = np.arange(len(rows)) - targets.matrix.indptr[rows]
    discount = np.where(place < DISCOUNTED, 1 / np.log2(place + 2), 0)
    ordered = scores[order]
    tie = np.concatenate([[0], np.cumsum((np.diff(ordered) != 0) | (np.diff(rows) != 0))])
    shared = (np.bincount(tie, ratings[order]) / np.bincount(tie))[tie]
    return np.bincount(rows, shared * discount, minlength=len(targets))
