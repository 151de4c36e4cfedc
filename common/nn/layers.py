"""Layers and activations that the papers need and Keras lacks. Backend-neutral: only `keras.ops`, on one device."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from common.config import Activation
from common.errors import UserError


@keras.saving.register_keras_serializable("common")
def threshold(x: Any) -> Any:
    """Return 1 where `x` >= 0, else 0 (Rosenblatt 1958). The gradient is zero, so `fit` learns nothing."""
    return ops.cast(ops.greater_equal(x, 0), x.dtype)


@keras.saving.register_keras_serializable("common")
def scaled_tanh(x: Any) -> Any:
    """Return 1.7159 tanh(2x/3), so that f(1) = 1 and f(-1) = -1 (LeCun et al. 1998, equation 6 and appendix A)."""
    return 1.7159 * ops.tanh(2.0 / 3.0 * x)


@keras.saving.register_keras_serializable("common")
def arctan(x: Any) -> Any:
    """Return the inverse tangent of `x`, in (-pi/2, pi/2)."""
    return ops.arctan(x)


@keras.saving.register_keras_serializable("common")
def sqnl(x: Any) -> Any:
    """Return x - x²/4 on [0, 2], x + x²/4 on [-2, 0], and -1 or 1 outside (Wuraola and Patel 2018)."""
    clipped = ops.clip(x, -2.0, 2.0)
    return clipped - ops.sign(clipped) * ops.square(clipped) / 4.0


def activation(name: Activation) -> keras.layers.Layer:
    """Return a new layer with the activation `name`. The slope of leaky ReLU is 0.01; PReLU learns its slope."""
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
    """Trainable subsampling (LeCun et al. 1998, section II.B): activation(coefficient * sum of each 2x2 block + bias).

    One coefficient and one bias per map. (batch, height, width, maps) -> (batch, height / 2, width / 2, maps).
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

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "initializer": keras.initializers.serialize(self.initializer),
            "activation": keras.activations.serialize(self.activation),
        }


