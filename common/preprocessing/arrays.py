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
    """Return whether `inputs` are arrays in memory, and not `LazyArray`."""
    return all(isinstance(part, np.ndarray) for part in keras.tree.flatten(inputs))


def first(pair: Pair) -> Pair:
    """The first examples, no more than are evaluated at a time."""
    examples: Pair = keras.tree.map_structure(lambda part: part[: prediction_batch(pair[0])], pair)
    return examples


def read_array(path: Path) -> Array:
    """Read a `.npy` file.

    Raises:
        UserError: if the file is missing, holds no array, or holds objects.
    """
    try:
        array: Array = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path}: not an array that can be read ({error})") from error
    return array


def read_examples(
    path: Path, shape: tuple[int | None, ...], noun: str, numbers: str = "iuf", allow_nan: bool = False
) -> list[tuple[str, Array]]:
    """Read one example, or several along the first axis, from a `.npy` file.

    Args:
        path: The file.
        shape: Shape of one example; None stands for any length.
        noun: Word for the examples in error messages.
        numbers: NumPy's kinds of numbers that are accepted.
        allow_nan: Accept NaN; infinite numbers are never accepted.

    Returns:
        A name and an array (`shape`) per example.

    Raises:
        UserError: if the file cannot be read, or holds an array of another kind or shape.
    """
    array = read_array(path)
    one = array.shape[max(0, array.ndim - len(shape)) :]
    fits = len(one) == len(shape) and all(size in (None, length) for size, length in zip(shape, one, strict=True))
    if not fits or array.ndim > len(shape) + 1 or array.dtype.kind not in numbers or not array.size:
        sizes = ", ".join("n" if size is None else str(size) for size in shape)
        alone = f"({sizes},)" if len(shape) == 1 else f"({sizes})"
        raise UserError(
            f"{path}: {array.dtype} of shape {array.shape}; {noun} {alone} or (examples, {sizes}) are needed"
        )
    if np.isinf(array).any() or (not allow_nan and np.isnan(array).any()):
        raise UserError(f"{path}: has values that are infinite" + ("" if allow_nan else " or nan"))
    if array.ndim == len(shape):
        return [(str(path), array)]
    return [(f"{path}[{index}]", example) for index, example in enumerate(array)]
