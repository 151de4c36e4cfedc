"""Numbers that tell how good predictions are; what Keras has, an app takes from Keras."""

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    log_loss,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    r2_score,
)

from common.app import Array


def classification(labels: Array, probabilities: Array) -> dict[str, float]:
    """Metrics of `probabilities` (examples, classes) against integer `labels` (examples,).

    accuracy, error and the 95 % interval of the error are shares of the examples; the interval is Wilson's (1927),
    for a
    binomial proportion. cross_entropy is in nats, each row scaled to sum to one. macro_f1 is the mean over the classes.
    """
    predicted = probabilities.argmax(axis=1)
    wrong = int(np.count_nonzero(predicted != labels))
    interval = binomtest(wrong, len(labels)).proportion_ci(0.95, method="wilson")
    normalised = probabilities / probabilities.sum(axis=1, keepdims=True)
    return {
        "accuracy": float(accuracy_score(labels, predicted)),
        "error": wrong / len(labels),
        "error_low": float(interval.low),
        "error_high": float(interval.high),
        "macro_f1": float(f1_score(labels, predicted, average="macro")),
        "cross_entropy": float(log_loss(labels, normalised, labels=np.arange(probabilities.shape[1]))),
    }


def regression(targets: Array, predictions: Array) -> dict[str, float]:
    """Metrics of `predictions` against `targets`, both (examples, quantities); means over examples and quantities.

    mse, rmse and mae are in the targets' unit (mse in its square), mape is a share, r2 is the share of the variance
    that is explained, and cosine_proximity the cosine of the angle between the two sets of numbers seen as one vector.
    """
    mse = float(mean_squared_error(targets, predictions))
    lengths = np.linalg.norm(targets) * np.linalg.norm(predictions)
    return {
        "mse": mse,
        "rmse": mse**0.5,
        "mae": float(mean_absolute_error(targets, predictions)),
        "mape": float(mean_absolute_percentage_error(targets, predictions)),
        "r2": float(r2_score(targets, predictions)),
        "cosine_proximity": float(np.vdot(targets, predictions) / lengths) if lengths else 0.0,
    }
