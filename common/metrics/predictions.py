"""Metrics of predictions: classification and regression."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from common.data import Array


def classification_metrics(labels: Array, probabilities: Array, predicted: Array) -> dict[str, float]:
    """Compute the metrics of a classification.

    Args:
        labels: True integer labels (examples,).
        probabilities: Predicted probabilities (examples, classes).
        predicted: Predicted labels (examples,).

    Returns:
        accuracy, error and its 95 % interval (Wilson 1927) as shares of the examples; macro_f1; cross_entropy in nats,
        with each row of probabilities normalised.
    """
    from scipy.stats import binomtest
    from sklearn import metrics

    wrong = int(np.count_nonzero(predicted != labels))
    interval = binomtest(wrong, len(labels)).proportion_ci(0.95, method="wilson")
    normalised = probabilities / probabilities.sum(axis=1, keepdims=True)
    return {
        "accuracy": float(metrics.accuracy_score(labels, predicted)),
        "error": wrong / len(labels),
        "error_low": float(interval.low),
        "error_high": float(interval.high),
        "macro_f1": float(metrics.f1_score(labels, predicted, average="macro")),
        "cross_entropy": float(metrics.log_loss(labels, normalised, labels=np.arange(probabilities.shape[1]))),
    }


def class_metrics(labels: Array, predicted: Array, classes: Sequence[str]) -> pd.DataFrame:
    """Return a table with one row per class: precision, recall, F1, and the number of its examples.

    Args:
        labels: True integer labels (examples,).
        predicted: Predicted labels (examples,).
        classes: Names of the classes.
    """
    from sklearn import metrics

    numbers = range(len(classes))
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        labels, predicted, labels=numbers, zero_division=0
    )
    return pd.DataFrame(
        {"class": list(classes), "precision": precision, "recall": recall, "F1": f1, "support": support}
    )


def binary_metrics(labels: Array, probabilities: Array, threshold: float) -> dict[str, float]:
    """Compute the metrics of the second of two classes.

    Args:
        labels: True labels 0 and 1 (examples,).
        probabilities: Predicted probabilities of label 1 (examples,).
        threshold: Probability from which label 1 is predicted.

    Returns:
        precision, recall and f1 at the threshold; roc_auc, average_precision and brier, the mean squared error of the
        probabilities (Brier 1950).
    """
    from sklearn import metrics

    predicted = probabilities >= threshold
    return {
        "threshold": threshold,
        "precision": float(metrics.precision_score(labels, predicted, zero_division=0)),
        "recall": float(metrics.recall_score(labels, predicted)),
        "f1": float(metrics.f1_score(labels, predicted)),
        "roc_auc": float(metrics.roc_auc_score(labels, probabilities)),
        "average_precision": float(metrics.average_precision_score(labels, probabilities)),
        "brier": float(metrics.brier_score_loss(labels, probabilities)),
    }


def standard_error(metric: str, value: float, labels: Array) -> float:
    """Return the standard error of an accuracy or an area under the ROC curve, and 0 for another metric.

    The error of the area is that of Hanley and McNeil (1982), for exponential scores.

    Args:
        metric: `accuracy`, `roc_auc` or another name.
        value: Value of the metric.
        labels: True integer labels (examples,).
    """
    if metric == "accuracy":
        return (value * (1 - value) / len(labels)) ** 0.5
    if metric != "roc_auc":
        return 0.0
    positive = np.count_nonzero(labels)
    negative = len(labels) - positive
    of_positive = (positive - 1) * (value / (2 - value) - value**2)
    of_negative = (negative - 1) * (2 * value**2 / (1 + value) - value**2)
    return float(((value * (1 - value) + of_positive + of_negative) / (positive * negative)) ** 0.5)


def best_threshold(labels: Array, probabilities: Array) -> float:
    """Return the decision threshold for label 1 that maximises F1, midway between two neighbouring probabilities.

    Of several such thresholds, the one nearest to 0.5 is returned.

    Args:
        labels: True labels 0 and 1 (examples,).
        probabilities: Predicted probabilities of label 1 (examples,).
    """
    seen = np.unique(probabilities).astype("float64")
    thresholds = np.append((seen[1:] + seen[:-1]) / 2, 0.5)
    positive, negative = (np.sort(probabilities[labels == label]) for label in (1, 0))
    true, false = (len(part) - np.searchsorted(part, thresholds) for part in (positive, negative))
    f1 = 2 * true / (len(positive) + true + false)
    best = thresholds[np.isclose(f1, f1.max())]
    return float(best[np.abs(best - 0.5).argmin()])


def regression_metrics(targets: Array, predictions: Array) -> dict[str, float]:
    """Compute the metrics of `predictions` for `targets`, both (examples, variables), over examples and variables.

    Returns:
        rmse and mae in the unit of the targets, mse in its square; mape as a share; r2; cosine_proximity, the cosine of
        the angle between the flattened arrays.
    """
    from sklearn import metrics

    mse = float(metrics.mean_squared_error(targets, predictions))
    lengths = np.linalg.norm(targets) * np.linalg.norm(predictions)
    return {
        "mse": mse,
        "rmse": mse**0.5,
        "mae": float(metrics.mean_absolute_error(targets, predictions)),
        "mape": float(metrics.mean_absolute_percentage_error(targets, predictions)),
        "r2": float(metrics.r2_score(targets, predictions)),
        "cosine_proximity": float(np.vdot(targets, predictions) / lengths) if lengths else 0.0,
    }
