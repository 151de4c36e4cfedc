"""Losses, regularizers and constraints that Keras lacks. Backend-neutral: only `keras.ops`."""

from typing import Any

import keras
import numpy as np
from keras import ops

from common.config import ClassWeights, Loss
from common.data import Data


@keras.saving.register_keras_serializable("common")
class SoftThreshold(keras.constraints.Constraint):
    """Soft threshold sign(w) max(|w| - amount, 0): the proximal step of an L1 penalty (Daubechies et al. 2004)."""

    def __init__(self, amount: float) -> None:
        self.amount = amount

    def __call__(self, w: Any) -> Any:
        return ops.sign(w) * ops.relu(ops.abs(w) - self.amount)

    def get_config(self) -> dict[str, Any]:
        return {"amount": self.amount}


@keras.saving.register_keras_serializable("common")
class ProximalL1L2(keras.regularizers.Regularizer):
    """Penalty l1 sum |w| + l2 sum w². Only the second term has a gradient; `SoftThreshold` takes the first's step."""

    def __init__(self, l1: float, l2: float) -> None:
        self.l1, self.l2 = l1, l2

    def __call__(self, x: Any) -> Any:
        return self.l1 * ops.sum(ops.abs(ops.stop_gradient(x))) + self.l2 * ops.sum(ops.square(x))

    def get_config(self) -> dict[str, Any]:
        return {"l1": self.l1, "l2": self.l2}


def integers(y_true: Any) -> Any:
    """Convert labels (batch,) or (batch, 1) to int32 (batch,)."""
    return ops.cast(ops.reshape(y_true, (-1,)), "int32")


def one_hot(y_true: Any, y_pred: Any) -> Any:
    """Convert integer labels (batch,) to one-hot vectors with the shape of `y_pred` (batch, classes)."""
    return ops.one_hot(integers(y_true), y_pred.shape[-1], dtype=y_pred.dtype)


@keras.saving.register_keras_serializable("common")
class NegativeLogLikelihood(keras.losses.Loss):
    """Negative log of the true class's probability, in float64. Unlike Keras's cross-entropy, it does not normalise.

    `y_true` is integer labels (batch,), `y_pred` probabilities (batch, classes). After `Posterior`, this is the
    discriminative loss of LeCun et al. 1998, equation 9.
    """

    def __init__(self, name: str = "negative_log_likelihood", **kwargs: Any) -> None:
        super().__init__(name=name, **({"dtype": "float64"} | kwargs))

    def call(self, y_true: Any, y_pred: Any) -> Any:
        labels = integers(y_true)[:, None]
        return -ops.log(ops.squeeze(ops.take_along_axis(y_pred, labels, axis=-1), -1))


def summed_squared_error(y_true: Any, y_pred: Any) -> Any:
    """Return the sum of (y_true - y_pred)² over the last axis."""
    return ops.sum(ops.square(y_true - y_pred), axis=-1)


def half_squared_error(y_true: Any, y_pred: Any) -> Any:
    """Return half of that sum. Its gradient with respect to y_pred is y_pred - y_true."""
    return summed_squared_error(y_true, y_pred) / 2


OURS = {function.__name__: function for function in (summed_squared_error, half_squared_error)}


@keras.saving.register_keras_serializable("common")
class OneHot(keras.losses.Loss):
    """A loss on vectors, one of Keras's or of `OURS`, applied to one-hot labels.

    `y_true` is integer labels (batch,), `y_pred` is (batch, classes).
    """

    def __init__(self, loss: str, name: str = "one_hot", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.loss = loss
        self.function = OURS.get(loss) or keras.losses.get(loss)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self.function(one_hot(y_true, y_pred), y_pred)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"loss": self.loss}


@keras.saving.register_keras_serializable("common")
class ScaledSquaredError(keras.losses.Loss):
    """Mean of ((y_true - y_pred) / scale)² over the last axis.

    `y_true` and `y_pred` are (batch, …, variables). `scale` has one number per variable, with 0 replaced by 1.
    """

    def __init__(self, scale: Any, name: str = "scaled_squared_error", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.scale = [float(number) or 1.0 for number in scale]

    def call(self, y_true: Any, y_pred: Any) -> Any:
        scale = ops.convert_to_tensor(self.scale, dtype=y_pred.dtype)
        return ops.mean(ops.square((ops.cast(y_true, y_pred.dtype) - y_pred) / scale), axis=-1)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"scale": self.scale}


def build(name: Loss) -> keras.losses.Loss:
    """Return the loss `name` of integer labels (batch,) and class probabilities (batch, classes).

    cross_entropy and categorical_cross_entropy have the same value. binary_cross_entropy, squared_error and
    absolute_error are means over the classes.
    """
    match name:
        case "cross_entropy":
            return keras.losses.SparseCategoricalCrossentropy()
        case "categorical_cross_entropy":
            return OneHot("categorical_crossentropy")
        case "binary_cross_entropy":
            return OneHot("binary_crossentropy")
        case "summed_squared_error" | "half_squared_error":
            return OneHot(name)
        case "squared_error":
            return OneHot("mean_squared_error")
        case "absolute_error":
            return OneHot("mean_absolute_error")
        case "hinge":
            return OneHot("categorical_hinge")


def class_weights(choice: ClassWeights, data: Data) -> list[float]:
    """Return the weight of each class: 1, or if balanced, inversely proportional to its share of the training set."""
    if choice == "none":
        return [1.0] * len(data.outputs)
    counts = np.bincount(data.train[1], minlength=len(data.outputs))
    weights: list[float] = (counts.sum() / (len(counts) * counts)).tolist()
    return weights
