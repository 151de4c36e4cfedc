"""Metrics of predicted ratings and of their ranking."""

from collections.abc import Callable

import numpy as np

from common.data import Array
from common.preprocessing.ratings import Ratings

AT_ONCE = 2**28
"""Maximum size in bytes of the predictions that are in memory at a time."""


DISCOUNTED = 10
"""Number of places of a ranking in NDCG."""


def at_targets(predict: Callable[[Array], Array], inputs: Ratings, targets: Ratings) -> Array:
    """Predict the ratings in `targets`, for some users at a time.

    Args:
        predict: Rows of `inputs` (users, items) -> ratings of every item (users, items).
        inputs: Known ratings.
        targets: Ratings to predict.

    Returns:
        The predicted ratings (ratings,), in the order of `targets`.
    """
    users = max(1, AT_ONCE // (4 * inputs.shape[1]))
    parts = []
    for start in range(0, len(inputs), users):
        part = targets.matrix[start : start + users]
        rows = np.repeat(np.arange(part.shape[0]), np.diff(part.indptr))
        parts.append(predict(inputs[start : start + users])[rows, part.indices])
    return np.concatenate(parts)


def root_mean_square(targets: Ratings, predictions: Array) -> float:
    """Return the root mean square error of `predictions` (ratings,), in the unit of the ratings."""
    return float(np.sqrt(np.mean(np.square(targets.matrix.data - predictions, dtype="float64"))))


def ranking_gain(targets: Ratings, predictions: Array) -> float:
    """Return NDCG@10 of each user's items in `targets` ranked by `predictions` (ratings,), as the mean over users.

    DCG is the sum of rating / log2(place + 1) over the first ten places; NDCG divides it by the DCG of the best ranking
    (Järvelin and Kekäläinen 2002). Equal predictions share the discounts of their places (McSherry and Najork 2008), as
    in scikit-learn's `ndcg_score`. Users are left out if all rankings of their items are equally good: those with fewer
    than two ratings in `targets`, and those whose ratings are all 0. NaN if there are no others.
    """
    ratings, rows = targets.matrix.data, targets.user_of
    best = _discounted(rows, ratings, ratings, targets)
    ranked = (np.diff(targets.matrix.indptr) >= 2) & (best > 0)
    gain = _discounted(rows, ratings, predictions, targets)[ranked] / best[ranked]
    return float(gain.mean()) if len(gain) else float("nan")


def _discounted(rows: Array, ratings: Array, scores: Array, targets: Ratings) -> Array:
    """Return DCG (users,) of each user's items ranked by `scores` (ratings,), the highest first."""
    order = np.lexsort((-scores, rows))
    place = np.arange(len(rows)) - targets.matrix.indptr[rows]
    discount = np.where(place < DISCOUNTED, 1 / np.log2(place + 2), 0)
    ordered = scores[order]
    tie = np.concatenate([[0], np.cumsum((np.diff(ordered) != 0) | (np.diff(rows) != 0))])
    shared = (np.bincount(tie, ratings[order]) / np.bincount(tie))[tie]
    return np.bincount(rows, shared * discount, minlength=len(targets))
