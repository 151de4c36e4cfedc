"""Keras metrics during training."""

from typing import Any

import keras
from keras import ops

from common.config import Metric
from common.nn import losses


def cosine_proximity(y_true: Any, y_pred: Any) -> Any:
    """Return the cosine of the angle between `y_true` and `y_pred`, (batch,) from (batch, classes)."""
    return -keras.losses.cosine_similarity(y_true, y_pred)


def true_class_probability(y_true: Any, y_pred: Any) -> Any:
    """Return the predicted probability of the true class, (batch,) from (batch, classes)."""
    return ops.sum(y_true * y_pred, axis=-1)


ON_VECTORS = {
    "mean_squared_error": keras.losses.mean_squared_error,
    "mean_absolute_error": keras.losses.mean_absolute_error,
    "mean_absolute_percentage_error": keras.losses.mean_absolute_percentage_error,
    "cosine_proximity": cosine_proximity,
    "binary_accuracy": keras.metrics.binary_accuracy,
    "categorical_accuracy": keras.metrics.categorical_accuracy,
    "true_class_probability": true_class_probability,
}
"""Functions of one-hot labels and probabilities, both (batch, classes), that return one number per example."""


@keras.saving.register_keras_serializable("common")
class OnVectors(keras.metrics.Mean):
    """Mean over examples of the function `name` in `ON_VECTORS`, for integer labels (batch,)."""

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        super().update_state(ON_VECTORS[self.name](losses.one_hot(y_true, y_pred), y_pred), sample_weight)


def build_metric(name: Metric) -> keras.metrics.Metric:
    """Return the metric `name` of integer labels (batch,) and class probabilities (batch, classes)."""
    match name:
        case "sparse_categorical_accuracy":
            return keras.metrics.SparseCategoricalAccuracy()
        case "top_5_accuracy":
            return keras.metrics.SparseTopKCategoricalAccuracy(k=5, name=name)
        case _:
            return OnVectors(name=name)


@keras.saving.register_keras_serializable("common")
class RatingError(keras.metrics.RootMeanSquaredError):
    """Root mean square error over the ratings in `y_true` (batch, items), which is 0 for no rating."""

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        super().update_state(y_true, y_pred, ops.cast(y_true > 0, self.dtype))
