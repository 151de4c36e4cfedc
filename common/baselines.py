"""What a network has to beat: classical estimators for the same data."""

from typing import TYPE_CHECKING, Self

import numpy as np

from common.app import Array, Config, Data

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


def logistic_regression(_config: Config, data: Data) -> "Pipeline":
    """Multinomial logistic regression on the pixels, flattened and scaled to [0, 1], with a slight L2 penalty.

    scikit-learn's C weighs the sum over examples, so it is divided by their number to mean the same for every data set.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, MinMaxScaler

    flatten = FunctionTransformer(lambda pictures: pictures.reshape(len(pictures), -1).astype("float32"))
    return make_pipeline(flatten, MinMaxScaler(), LogisticRegression(C=1000 / len(data.train[0]), max_iter=200))


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
