"""Show the weights of a network's first layer as images."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from common.data import Array

LARGEST_FILTERS = 64
"""Largest number of first-layer filters in a figure."""


def first_layer_filters(model: keras.Model, input_shape: Sequence[int]) -> Array:
    """Return the weights of the first layer with weights as images (filters, height, width), the largest norm first.

    A convolution's filters keep their order. Of more than `LARGEST_FILTERS`, those with the largest norms are returned.
    """
    filters = first_layer_kernel(model, input_shape)
    if not len(filters):
        return filters
    strongest = np.argsort(-np.linalg.norm(filters, axis=(1, 2)))[:LARGEST_FILTERS]
    return filters[np.sort(strongest)] if filters.shape[1:] != tuple(input_shape) else filters[strongest]


def first_layer_kernel(model: keras.Model, input_shape: Sequence[int]) -> Array:
    """Return the weights of the first layer with weights as images (filters, height, width), in their order.

    Layers other than convolutions have none unless their inputs are the pixels of an image.
    """
    kernels: list[Any] = [layer.kernel for layer in model.layers if hasattr(layer, "kernel")]
    if not kernels:
        return np.empty(0)
    kernel = keras.ops.convert_to_numpy(kernels[0])
    if kernel.ndim == 4:
        return kernel.mean(axis=2).transpose(2, 0, 1)
    if len(input_shape) == 2 and len(kernel) == np.prod(input_shape):
        return kernel.T.reshape(-1, *input_shape)
    return np.empty(0)
