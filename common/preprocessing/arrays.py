"""Arrays: reading .npy files, and batches for prediction."""

import math
import tokenize
from pathlib import Path

import keras
import numpy as np

from common.data import Array, Inputs, Pair
from common.errors import UserError, first_line, reading

PREDICTION_BATCH = 250
"""Maximum number of examples in a batch for prediction."""
ROWS = 10_000
"""Maximum number of rows of a table in such a batch."""
PREDICTION_BYTES = 2**22
"""Maximum size of the inputs of such a batch, so that the activations of large examples fit into memory."""


def prediction_batch(inputs: Inputs, patches: int = 1) -> int:
    """Return the number of examples of `inputs` in a batch for prediction.

    Args:
        inputs: The examples.
        patches: Patches of each example that the network evaluates.
    """
    parts = keras.tree.flatten(inputs)
    example = sum(part.dtype.itemsize * math.prod(part.shape[1:]) for part in parts)
    most = ROWS if isinstance(inputs, dict) or parts[0].dtype.names else PREDICTION_BATCH
    return max(1, min(most, PREDICTION_BYTES // max(1, example)) // patches)


def in_memory(inputs: Inputs | Pair) -> bool:
    """Return whether `inputs`, or a pair of inputs and targets, are arrays in memory, not a `LazyArray`."""
    return all(isinstance(part, np.ndarray) for part in keras.tree.flatten(inputs))


def first(pair: Pair, number: int) -> Pair:
    """Return the first `number` examples of `pair`: inputs and targets."""
    examples: Pair = keras.tree.map_structure(lambda part: part[:number], pair)
    return examples


def spread(pair: Pair, number: int) -> Pair:
    """Return `number` examples of `pair`, or all if there are fewer, in equal steps from the first to the last."""
    examples = len(pair[1])
    chosen = np.linspace(0, examples - 1, min(number, examples)).round().astype(int)
    spaced: Pair = keras.tree.map_structure(lambda part: part[chosen], pair)
    return spaced


def read_array(path: Path) -> Array:
    """Read a `.npy` file.

    Raises:
        UserError: if the file is missing, holds no array, or holds objects.
    """
    try:
        with reading(path), path.open("rb") as file:
            if file.read(2) == b"PK":
                raise UserError(f"{path}: a .npz archive; save one array with numpy.save")
            file.seek(0)
            # A map of the file needs no memory, also if the header promises more than there is.
            array: Array = np.array(np.lib.format.open_memmap(path, mode="r"))
    except (ValueError, EOFError, SyntaxError, TypeError, OverflowError, tokenize.TokenError) as error:
        raise UserError(f"{path}: not an array in .npy format ({first_line(error)})") from error
    return array


def read_examples(
    path: Path, shape: tuple[int | None, ...], noun: str, numbers: str = "iuf", allow_nan: bool = False
) -> list[tuple[str, Array]]:
    """Read one example, or several along the first axis, from a `.npy` file.

    Args:
        path: The file.
        shape: Shape of one example; None stands for any length.
        noun: Word for the examples in error messages.
        numbers: Accepted kinds of NumPy types.
        allow_nan: Accept NaN. Numbers that are infinite in float32 are never accepted.

    Returns:
        A name and an array (`shape`) per example.

    Raises:
        UserError: if the file cannot be read, or its array has another type or shape.
    """
    array = read_array(path)
    found = array.shape[max(0, array.ndim - len(shape)) :]
    fits = len(found) == len(shape) and all(size in (None, length) for size, length in zip(shape, found, strict=True))
    if not fits or array.ndim > len(shape) + 1 or array.dtype.kind not in numbers or not array.size:
        sizes = ", ".join("n" if size is None else str(size) for size in shape)
        single = f"({sizes},)" if len(shape) == 1 else f"({sizes})"
        raise UserError(
            f"{path}: {array.dtype} of shape {array.shape}; {noun} {single} or (examples, {sizes}) are needed"
        )
    if np.isinf(array).any() or (not allow_nan and np.isnan(array).any()):
        raise UserError(f"{path}: has {'' if allow_nan else 'nan or '}infinite values")
    if (np.abs(array) > np.finfo("float32").max).any():
        raise UserError(f"{path}: has values beyond ±3.4e38, which float32 cannot hold")
    if array.ndim == len(shape):
        return [(str(path), array)]
    return [(f"{path}[{index}]", example) for index, example in enumerate(array)]
