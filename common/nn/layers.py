"""Layers and activations that the papers need and Keras lacks. Backend-neutral: only `keras.ops`."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from common.config import Activation
from common.errors import UserError


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


def activation(name: Activation) -> keras.layers.Layer:
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


@keras.saving.register_keras_serializable("common")
class Subsampling(keras.layers.Layer):
    """Trainable subsampling (LeCun et al. 1998, section II.B): sum each 2x2 block, times a coefficient, plus a bias.

    One coefficient and one bias a map. Takes (batch, height, width, maps), gives (batch, height / 2, width / 2, maps).
    """

    def __init__(self, initializer: Any = "glorot_uniform", activation: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.initializer = keras.initializers.get(initializer)
        self.activation = keras.activations.get(activation)

    def build(self, input_shape: Sequence[int | None]) -> None:
        maps = (input_shape[-1],)
        self.coefficient = self.add_weight(shape=maps, initializer=self.initializer, name="coefficient")
        self.bias = self.add_weight(shape=maps, initializer="zeros", name="bias")

    def call(self, inputs: Any) -> Any:
        block_sum = 4.0 * ops.average_pool(inputs, 2, 2)
        return self.activation(block_sum * self.coefficient + self.bias)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        batch, height, width, maps = input_shape
        return batch, height and height // 2, width and width // 2, maps

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "initializer": keras.initializers.serialize(self.initializer),
            "activation": keras.activations.serialize(self.activation),
        }


@keras.saving.register_keras_serializable("common")
class TableConv2D(keras.layers.Layer):
    """A valid 2-D convolution in which each output map sees only the input maps that a table names.

    `table[k]` lists the input maps of output map k (LeCun et al. 1998, table I). The missing kernels do not exist: the
    weights are (height, width, connections). Takes (batch, height, width, maps in), gives (…, maps out).
    """

    def __init__(
        self,
        table: Sequence[Sequence[int]],
        kernel_size: int,
        initializer: Any = "glorot_uniform",
        activation: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.table = [list(maps) for maps in table]
        self.kernel_size = kernel_size
        self.initializer = keras.initializers.get(initializer)
        self.activation = keras.activations.get(activation)

    def build(self, input_shape: Sequence[int | None]) -> None:
        maps_in, maps_out = input_shape[-1] or 0, len(self.table)
        pairs = [source * maps_out + target for target, sources in enumerate(self.table) for source in sources]
        # Row c of `placement` puts connection c where a dense kernel has its (map in, map out) pair.
        self.placement = np.eye(maps_in * maps_out, dtype="float32")[pairs]
        self.dense_shape = (self.kernel_size, self.kernel_size, maps_in, maps_out)
        self.kernel = self.add_weight(
            shape=(self.kernel_size, self.kernel_size, len(pairs)), initializer=self.initializer, name="kernel"
        )
        self.bias = self.add_weight(shape=(maps_out,), initializer="zeros", name="bias")

    def call(self, inputs: Any) -> Any:
        placement = ops.convert_to_tensor(self.placement, dtype=self.compute_dtype)
        dense_kernel = ops.reshape(ops.matmul(self.kernel, placement), self.dense_shape)
        return self.activation(ops.conv(inputs, dense_kernel) + self.bias)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        batch, height, width, _ = input_shape
        lost = self.kernel_size - 1
        return batch, height and height - lost, width and width - lost, len(self.table)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "table": self.table,
            "kernel_size": self.kernel_size,
            "initializer": keras.initializers.serialize(self.initializer),
            "activation": keras.activations.serialize(self.activation),
        }


@keras.saving.register_keras_serializable("common")
class RadialBasis(keras.layers.Layer):
    """Euclidean radial basis units with fixed centres: the squared distance of the input to each centre.

    `centres` is (units, features). Takes (batch, features), gives (batch, units) penalties, small where the input is
    near the unit's centre (LeCun et al. 1998, equation 7).
    """

    def __init__(self, centres: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.centres = np.asarray(centres, dtype="float32")

    def call(self, inputs: Any) -> Any:
        return ops.sum(ops.square(ops.expand_dims(inputs, 1) - ops.cast(self.centres, inputs.dtype)), axis=-1)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return input_shape[0], len(self.centres)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"centres": self.centres.tolist()}


@keras.saving.register_keras_serializable("common")
class Posterior(keras.layers.Layer):
    """Class probabilities from penalties: exp(-y_i) / (exp(-rubbish) + sum_k exp(-y_k)), shape kept.

    They sum to less than one: the rest is the probability of the "rubbish" class, whose constant penalty the paper
    calls j (LeCun et al. 1998, equation 9). Computed in float64, where the largest penalty that F6 can reach,
    84 (1.7159 + 1)² = 620, still has a probability above zero and so a gradient.
    """

    def __init__(self, rubbish: float, **kwargs: Any) -> None:
        super().__init__(**({"dtype": "float64"} | kwargs))
        # JAX makes 32 bits of the 64 that an array has, and warns only where a type is asked for.
        if keras.backend.standardize_dtype(ops.convert_to_tensor(np.zeros(())).dtype) != "float64":
            raise UserError("JAX computes this network in float32, where it fails; set JAX_ENABLE_X64=true")
        self.rubbish = rubbish

    def call(self, inputs: Any) -> Any:
        rubbish = ops.full_like(inputs[:, :1], -self.rubbish)
        return ops.softmax(ops.concatenate([-inputs, rubbish], axis=-1))[:, :-1]

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"rubbish": self.rubbish}


@keras.saving.register_keras_serializable("common")
class LocalResponseNormalization(keras.layers.Layer):
    """Each activity a_i over what its neighbouring maps do at the same place (Krizhevsky et al. 2012, section 3.3).

    b_i = a_i / (k + alpha sum_j a_j²)^beta, where j runs over the maps i - size // 2 to i + size // 2 that exist. Takes
    and gives (batch, height, width, maps).
    """

    def __init__(self, size: int = 5, k: float = 2.0, alpha: float = 1e-4, beta: float = 0.75, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size, self.k, self.alpha, self.beta = size, k, alpha, beta

    def build(self, input_shape: Sequence[int | None]) -> None:
        # A product with ones where two maps are neighbours sums over each map's neighbours.
        maps = np.arange(input_shape[-1] or 0)
        self.neighbours = (abs(maps[:, None] - maps) <= self.size // 2).astype("float32")

    def call(self, inputs: Any) -> Any:
        neighbours = ops.convert_to_tensor(self.neighbours, dtype=inputs.dtype)
        return inputs * ops.power(self.k + self.alpha * ops.matmul(ops.square(inputs), neighbours), -self.beta)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"size": self.size, "k": self.k, "alpha": self.alpha, "beta": self.beta}
