"""What a network has to beat: classical estimators for the same data."""

from typing import TYPE_CHECKING, Any

import numpy as np

from common.app import Config, Data

if TYPE_CHECKING:
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

    flatten = FunctionTransformer(lambda pictures: pictures.reshape(len(pictures), -1).astype("float32"))
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
    import pandas as pd
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

    from common import features

    numbers, text = features.number_columns(data), features.text_values(data)
    fill = SimpleImputer(add_indicator=True, keep_empty_features=True)
    indicators = OneHotEncoder(categories=list(text.values()), drop="first", handle_unknown="ignore")
    columns = make_column_transformer((fill, numbers), (indicators, list(text)), sparse_threshold=0)
    frame = FunctionTransformer(lambda inputs: pd.DataFrame(inputs).astype(dict.fromkeys(numbers, "float64")))
    return [frame, columns, StandardScaler()]
