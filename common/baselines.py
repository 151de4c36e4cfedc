"""Classical estimators to compare a network with, on the same split."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from common.config import Config
from common.data import Array, Data
from common.metrics.recommendation import at_targets, root_mean_square
from common.preprocessing import images
from common.preprocessing.ratings import Ratings

if TYPE_CHECKING:
    import pandas as pd
    from scipy.sparse import csr_array
    from sklearn.pipeline import Pipeline

    from common.nn.linear import LinearConfig


def default(config: Config, data: Data) -> "Pipeline":
    """Return the usual estimator for a classification of this kind of data, unfitted."""
    return bag_of_words(config, data) if data.kind == "text" else logistic_regression(config, data)


def logistic_regression(_config: Config, data: Data) -> "Pipeline":
    """Multinomial logistic regression with a slight L2 penalty on the pixels, flattened and scaled to [0, 1].

    Or on columns, standardised. scikit-learn's C weighs the sum over examples, so it is divided by their number to mean
    the same for every data set.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, MinMaxScaler

    prepared = standardised(data) if data.kind == "table" else [FunctionTransformer(images.pixels), MinMaxScaler()]
    return make_pipeline(*prepared, LogisticRegression(C=1000 / len(data.train[1]), max_iter=200))


def least_squares(config: "LinearConfig", data: Data) -> "Pipeline":
    """The exact optimum of linear regression with the same penalties, which scikit-learn counts otherwise.

    Its Lasso halves the mean squared error, its Ridge takes the sum of squared errors.
    """
    from sklearn import linear_model
    from sklearn.pipeline import make_pipeline

    if config.l1:
        total = config.l1 / 2 + config.l2
        estimator = linear_model.ElasticNet(alpha=total, l1_ratio=config.l1 / 2 / total, max_iter=100_000)
    elif config.l2:
        estimator = linear_model.Ridge(alpha=config.l2 * len(data.train[1]))
    else:
        estimator = linear_model.LinearRegression()
    return make_pipeline(*standardised(data), estimator)


def maximum_likelihood(config: "LinearConfig", data: Data, balanced: bool) -> "Pipeline":
    """The exact optimum of logistic regression with the same penalties on columns; on pictures as above.

    scikit-learn's C weighs the sum of cross-entropies against half of the squared and all of the absolute penalty.
    """
    from sklearn import linear_model
    from sklearn.pipeline import make_pipeline

    if data.kind != "table":
        return logistic_regression(config, data)
    total = config.l1 + 2 * config.l2
    estimator = linear_model.LogisticRegression(
        C=1 / (total * len(data.train[1])) if total else np.inf,
        l1_ratio=config.l1 / total if total else 0.0,
        solver="saga" if config.l1 else "lbfgs",
        class_weight="balanced" if balanced else None,
        tol=1e-8,
        max_iter=100_000,
    )
    return make_pipeline(*standardised(data), estimator)


def standardised(data: Data) -> list[Any]:
    """The steps that turn raw columns into the features that `features.standardised` gives the network."""
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    from common.preprocessing import features

    numbers, text = features.number_columns(data), features.text_values(data)
    fill = SimpleImputer(add_indicator=True, keep_empty_features=True)
    indicators = OneHotEncoder(categories=list(text.values()), drop="first", handle_unknown="ignore")
    columns = make_column_transformer((fill, numbers), (indicators, list(text)), sparse_threshold=0)
    return [ToFrame(numbers), columns, StandardScaler()]


class ToFrame:
    """The first step of a pipeline: named columns as a pandas table, those of numbers in double precision.

    scikit-learn's FunctionTransformer looks for the features of what it takes, and of a dict it fails to find them.
    """

    def __init__(self, numbers: Sequence[str]) -> None:
        self.numbers = numbers

    def fit(self, _columns: Mapping[str, Array], _targets: Array | None = None) -> Self:
        """Learn nothing."""
        return self

    def transform(self, columns: Mapping[str, Array]) -> "pd.DataFrame":
        """The table, a row an example."""
        import pandas as pd

        return pd.DataFrame(columns).astype(dict.fromkeys(self.numbers, "float64"))


def bag_of_words(_config: Config, _data: Data) -> "Pipeline":
    """Logistic regression on the TF-IDF weights of a sentence's words and pairs of words."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    weights = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    return make_pipeline(weights, LogisticRegression(C=10.0, max_iter=1000))


class SeasonalNaive:
    """Forecasts each step by the value a season before it; with a season of 1, by the last value."""

    def __init__(self, season: int) -> None:
        self.season = season

    def fit(self, _windows: Array, following: Array) -> Self:
        """Learn nothing but how far to forecast, from `following` (windows, steps, variables)."""
        self.horizon = following.shape[1]
        return self

    def predict(self, windows: Array) -> Array:
        """Forecasts (windows, steps, variables) after `windows` (windows, times, variables)."""
        season = windows[:, -self.season :]
        return season[:, np.arange(self.horizon) % self.season]


class Autoregression:
    """Forecasts each variable from its own past: x[t] = c + sum_i phi_i x[t - i], step after step.

    statsmodels' AutoReg on the training series; of the orders that a window holds, the one of the best AIC.
    """

    def fit(self, windows: Array, following: Array) -> Self:
        """Learn c and phi of every variable from consecutive windows, as `series.windows` cuts them."""
        from statsmodels.tsa.ar_model import ar_select_order

        self.horizon = following.shape[1]
        series = np.concatenate([windows[0], following[:, 0], following[-1, 1:]]).astype("float64")
        # AutoReg cannot have more coefficients than half of what it is fitted to.
        longest = min(windows.shape[1], len(series) // 2 - 2)
        choices = [ar_select_order(column, longest, ic="aic") for column in series.T]
        self.orders = [max(choice.ar_lags or [0]) for choice in choices]
        self.coefficients = [choice.model.fit().params for choice in choices]
        return self

    def predict(self, windows: Array) -> Array:
        """Forecasts (windows, steps, variables) after `windows` (windows, times, variables)."""
        forecasts = []
        for variable, (order, coefficients) in enumerate(zip(self.orders, self.coefficients, strict=True)):
            past = windows[:, :, variable].astype("float64")
            for _ in range(self.horizon):
                latest_first = past[:, ::-1][:, :order]
                past = np.column_stack([past, coefficients[0] + latest_first @ coefficients[1:]])
            forecasts.append(past[:, -self.horizon :])
        return np.stack(forecasts, axis=-1)


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
        return root_mean_square(targets, at_targets(factors.predict, inputs, targets))

    def predict(self, rows: Array) -> Array:
        """Expected ratings (users, items) from `rows` of known ones, 0 where there is none."""
        return self.factors.predict(rows)
