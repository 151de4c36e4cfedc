"""What a recommender has to beat: means, and a matrix factorisation."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from common import ratings
from common.app import Array
from common.ratings import Ratings

if TYPE_CHECKING:
    from scipy.sparse import csr_array


class GlobalMean:
    """Expects the mean of all ratings of every item."""

    def fit(self, known: Ratings, _targets: Any = None) -> Self:
        """Take the mean."""
        self.means = np.full(known.shape[1], known.matrix.data.mean())
        return self

    def predict(self, rows: Array) -> Array:
        """Expected ratings (users, items), the same for all users."""
        return np.broadcast_to(self.means, rows.shape)


class ItemMean(GlobalMean):
    """Expects the mean of an item's ratings, or of all where it has none."""

    def fit(self, known: Ratings, _targets: Any = None) -> Self:
        super().fit(known)
        counts = np.bincount(known.matrix.indices, minlength=known.shape[1])
        totals = np.bincount(known.matrix.indices, known.matrix.data, minlength=known.shape[1])
        self.means = np.divide(totals, counts, out=self.means.copy(), where=counts > 0)
        return self


@dataclass(frozen=True)
class Factors:
    """r_ui = mean + b_u + b_i + p_u q_i, with the squares of the biases and factors penalised by `ridge`."""

    mean: float
    ridge: float
    items: Array
    """Bias and factors of each item, (items, 1 + rank)."""

    def predict(self, rows: Array) -> Array:
        """Expected ratings (users, items) from `rows` of known ones, 0 where there is none: b_u and p_u are exact."""
        from scipy.sparse import csr_array

        users = solve(csr_array(rows), self.items, self.mean, self.ridge)
        return self.mean + users[:, :1] + self.items[:, 0] + users[:, 1:] @ self.items[:, 1:].T


def solve(matrix: "csr_array", others: Array, mean: float, ridge: float) -> Array:
    """Bias and factors of each row of `matrix` (n, m), (n, 1 + rank), given those of the columns (m, 1 + rank).

    Ridge regression of what the mean and the columns' biases leave of a row's ratings on 1 and the columns' factors.
    """
    features = others.copy()
    features[:, 0] = 1
    penalty = ridge * np.eye(others.shape[1])
    solved = np.zeros((matrix.shape[0], others.shape[1]))
    for row, (start, end) in enumerate(zip(matrix.indptr[:-1], matrix.indptr[1:], strict=True)):
        columns = matrix.indices[start:end]
        left, x = matrix.data[start:end] - mean - others[columns, 0], features[columns]
        solved[row] = np.linalg.solve(x.T @ x + penalty, x.T @ left)
    return solved


def factorise(known: Ratings, rank: int, ridge: float, sweeps: int, seed: int = 0) -> Factors:
    """Factors of the `known` ratings by alternating least squares (Koren, Bell and Volinsky 2009)."""
    mean = float(known.matrix.data.mean())
    items = np.random.default_rng(seed).normal(0, 0.1, (known.shape[1], 1 + rank))
    by_item = known.matrix.T.tocsr()
    for _ in range(sweeps):
        users = solve(known.matrix, items, mean, ridge)
        items = solve(by_item, users, mean, ridge)
    return Factors(mean, ridge, items)


class MatrixFactorisation:
    """Biased matrix factorisation; of all pairs of `ranks` and `ridges`, the one with the least validation error."""

    def __init__(
        self, validation: tuple[Ratings, Ratings], ranks: Sequence[int], ridges: Sequence[float], sweeps: int = 10
    ) -> None:
        self.validation, self.ranks, self.ridges, self.sweeps = validation, ranks, ridges, sweeps

    def fit(self, known: Ratings, _targets: Any = None) -> Self:
        """Factorise with every pair of settings, and keep the best."""
        tried = [factorise(known, rank, ridge, self.sweeps) for rank, ridge in product(self.ranks, self.ridges)]
        self.factors = min(tried, key=self._error)
        return self

    def _error(self, factors: Factors) -> float:
        inputs, targets = self.validation
        return ratings.root_mean_square(targets, ratings.at_targets(factors.predict, inputs, targets))

    def predict(self, rows: Array) -> Array:
        """Expected ratings (users, items) from `rows` of known ones, 0 where there is none."""
        return self.factors.predict(rows)
