"""What a network has to beat: classical estimators for the same data."""

from typing import TYPE_CHECKING

from common.app import Config, Data

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
