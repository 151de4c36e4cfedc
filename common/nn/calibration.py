"""Probabilities that hold where classes differ in frequency, of a network that learned them as equally frequent."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from scipy.optimize import minimize
from scipy.special import log_softmax

from common.data import Array

TINY = 1e-12
"""Least probability whose logarithm is taken."""


@keras.saving.register_keras_serializable("common")
class Recalibration(keras.layers.Layer):
    """Probabilities in proportion to factor_c q_c^exponent of the inputs q, with the same sum, (batch, classes).

    With the exponent 1 and the shares of the classes as factors, this is the correction for other shares than those of
    training (Saerens, Latinne and Decaestecker 2002, equation 4). The exponent is an inverse temperature (Guo et al.
    2017).
    """

    def __init__(self, factors: Sequence[float], exponent: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factors, self.exponent = list(factors), exponent

    def call(self, inputs: Any) -> Any:
        moved = ops.power(inputs, self.exponent) * ops.convert_to_tensor(self.factors, inputs.dtype)
        return moved * (ops.sum(inputs, axis=-1, keepdims=True) / ops.sum(moved, axis=-1, keepdims=True))


def fit(probabilities: Array, labels: Array, shares: Array) -> tuple[Array, float]:
    """Return the factors and the exponent of `Recalibration` with the least log loss, near `shares` and 1.

    The logarithms of the exponent, and of the factors over the shares, have a normal prior of variance 1, so that a few
    examples change little.

    Args:
        probabilities: Probabilities of equally frequent classes (examples, classes).
        labels: Labels (examples,).
        shares: Share of each class.
    """
    scores, rows = np.log(np.maximum(probabilities.astype("float64"), TINY)), np.arange(len(labels))

    def loss(logarithms: Array) -> float:
        moved = np.exp(logarithms[0]) * scores + np.log(shares) + logarithms[1:]
        return float(-log_softmax(moved, axis=1)[rows, labels].sum() + logarithms @ logarithms / 2)

    found = minimize(loss, np.zeros(1 + len(shares))).x
    factors = shares * np.exp(found[1:])
    return factors / factors.sum(), float(np.exp(found[0]))


def extended(model: keras.Model, layer: Recalibration) -> keras.Model:
    """Return `model` with `layer` after its last one, and its loss."""
    longer = keras.Model(model.input, layer(model.output), name=model.name)
    longer.compile(loss=model.loss)
    return longer
