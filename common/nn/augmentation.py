"""Layers that augment training images as in the papers. Backend-neutral: only `keras.ops`."""

from collections.abc import Sequence
from typing import Any, Literal

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable("common")
class AffineDistortion(keras.layers.Layer):
    """Random planar affine distortion of each image, in training only (LeCun et al. 1998, section III.A).

    Combines horizontal and vertical translation, scaling, squeezing (horizontal compression with vertical elongation,
    or the reverse) and horizontal shearing. Each amount is uniform between minus and plus its argument.
    (batch, height, width, channels) -> the same shape.

    Args:
        translation: Maximum translation in pixels.
        scaling: Maximum scaling as a fraction.
        squeezing: Maximum squeezing as a fraction.
        shearing: Maximum shearing as a fraction.
        fill: Pixels from outside the image: "constant" for 0, or "nearest" for the nearest pixel of the image.
        seed: Seed.
    """

    def __init__(
        self,
        translation: float = 2.0,
        scaling: float = 0.15,
        squeezing: float = 0.15,
        shearing: float = 0.3,
        fill: Literal["constant", "nearest"] = "constant",
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.translation, self.scaling, self.squeezing, self.shearing = translation, scaling, squeezing, shearing
        self.fill = fill
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not training:
            return inputs
        batch, height, width, _ = ops.shape(inputs)
        limits = [self.translation, self.translation, np.log1p(self.scaling), np.log1p(self.squeezing), self.shearing]
        drawn = keras.random.uniform((batch, len(limits)), -1.0, 1.0, seed=self.seed_generator)
        dx, dy, scale, squeeze, shear = ops.unstack(drawn * ops.cast(limits, drawn.dtype), axis=1)
        # Output pixel (x, y), relative to the centre, is input pixel (x_scale x + shear y + dx, y_scale y + dy).
        x_scale, y_scale = ops.exp(scale + squeeze / 2), ops.exp(scale - squeeze / 2)
        centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
        x_offset = dx + centre_x * (1 - x_scale) - centre_y * shear
        y_offset = dy + centre_y * (1 - y_scale)
        zero = ops.zeros_like(dx)
        transforms = ops.stack([x_scale, shear, x_offset, zero, y_scale, y_offset, zero, zero], axis=1)
        moved = ops.image.affine_transform(
            inputs, transforms, interpolation="bilinear", fill_mode=self.fill, data_format="channels_last"
        )
        return ops.cast(moved, inputs.dtype)


@keras.saving.register_keras_serializable("common")
class Crops(keras.layers.Layer):
    """Square patches of images (Krizhevsky et al. 2012, section 4.1).

    In training: one patch per image at a random place, (batch, height, width, channels) -> (batch, size, size,
    channels). Otherwise: the patches whose predictions `CropMean` averages, (patches * batch, size, size, channels),
    the first patch of all images before the second.

    Args:
        size: Side of a patch in pixels.
        corners: Outside training, use the patches in the centre and the four corners instead of the centre alone.
        reflections: In training, mirror patches left to right with probability 1/2. Outside training, also use the
            mirrored patches, so ten, if `corners` is true.
        seed: Seed.
    """

    def __init__(
        self, size: int, corners: bool = True, reflections: bool = True, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.size, self.corners, self.reflections = size, corners, reflections
        self.seed_generator = keras.random.SeedGenerator(seed)

    @property
    def patches(self) -> int:
        """Number of patches per image outside training."""
        return (10 if self.reflections else 5) if self.corners else 1

    def call(self, inputs: Any, training: bool = False) -> Any:
        return self._drawn(inputs) if training else self._fixed(inputs)

    def _drawn(self, inputs: Any) -> Any:
        batch, height, width, _ = ops.shape(inputs)
        drawn = keras.random.uniform((batch, 3, 1), seed=self.seed_generator)
        top, left = (
            ops.floor(drawn[:, axis] * (length - self.size + 1)) for axis, length in enumerate((height, width))
        )
        place = ops.arange(self.size, dtype=drawn.dtype)
        mirrored = self.size - 1 - place
        columns = left + (ops.where(drawn[:, 2] < 0.5, mirrored, place) if self.reflections else place)
        # Products with rows of the identity matrix select rows and columns fast on every backend.
        pick_rows = ops.one_hot(ops.cast(top + place, "int32"), height, dtype=inputs.dtype)
        pick_columns = ops.one_hot(ops.cast(columns, "int32"), width, dtype=inputs.dtype)
        return ops.einsum("btw,bswc->bstc", pick_columns, ops.einsum("bsh,bhwc->bswc", pick_rows, inputs))

    def _fixed(self, inputs: Any) -> Any:
        bottom, right = (length - self.size for length in inputs.shape[1:3])
        corners = [(0, 0), (0, right), (bottom, 0), (bottom, right)] if self.corners else []
        places = [(bottom // 2, right // 2), *corners]
        patches = [inputs[:, top : top + self.size, left : left + self.size] for top, left in places]
        if self.corners and self.reflections:
            patches += [ops.flip(patch, axis=2) for patch in patches]
        return ops.concatenate(patches, axis=0)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return None, self.size, self.size, input_shape[-1]  # in training, the first axis has another length


def patches(model: keras.Model) -> int:
    """Return the number of patches of each image that `model` evaluates outside training."""
    return max((layer.patches for layer in model.layers if isinstance(layer, Crops)), default=1)


@keras.saving.register_keras_serializable("common")
class CropMean(keras.layers.Layer):
    """Mean of the predictions for the patches of each image that `Crops` returned.

    (patches * batch, classes) -> (batch, classes). In training, with one patch per image, the input is returned.
    """

    def __init__(self, patches: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.patches = patches

    def call(self, inputs: Any, training: bool = False) -> Any:
        return inputs if training else ops.mean(ops.reshape(inputs, (self.patches, -1, inputs.shape[-1])), axis=0)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return None, input_shape[-1]  # Keras cannot infer it on JAX: the patches must divide an unknown batch


@keras.saving.register_keras_serializable("common")
class ColourShift(keras.layers.Layer):
    """Random shift of the colours of each image, in training only (Krizhevsky et al. 2012, section 4.1).

    Adds [p1 p2 p3] [a1 l1, a2 l2, a3 l3]^T to every pixel of an image, where p and l are the eigenvectors and
    eigenvalues of `covariance`. (batch, height, width, 3) -> the same shape.

    Args:
        covariance: Covariance (3, 3) of the colours of the training set's pixels, in [0, 1].
        deviation: Standard deviation of the normal a1, a2 and a3, which are drawn for each image.
        scale: Pixel value of full colour.
        seed: Seed.
    """

    def __init__(
        self, covariance: Any, deviation: float = 0.1, scale: float = 255.0, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.covariance, self.deviation, self.scale, self.seed = np.asarray(covariance), deviation, scale, seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        eigenvalues, eigenvectors = np.linalg.eigh(self.covariance)
        self.components = (eigenvectors * eigenvalues).T * scale

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not training:
            return inputs
        shape = (ops.shape(inputs)[0], len(self.components))
        drawn = keras.random.normal(shape, stddev=self.deviation, dtype=inputs.dtype, seed=self.seed_generator)
        shift = ops.matmul(drawn, ops.convert_to_tensor(self.components, dtype=inputs.dtype))
        return inputs + shift[:, None, None, :]

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "covariance": self.covariance.tolist(),
            "deviation": self.deviation,
            "scale": self.scale,
            "seed": self.seed,
        }
