"""Numbers that tell how good predictions are; what Keras has, an app takes from Keras."""

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, f1_score, log_loss

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
