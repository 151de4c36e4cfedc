"""What a network has to beat: classical estimators for the same data."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from common.app import Array, Config, Data

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

    from common.linear import LinearConfig


def logistic_regression(_config: Config, data: Data) -> "Pipeline":
    """Multinomial logistic regression with a slight L2 penalty on the pixels, flattened and scaled to [0, 1].

    Or on columns, standardised. scikit-learn's C weighs the sum over examples, so it is divided by their number to mean
    the same for every data set.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, MinMaxScaler

    flatten = FunctionTransformer(lambda pictures: pictures[:].reshape(len(pictures), -1).astype("float32"))
    prepared = standardised(data) if isinstance(data.train[0], dict) else [flatten, MinMaxScaler()]
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

    if not isinstance(data.train[0], dict):
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

    from common import features

    numbers, text = features.number_columns(data), features.text_values(data)
    fill = SimpleImputer(add_indicator=True, keep_empty_features=True)
    indicators = OneHotEncoder(categories=list(text.values()), drop="first", handle_unknown="ignore")
    columns = make_column_transformer((fill, numbers), (indicators, list(text)), sparse_threshold=0)
    return [Table(numbers), columns, StandardScaler()]


class Table:
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
