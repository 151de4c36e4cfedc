"""Classical estimators that a network is compared with, on the same split.

They have no class weights here: their `fit` gets those of the network as the weights of the examples.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from common.config import Config
from common.data import Array, Data, Inputs
from common.metrics.recommendation import at_targets, root_mean_square
from common.preprocessing import features, images, series_windows
from common.preprocessing.ratings import Ratings

if TYPE_CHECKING:
    import pandas as pd
    from scipy.sparse import csr_array
    from sklearn.pipeline import Pipeline

    from common.nn.linear import LinearConfig


def default(config: Config, data: Data) -> "Pipeline":
    """Return the default classifier for this kind of data, unfitted."""
    return bag_of_words(config, data) if data.kind == "text" else logistic_regression(config, data)


def logistic_regression(_config: Config, data: Data) -> "Pipeline":
    """Return a multinomial logistic regression with a small L2 penalty, on pixels in [0, 1] or standardised columns.

    scikit-learn's C weights the sum over examples. Divided by their number, it has the same effect on every data set.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, MinMaxScaler

    prepared = standardised(data) if data.kind == "table" else [FunctionTransformer(images.pixels), MinMaxScaler()]
    return make_pipeline(*prepared, LogisticRegression(C=1000 / len(data.train[1]), max_iter=200))


def least_squares(config: "LinearConfig", data: Data) -> "dict[str, Pipeline]":
    """Return an exact solver of the same linear regression, with the same penalties, and gradient boosting.

    scikit-learn scales penalties differently: Lasso halves the mean squared error, Ridge sums the squared errors.
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
    exact = make_pipeline(*standardised(data), estimator)
    return {"baseline": exact, "gradient boosting": gradient_boosting(config, data)}


def maximum_likelihood(config: "LinearConfig", data: Data) -> "dict[str, Pipeline]":
    """Return an exact solver of the same logistic regression on columns, and gradient boosting.

    On images, return `logistic_regression` alone.

    scikit-learn's C weights the sum of cross-entropies against the absolute penalty plus half of the squared penalty.
    """
    from sklearn import linear_model
    from sklearn.pipeline import make_pipeline

    if data.kind != "table":
        return {"baseline": logistic_regression(config, data)}
    total = config.l1 + 2 * config.l2
    estimator = linear_model.LogisticRegression(
        C=1 / (total * len(data.train[1])) if total else np.inf,
        l1_ratio=config.l1 / total if total else 0.0,
        solver="saga" if config.l1 else "lbfgs",
        tol=1e-8,
        max_iter=100_000,
    )
    exact = make_pipeline(*standardised(data), estimator)
    return {"baseline": exact, "gradient boosting": gradient_boosting(config, data)}


def of_tables(config: Config, data: Data) -> "dict[str, Pipeline]":
    """Return gradient boosting, and a ridge or logistic regression with a small penalty, for a table's target."""
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline

    rows = len(data.train[1])
    if data.train[1].ndim == 2:
        linear, name = Ridge(alpha=rows / 1000), "ridge regression"
    else:
        linear, name = LogisticRegression(C=1000 / rows, max_iter=1000), "logistic regression"
    return {name: make_pipeline(*standardised(data), linear), "gradient boosting": gradient_boosting(config, data)}


def gradient_boosting(config: Config, data: Data) -> "Pipeline":
    """Return scikit-learn's histogram-based gradient boosting on raw columns, for a quantity or for classes."""
    from sklearn.compose import TransformedTargetRegressor, make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder

    numbers, text = features.number_columns(data), list(features.text_values(data))
    # Unseen values are missing ones to the trees, which split at most 255 categories.
    options = {"handle_unknown": "use_encoded_value", "unknown_value": np.nan, "max_categories": 254}
    columns = make_column_transformer((OrdinalEncoder(**options), text), ("passthrough", numbers))
    shared = {"categorical_features": list(range(len(text))) or None, "random_state": config.seed}
    if data.train[1].ndim == 2:
        flat = {"func": np.ravel, "inverse_func": np.asarray, "check_inverse": False}  # targets are (examples, 1)
        estimator = TransformedTargetRegressor(HistGradientBoostingRegressor(**shared), **flat)
    else:
        estimator = HistGradientBoostingClassifier(**shared)
    return make_pipeline(ToFrame(numbers), columns, estimator)