@keras.saving.register_keras_serializable("common")
class TableConv2D(keras.layers.Layer):
    """A valid 2-D convolution in which each output map is connected to the input maps that a table lists.

    (batch, height, width, maps in) -> (batch, height - size + 1, width - size + 1, maps out). The kernel is (size,
    size, connections).

    Args:
        table: `table[k]` lists the input maps of output map k (LeCun et al. 1998, table I).
        kernel_size: Side of the kernel.
        initializer: Initializer of the kernel.
        activation: Activation of the output.
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
        # Row c of `placement` is 1 at the (map in, map out) pair of connection c in a dense kernel.
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

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "table": self.table,
            "kernel_size": self.kernel_size,
            "initializer": keras.initializers.serialize(self.initializer),
            "activation": keras.activations.serialize(self.activation),
        }


@keras.saving.register_keras_serializable("common")
class RadialBasis(keras.layers.Layer):
    """Squared Euclidean distance of the input to the lists `centres` (units, features) (LeCun et al. 1998, equation 7).

    (batch, features) -> penalties (batch, units).
    """

    def __init__(self, centres: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.centres = np.asarray(centres, dtype="float32")

    def call(self, inputs: Any) -> Any:
        return ops.sum(ops.square(ops.expand_dims(inputs, 1) - ops.cast(self.centres, inputs.dtype)), axis=-1)


@keras.saving.register_keras_serializable("common")
class Posterior(keras.layers.Layer):
    """Class probabilities from penalties y: exp(-y_i) / (exp(-rubbish) + sum_k exp(-y_k)).

    (batch, classes) -> the same shape. The probabilities sum to less than 1: the rest belongs to the "rubbish" class,
    whose constant penalty is j in LeCun et al. 1998, equation 9. The type is float64, in which the largest penalty
    after F6, 84 (1.7159 + 1)² = 620, still has a positive probability and a gradient.
    """

    def __init__(self, rubbish: float, **kwargs: Any) -> None:
        super().__init__(**({"dtype": "float64"} | kwargs))
        # JAX makes 32 bits of the 64 that an array has, and warns only where a type is asked for.
        if keras.backend.standardize_dtype(ops.convert_to_tensor(np.zeros(())).dtype) != "float64":
            raise UserError("this network needs float64, which JAX does not use by default; set JAX_ENABLE_X64=true")
        self.rubbish = rubbish

    def call(self, inputs: Any) -> Any:
        rubbish = ops.full_like(inputs[:, :1], -self.rubbish)
        return ops.softmax(ops.concatenate([-inputs, rubbish], axis=-1))[:, :-1]


@keras.saving.register_keras_serializable("common")
class Dropout(keras.layers.Dropout):
    """Keras's `Dropout` (Srivastava et al. 2014), fast in programs of XLA too: (batch, ...) -> the same shape.

    Keras lets TensorFlow select the algorithm of the random numbers, which is Philox (Salmon et al. 2011). In a program
    that XLA compiles for a CPU, they take up to fifty times as long as those of Philox that is chosen by name.
    """

    def call(self, inputs: Any, training: bool = False) -> Any:
        if keras.backend.backend() != "tensorflow" or not training or self.noise_shape or self.rate in (0, 1):
            return super().call(inputs, training=training)
        import tensorflow as tf

        seed = ops.cast(ops.mod(self.seed_generator.next(), 2**31 - 2), "int32")  # as Keras
        return tf.nn.experimental.stateless_dropout(inputs, self.rate, seed, rng_alg="philox")


@keras.saving.register_keras_serializable("common")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras's batch normalisation (Ioffe and Szegedy 2015), in half the time for images with few maps on a CPU.

    The mean and the variance of a map are sums over its pixels. The columns of (batch, height * width * maps) are
    summed first, because sums over a last axis of six maps use a processor's vector units badly.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        image = len(inputs.shape) == 4 and self.axis in (-1, 3) and None not in inputs.shape[1:]
        if not image or not training or not self.trainable or mask is not None or self.compute_dtype != "float32":
            return super().call(inputs, training=training, mask=mask)
        *_, maps = inputs.shape
        pixels = inputs.shape[1] * inputs.shape[2]
        rows = ops.reshape(inputs, (-1, pixels * maps))

        def mean_of(values: Any) -> Any:
            return ops.mean(ops.reshape(ops.mean(values, axis=0), (pixels, maps)), axis=0)

        mean = mean_of(rows)
        centred = rows - ops.tile(mean, (pixels,))
        variance = mean_of(ops.square(centred))
        for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(self.momentum * moving + (1 - self.momentum) * value)
        scale = ops.rsqrt(variance + self.epsilon)
        if self.scale:
            scale = scale * self.gamma
        normalised = centred * ops.tile(scale, (pixels,))
        if self.center:
            normalised = normalised + ops.tile(self.beta, (pixels,))
        return ops.reshape(normalised, ops.shape(inputs))


@keras.saving.register_keras_serializable("common")
class TowerConv2D(keras.layers.Conv2D):
    """Keras's `Conv2D` with `groups`, as one ordinary convolution for each group: many times faster on a CPU.

    If devices divide the kernel's output maps on JAX, each one computes its own groups from its own input maps, as in
    figure 2 of Krizhevsky et al. 2012. XLA would send all maps to each device, and compute all groups there.

    (batch, height, width, maps) -> (batch, height, width, filters).
    """

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        distribution = keras.distribution.distribution()
        layout = distribution.get_variable_layout(self.kernel) if distribution else None
        if layout is None or layout.axes[-1] is None:
            return self._convolve(inputs, kernel, self.groups)
        import jax

        mesh, axis = layout.device_mesh, layout.axes[-1]
        groups = self.groups // mesh.shape[mesh.axis_names.index(axis)]
        divides_batch = isinstance(distribution, keras.distribution.ModelParallel)
        maps = jax.sharding.PartitionSpec(mesh.axis_names[0] if divides_batch else None, None, None, axis)
        return jax.shard_map(
            lambda own_inputs, own_kernel: self._convolve(own_inputs, own_kernel, groups),
            mesh=mesh.backend_mesh,
            in_specs=(maps, jax.sharding.PartitionSpec(*layout.axes)),
            out_specs=maps,
        )(inputs, ops.convert_to_tensor(kernel))

    def _convolve(self, inputs: Any, kernel: Any, groups: int) -> Any:
        pairs = zip(ops.split(inputs, groups, axis=-1), ops.split(kernel, groups, axis=-1), strict=True)
        options = {"strides": list(self.strides), "padding": self.padding, "dilation_rate": self.dilation_rate}
        return ops.concatenate([ops.conv(part, own, **options) for part, own in pairs], axis=-1)


@keras.saving.register_keras_serializable("common")
class LocalResponseNormalization(keras.layers.Layer):
    """Local response normalisation across maps (Krizhevsky et al. 2012, section 3.3).

    b_i = a_i / (k + alpha sum_j a_j²)^beta, where j runs over the existing maps from i - size // 2 to i + size // 2.
    (batch, height, width, maps) -> the same shape.
    """

    def __init__(self, size: int = 5, k: float = 2.0, alpha: float = 1e-4, beta: float = 0.75, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size, self.k, self.alpha, self.beta = size, k, alpha, beta

    def build(self, input_shape: Sequence[int | None]) -> None:
        # The product with this matrix sums over the neighbours of each map.
        maps = np.arange(input_shape[-1] or 0)
        self.neighbours = (abs(maps[:, None] - maps) <= self.size // 2).astype("float32")

    def call(self, inputs: Any) -> Any:
        neighbours = ops.convert_to_tensor(self.alpha * self.neighbours, dtype=inputs.dtype)

        @ops.custom_gradient
        def normalise(maps: Any) -> Any:
            scale = self.k + ops.matmul(ops.square(maps), neighbours)
            factor = self._power(scale)

            def gradient(upstream: Any) -> Any:  # in fewer operations than the automatic one
                direct = upstream * factor
                return direct - 2 * self.beta * maps * ops.matmul(direct * maps / scale, neighbours)

            return maps * factor, gradient

        return normalise(inputs)

    def _power(self, scale: Any) -> Any:
        """Return scale^-beta. On a CPU, roots, logarithms and exponentials are many times faster than a power."""
        if self.beta == 0.75:
            return ops.rsqrt(scale * ops.sqrt(scale))
        return ops.exp(-self.beta * ops.log(scale))
