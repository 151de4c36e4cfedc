"""Arrays: read from .npy files, kept in memory or read from disk, and taken in batches."""

import math
from pathlib import Path

import keras
import numpy as np

from common.data import Array, Inputs, Pair
from common.errors import UserError

PREDICTION_BATCH = 250
"""Examples that are evaluated at a time, at most."""
PREDICTION_BYTES = 2**22
"""What those examples may take, so that what a network makes of large ones fits into memory."""


def prediction_batch(inputs: Inputs) -> int:
    """Examples of `inputs` that are evaluated at a time."""
    parts = keras.tree.flatten(inputs)
    example = sum(part.dtype.itemsize * math.prod(part.shape[1:]) for part in parts)
    return max(1, min(PREDICTION_BATCH, PREDICTION_BYTES // max(1, example)))


def in_memory(inputs: Inputs) -> bool:
    """Whether `inputs` are arrays, and not `Stored`."""
    return all(isinstance(part, np.ndarray) for part in keras.tree.flatten(inputs))


def first(pair: Pair) -> Pair:
    """The first examples, no more than are evaluated at a time."""
    examples: Pair = keras.tree.map_structure(lambda part: part[: prediction_batch(pair[0])], pair)
    return examples


def open_array(path: Path) -> Array:
    """The array in a `.npy` file.

    Raises:
        UserError: where the file is missing, is no array, or has objects in it.
    """
    try:
        array: Array = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path}: not an array that can be read ({error})") from error
    return array


def named_examples(path: Path, array: Array, dimensions: int) -> list[tuple[str, Array]]:
    """A name and an example, for `array` itself where it has so many `dimensions`, else for each along its first."""
    if array.ndim == dimensions:
        return [(str(path), array)]
    return [(f"{path}[{index}]", example) for index, example in enumerate(array)]