def standardised(data: Data) -> list[Any]:
    """Return the pipeline steps that compute `features.standardised` from raw columns."""
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers, text = features.number_columns(data), features.text_values(data)
    fill = SimpleImputer(add_indicator=True, keep_empty_features=True)
    indicators = OneHotEncoder(categories=list(text.values()), drop="first", handle_unknown="ignore")
    columns = make_column_transformer((fill, numbers), (indicators, list(text)), sparse_threshold=0)
    return [ToFrame(numbers), columns, StandardScaler()]


class ToFrame:
    """First step of a pipeline: named columns to a pandas table, with numbers in float64.

    scikit-learn's FunctionTransformer does not accept a dict.
    """

    def __init__(self, numbers: Sequence[str]) -> None:
        self.numbers = numbers

    def fit(self, _columns: Mapping[str, Array], _targets: Array | None = None) -> Self:
        """Do nothing."""
        return self

    def transform(self, columns: Mapping[str, Array]) -> "pd.DataFrame":
        """Return a table with one row per example, from `columns` (examples,) by name."""
        import pandas as pd

        return pd.DataFrame(columns).astype(dict.fromkeys(self.numbers, "float64"))


def bag_of_words(_config: Config, _data: Data) -> "Pipeline":
    """Return a logistic regression on the TF-IDF weights of words and pairs of words."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    weights = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    return make_pipeline(weights, LogisticRegression(C=10.0, max_iter=1000))


class SeasonalNaive:
    """Forecast of each step by the value one `season` (in steps) earlier. A season of 1 repeats the last value."""

    def __init__(self, season: int) -> None:
        self.season = season

    def fit(self, _inputs: Inputs, following: Array) -> Self:
        """Store the shape of `following` (windows, steps, variables)."""
        _, self.horizon, self.variables = following.shape
        return self

    def predict(self, inputs: Inputs) -> Array:
        """Return the forecasts (windows, steps, variables) after the windows of a network's `inputs`."""
        history = series_windows.targets_of(inputs, self.variables)
        return series_windows.repeat_season(history, self.season, self.horizon)


class RidgeForecast:
    """Ridge regression of every step to forecast on all numbers of a network's inputs.

    The numbers are standardised. The penalty, one for all steps, has the least error with each window left out.
    """

    def fit(self, inputs: Inputs, following: Array) -> Self:
        """Fit to the windows of `inputs` and the steps after them, `following` (windows, steps, variables)."""
        from sklearn.linear_model import RidgeCV
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        self.shape = following.shape[1:]
        self.estimator = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-3, 5, 17)))
        self.estimator.fit(self._flat(inputs), following.reshape(len(following), -1).astype("float64"))
        return self

    def _flat(self, inputs: Inputs) -> Array:
        parts = list(inputs.values()) if isinstance(inputs, dict) else [inputs[:]]
        return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1).astype("float64")

    def predict(self, inputs: Inputs) -> Array:
        """Return the forecasts (windows, steps, variables)."""
        return self.estimator.predict(self._flat(inputs)).reshape(-1, *self.shape)


