"""Networks for photographs that are pretrained on ImageNet: EfficientNet-Lite0, and those of Keras.

Each is a function of pixels (batch, height, width, 3) in [0, 255] that returns feature maps (batch, rows, columns,
channels).
"""

import functools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from common.config import Backbone
from common.data import Array, LazyArray
from common.errors import UserError, first_line
from common.nn.programs import compiled
from common.preprocessing import arrays, pretrained

BLOCKS = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
"""Blocks of EfficientNet-Lite0: number, side of the kernel, stride of the first, expansion, maps (Tan and Le 2019)."""
CONVOLUTION: Mapping[str, Any] = {"use_bias": False, "kernel_initializer": "zeros"}
"""Options of its convolutions. Their weights come from a file: random ones would be drawn for nothing."""


def apply(name: Backbone, x: Any, weights: str | None = None) -> Any:
    """Apply the convolutions of a pretrained network.

    Args:
        name: Name of the network.
        x: Pixels (batch, height, width, 3) in [0, 255]; a symbolic tensor.
        weights: File of its weights: of EfficientNet-Lite0 in PyTorch's format, of others in Keras's. None downloads
            them, unless they are in Keras's cache.

    Returns:
        Feature maps (batch, rows, columns, channels).

    Raises:
        UserError: if the weights cannot be downloaded or read, or are those of another network.
    """
    if name == "EfficientNetLite0":
        arrays_by_name = pretrained.efficientnet_lite0(weights)
        maps = efficientnet_lite0(x)
        try:
            load_lite0(keras.Model(x, maps), arrays_by_name)
        except (KeyError, ValueError) as error:
            raise UserError(f"`weights` {weights}: not those of {name} ({first_line(error)})") from error
        return maps
    if weights and not Path(weights).is_file():
        raise UserError(f"`weights` {weights}: no such file")
    try:
        body = getattr(keras.applications, name)(
            include_top=False, weights=weights or "imagenet", input_shape=x.shape[1:]
        )
    except Exception as error:  # of the class that Keras or h5py raises
        problem = f"`weights` {weights}: not those of {name}" if weights else f"`backbone` {name}: cannot be downloaded"
        advice = "" if weights else "; name a file of its weights by `weights`, or use EfficientNetLite0"
        raise UserError(f"{problem} ({first_line(error)}){advice}") from error
    return body(x)


def efficientnet_lite0(x: Any) -> Any:
    """Apply the convolutions of EfficientNet-Lite0: of EfficientNet-B0, with ReLU6, without squeeze and excitation."""
    x = keras.layers.Rescaling(1 / 128, offset=-127 / 128, name="scaled")(x)
    x = _unit(x, keras.layers.Conv2D(32, 3, 2, "same", **CONVOLUTION, name="conv_stem"), "bn0")
    number = 0
    for repeats, size, stride, expansion, maps in BLOCKS:
        for index in range(repeats):
            x = _block(x, size, stride if index == 0 else 1, expansion, maps, f"block{number}_")
            number += 1
    return _unit(x, keras.layers.Conv2D(1280, 1, **CONVOLUTION, name="conv_head"), "bn1")


def _block(x: Any, size: int, stride: int, expansion: int, maps: int, name: str) -> Any:
    """Apply an inverted residual block: expansion, convolution of each map, and projection (Sandler et al. 2018)."""
    inputs = x
    if expansion > 1:
        expand = keras.layers.Conv2D(expansion * x.shape[-1], 1, **CONVOLUTION, name=f"{name}expand_conv")
        x = _unit(x, expand, f"{name}bn0")
    depthwise = keras.layers.DepthwiseConv2D(
        size, stride, "same", use_bias=False, depthwise_initializer="zeros", name=f"{name}depthwise_conv"
    )
    x = _unit(x, depthwise, f"{name}bn1")
    x = keras.layers.Conv2D(maps, 1, **CONVOLUTION, name=f"{name}project_conv")(x)
    x = keras.layers.BatchNormalization(name=f"{name}bn2")(x)
    return keras.layers.Add(name=f"{name}add")([x, inputs]) if x.shape == inputs.shape else x


def _unit(x: Any, convolution: keras.layers.Layer, name: str) -> Any:
    """Apply a convolution, batch normalisation and ReLU6."""
    x = keras.layers.BatchNormalization(name=name)(convolution(x))
    return keras.layers.Activation("relu6", name=f"{name}_relu6")(x)


def load_lite0(model: keras.Model, weights: Mapping[str, Array]) -> None:
    """Set the weights of the layers of EfficientNet-Lite0 in `model`, given those of PyTorch by name.

    Raises:
        ValueError: if an array is missing or has another shape.
    """
    for layer in model.layers:
        if (name := _pytorch_name(layer.name)) is None:
            continue
        match layer:
            case keras.layers.BatchNormalization():
                parts = [weights[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")]
            case keras.layers.DepthwiseConv2D():
                parts = [weights[f"{name}.weight"].transpose(2, 3, 0, 1)]
            case _:
                parts = [weights[f"{name}.weight"].transpose(2, 3, 1, 0)]
        layer.set_weights(parts)


def _pytorch_name(name: str) -> str | None:
    """Return PyTorch's name of a layer of EfficientNet-Lite0 with weights; None for any other layer."""
    found = re.fullmatch(r"(?:block(\d+)_)?(\w+_conv|bn\d|conv_\w+)", name)
    if found is None:
        return None
    return f"_{found[2]}" if found[1] is None else f"_blocks.{found[1]}._{found[2]}"


def freeze(model: keras.Model, trained: int) -> None:
    """Freeze all layers of `model` except the last `trained` convolutions or dense layers, counted from the output.

    Batch normalisation is always frozen, so that it uses the statistics of ImageNet: those of a few images are noise.
    """
    every = list(_layers(model))
    kernels = [layer for layer in every if any(len(weight.shape) > 1 for weight in layer.weights)]
    for layer in every:
        layer.trainable = layer in kernels[len(kernels) - trained :]


def _layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """Yield the layers of a model and of the models in it, from the input to the output."""
    for layer in model.layers:
        yield from _layers(layer) if isinstance(layer, keras.Model) else [layer]


def features(network: keras.Model, images: Array | LazyArray) -> Array:
    """Return the outputs of `network` for `images`, (images, features), in batches that fit into memory."""
    size = min(32, arrays.prediction_batch(images))
    parts = np.array_split(np.arange(len(images)), -(-len(images) // size))
    # A few calls only: a graph of TensorFlow, as `predict` makes one, would take longer.
    program = compiled(functools.partial(network, training=False), network)
    outputs = [keras.ops.convert_to_numpy(program(images[part])) for part in parts]
    return np.concatenate(outputs).astype("float32")
