"""Activations that the papers use and Keras lacks, and one name for each choice that a user has.

Everything here is a plain function of a tensor, registered with Keras so that a saved model finds it again.
"""

from typing import Any

import keras
from keras import ops

from common.choices import Activation


@keras.saving.register_keras_serializable("common")
def threshold(x: Any) -> Any:
    """Heaviside step: 1 where `x` >= 0, else 0 (Rosenblatt 1958); its gradient is zero, so `fit` learns nothing."""
    return ops.cast(ops.greater_equal(x, 0), x.dtype)


@keras.saving.register_keras_serializable("common")
def scaled_tanh(x: Any) -> Any:
    """1.7159 tanh(2x/3), so that f(1) = 1 and f(-1) = -1 (LeCun et al. 1998, equation 6 and appendix A)."""
    return 1.7159 * ops.tanh(2.0 / 3.0 * x)


@keras.saving.register_keras_serializable("common")
def arctan(x: Any) -> Any:
    """Inverse tangent, in (-pi/2, pi/2)."""
    return ops.arctan(x)


@keras.saving.register_keras_serializable("common")
def sqnl(x: Any) -> Any:
    """Square non-linearity (Wuraola and Patel 2018): x - x²/4 on [0, 2], x + x²/4 on [-2, 0], -1 and 1 beyond."""
    clipped = ops.clip(x, -2.0, 2.0)
    return clipped - ops.sign(clipped) * ops.square(clipped) / 4.0


def layer(name: Activation) -> keras.layers.Layer:
    """A fresh layer that applies the activation called `name`; leaky ReLU has slope 0.01, PReLU learns its own.

    A layer rather than a function, because PReLU has weights.
    """
    match name:
        case "prelu":
            return keras.layers.PReLU()
        case "leaky_relu":
            return keras.layers.LeakyReLU(negative_slope=0.01)
        case "threshold" | "scaled_tanh" | "arctan" | "sqnl":
            return keras.layers.Activation(globals()[name])
        case _:
            return keras.layers.Activation(name)