class Autoregression:
    """Autoregression of each variable, step by step: x[t] = c + sum_i phi_i x[t - i].

    Fitted by statsmodels' AutoReg. The order, at most the length of a window, has the best AIC.
    """

    def fit(self, inputs: Inputs, following: Array) -> Self:
        """Fit c and phi of each variable to consecutive windows, and `following` (windows, steps, variables)."""
        from statsmodels.tools.sm_exceptions import SingularMatrixWarning
        from statsmodels.tsa.ar_model import ar_select_order

        _, self.horizon, self.variables = following.shape
        windows = series_windows.targets_of(inputs, self.variables)
        values = np.concatenate([windows[0], following[:, 0], following[-1, 1:]]).astype("float64")
        # AutoReg needs at least twice as many values as coefficients.
        longest = min(windows.shape[1], len(values) // 2 - 2)
        with warnings.catch_warnings():
            # A series that its last values determine, such as a line, has many solutions, which forecast alike.
            warnings.simplefilter("ignore", SingularMatrixWarning)
            choices = [ar_select_order(column, longest, ic="aic") for column in values.T]
            self.coefficients = [choice.model.fit().params for choice in choices]
        self.orders = [max(choice.ar_lags or [0]) for choice in choices]
        return self

    def predict(self, inputs: Inputs) -> Array:
        """Return the forecasts (windows, steps, variables) after the windows of a network's `inputs`."""
        windows = series_windows.targets_of(inputs, self.variables)
        forecasts = []
        for variable, (order, coefficients) in enumerate(zip(self.orders, self.coefficients, strict=True)):
            past = windows[:, :, variable].astype("float64")
            for _ in range(self.horizon):
                latest_first = past[:, ::-1][:, :order]
                past = np.column_stack([past, coefficients[0] + latest_first @ coefficients[1:]])
            forecasts.append(past[:, -self.horizon :])
        return np.stack(forecasts, axis=-1)


class GlobalMean:
    """Prediction of the mean of all ratings for every item."""

    def fit(self, known: Ratings, _targets: Any = None) -> Self:
        """Compute the mean."""
        self.means = np.full(known.shape[1], known.matrix.data.mean())
        return self

    def predict(self, rows: Array) -> Array:
        """Return the expected ratings (users, items), which are the same for all users."""
        return np.broadcast_to(self.means, rows.shape)


class ItemMean(GlobalMean):
    """Prediction of the mean of an item's ratings, or of all ratings if the item has none."""

    def fit(self, known: Ratings, _targets: Any = None) -> Self:
        super().fit(known)
        counts = np.bincount(known.matrix.indices, minlength=known.shape[1])
        totals = np.bincount(known.matrix.indices, known.matrix.data, minlength=known.shape[1])
        self.means = np.divide(totals, counts, out=self.means.copy(), where=counts > 0)
        return self


@dataclass(frozen=True)
class Factors:
    """A matrix factorisation r_ui = mean + b_u + b_i + p_u q_i, with an L2 penalty `ridge` on biases and factors."""

    mean: float
    ridge: float
    items: Array
    """Bias b_i and factors q_i of each item, (items, 1 + rank)."""

    def predict(self, rows: Array) -> Array:
        """Return the expected ratings (users, items) given known ones `rows` (users, items), 0 for no rating.

        b_u and p_u are solved exactly for each user.
        """
        from scipy.sparse import csr_array

        users = solve(csr_array(rows), self.items, self.mean, self.ridge)
        return self.mean + users[:, :1] + self.items[:, 0] + users[:, 1:] @ self.items[:, 1:].T


def solve(matrix: "csr_array", others: Array, mean: float, ridge: float) -> Array:
    """Return the biases and factors of the rows of `matrix`, given those of its columns.

    One ridge regression per row, of the ratings minus `mean` and the columns' biases on (1, factors of the columns).

    Args:
        matrix: Ratings (n, m).
        others: Biases and factors of the columns, (m, 1 + rank).
        mean: Mean of all ratings.
        ridge: Weight of the L2 penalty.

    Returns:
        Biases and factors of the rows, (n, 1 + rank).
    """
    features = others.copy()
    features[:, 0] = 1
    penalty = ridge * np.eye(others.shape[1])
    solved = np.zeros((matrix.shape[0], others.shape[1]))
    for row, (start, end) in enumerate(zip(matrix.indptr[:-1], matrix.indptr[1:], strict=True)):
        columns = matrix.indices[start:end]
        residuals, x = matrix.data[start:end] - mean - others[columns, 0], features[columns]
        solved[row] = np.linalg.solve(x.T @ x + penalty, x.T @ residuals)
    return solved


def factorise(known: Ratings, rank: int, ridge: float, sweeps: int, seed: int = 0) -> Factors:
    """Factorise the `known` ratings by alternating least squares (Koren, Bell and Volinsky 2009)."""
    mean = float(known.matrix.data.mean())
    items = np.random.default_rng(seed).normal(0, 0.1, (known.shape[1], 1 + rank))
    by_item = known.matrix.T.tocsr()
    for _ in range(sweeps):
        users = solve(known.matrix, items, mean, ridge)
        items = solve(by_item, users, mean, ridge)
    return Factors(mean, ridge, items)


class MatrixFactorisation:
    """Biased matrix factorisation with the rank and ridge that have the smallest validation error."""

    def __init__(
        self, validation: tuple[Ratings, Ratings], ranks: Sequence[int], ridges: Sequence[float], sweeps: int = 10
    ) -> None:
        self.validation, self.ranks, self.ridges, self.sweeps = validation, ranks, ridges, sweeps

    def fit(self, known: Ratings, _targets: Any = None) -> Self:
        """Factorise with every rank and ridge, and keep the best factors."""
        tried = [factorise(known, rank, ridge, self.sweeps) for rank, ridge in product(self.ranks, self.ridges)]
        self.factors = min(tried, key=self._error)
        return self

    def _error(self, factors: Factors) -> float:
        inputs, targets = self.validation
        return root_mean_square(targets, at_targets(factors.predict, inputs, targets))

    def predict(self, rows: Array) -> Array:
        """Return the expected ratings (users, items) given known ones `rows` (users, items), 0 for no rating."""
        return self.factors.predict(rows)
