"""Metrics of finished predictions: classes, quantities and ratings."""

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    brier_score_loss,
    f1_score,
    log_loss,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    precision_score,
    r2_score,
    recall_score,
    roc_auc_score,
)

from common.data import Array


def classification_metrics(labels: Array, probabilities: Array, predicted: Array) -> dict[str, float]:
    """Metrics of `probabilities` (examples, classes) and the labels `predicted` from them, against integer `labels`.

    accuracy, error and the 95 % interval of the error are shares of the examples; the interval is Wilson's (1927),
    for a binomial proportion. cross_entropy is in nats, each row scaled to sum to one. macro_f1 is the mean over the
    classes.
    """
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


def binary_metrics(labels: Array, probabilities: Array, threshold: float) -> dict[str, float]:
    """Metrics of the second of two classes: at the decision threshold, and of its probability (examples,) as such.

    precision, recall and f1 are at the threshold; roc_auc and average_precision judge the order of the probabilities,
    brier (Brier 1950) is their mean squared error.
    """
    predicted = probabilities >= threshold
    return {
        "threshold": threshold,
        "precision": float(precision_score(labels, predicted, zero_division=0)),
        "recall": float(recall_score(labels, predicted)),
        "f1": float(f1_score(labels, predicted)),
        "roc_auc": float(roc_auc_score(labels, probabilities)),
        "average_precision": float(average_precision_score(labels, probabilities)),
        "brier": float(brier_score_loss(labels, probabilities)),
    }


def best_threshold(labels: Array, probabilities: Array) -> float:
    """The probability from which on answering the second class has the best F1, in the middle of its gap.

    Of several that are as good the one nearest to 0.5.
    """
    seen = np.unique(probabilities).astype("float64")
    thresholds = np.append((seen[1:] + seen[:-1]) / 2, 0.5)
    positive, negative = (np.sort(probabilities[labels == label]) for label in (1, 0))
    found, wrongly = (len(part) - np.searchsorted(part, thresholds) for part in (positive, negative))
    f1 = 2 * found / (len(positive) + found + wrongly)
    best = thresholds[np.isclose(f1, f1.max())]
    return float(best[np.abs(best - 0.5).argmin()])


def regression_metrics(targets: Array, predictions: Array) -> dict[str, float]:
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
