"""Layers that turn raw columns or images into features inside the network, so that a saved model takes raw inputs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from common import layer_names
from common.config import Normalization
from common.data import Array, Data
from common.errors import UserError
from common.preprocessing import row_shards

ROWS = 10_000
"""Rows whose features are computed at a time."""

Inputs = dict[str, Any]
"""Input tensors (batch, 1) by column name."""


@dataclass(frozen=True)
class Features:
    """The first part of a network: inputs to features."""

    inputs: Any
    """Keras's input tensor, or one per column by name."""
    outputs: Any
    """Tensor of features (batch, features)."""
    train: Array
    """Features of the training set (examples, features)."""


def inputs(data: Data) -> Inputs:
    """Return one input tensor per column.

    Raises:
        UserError: if a column is text and the backend has no strings.
    """
    text = list(text_values(data))
    if text and keras.backend.backend() != "tensorflow":
        raise UserError(f"columns of text ({', '.join(text)}) need `backend` tensorflow; set it, or `ignore` them")
    check_precision(data)
    return {
        name: keras.Input(
            (1,), name=layer_names.column_input(name), dtype="string" if name in text else str(column.dtype)
        )
        for name, column in _columns(data).items()
    }


def check_precision(data: Data) -> None:
    """Check that the backend has float64 if a column or the target needs it.

    Raises:
        UserError: if it has not.
    """
    wide = [name for name, column in _columns(data).items() if column.dtype == "float64"]
    wide += list(data.outputs[:1]) if data.train[1].dtype == "float64" else []
    # JAX makes 32 bits of the 64 that an array has.
    if wide and keras.backend.standardize_dtype(ops.convert_to_tensor(np.zeros(())).dtype) != "float64":
        need = f"{data.name}: the numbers of {', '.join(wide)} need float64"
        raise UserError(f"{need}, which JAX does not use by default; set JAX_ENABLE_X64=true")


def standardised(data: Data) -> Features:
    """Build features with mean 0 and variance 1 over the training set from a table.

    A column of numbers is one feature. A missing number is replaced by the column's mean; if the training set has
    missing numbers, an indicator of them is another feature. A column of text has one indicator per value, except the
    most frequent one. Unseen text is treated as the most frequent value, missing text as a separate value.

    Raises:
        UserError: if no column has two different values.
    """
    tensors = inputs(data)
    columns, parts = _columns(data), []
    # The type of a column says whether float32 suffices. If not, all is float64 until it is standardised.
    precision = "float64" if any(column.dtype == "float64" for column in columns.values()) else "float32"
    if numbers := number_columns(data):
        means = [_mean(columns[name]) for name in numbers]
        fill = FillMissing(
            means, [numbers.index(name) for name in _with_gaps(data)], name="fill_missing", dtype=precision
        )
        joined = keras.layers.Concatenate(name="numbers", dtype=precision)([tensors[name] for name in numbers])
        parts.append(fill(joined))
    for name, values in text_values(data).items():
        lookup = keras.layers.StringLookup(vocabulary=values, output_mode="one_hot", name=layer_names.values_of(name))
        parts.append(lookup(tensors[name])[:, 2:])  # without unseen values and the most frequent one
    raw = keras.layers.Concatenate(name=layer_names.FEATURES, dtype=precision)(parts)
    if not raw.shape[-1]:
        raise UserError(f"{data.name}: no column has two different values to learn from; add rows or columns")
    train = compute(keras.Model(tensors, raw), columns).astype("float64")
    variance = train.var(axis=0)
    variance[np.ptp(train, axis=0) == 0] = 1.0  # a constant column must not grow without bound on other rows
    mean = train.mean(axis=0)
    if precision == "float32":
        normalise = keras.layers.Normalization(mean=mean, variance=variance, name=layer_names.STANDARDISE)
    else:
        normalise = Standardise(mean.tolist(), variance.tolist(), name=layer_names.STANDARDISE, dtype=precision)
    train -= mean
    train /= np.sqrt(variance)
    return Features(tensors, normalise(raw), train)


def compute(model: keras.Model, columns: dict[str, Array]) -> Array:
    """Return the outputs of `model` for the columns (examples,) of a table.

    Unlike `model.predict`, it does not convert them to float32.
    """
    rows = len(next(iter(columns.values())))
    starts = range(0, rows, ROWS)
    parts = (model({name: column[at : at + ROWS, None] for name, column in columns.items()}) for at in starts)
    return np.concatenate([ops.convert_to_numpy(part) for part in parts])


def pixels(data: Data) -> Features:
    """Build features from images of bytes: their pixels, flattened and scaled to [0, 1]."""
    tensor = keras.Input(data.input_shape, dtype="uint8")
    images = data.train[0]
    return Features(
        tensor,
        keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(tensor)),
        images.reshape(len(images), -1).astype("float32") / 255,
    )


def made_of(data: Data) -> list[tuple[str, str]]:
    """Return the source column and the name of each feature of `standardised`, in order."""
    numbers = [(name, name) for name in number_columns(data)]
    gaps = [(name, f"{name} missing") for name in _with_gaps(data)]
    indicators = [
        (name, f"{name} = {value}" if value else f"{name} missing")
        for name, known in text_values(data).items()
        for value in known[1:]
    ]
    return numbers + gaps + indicators


def number_columns(data: Data) -> list[str]:
    """Return the names of the columns of numbers."""
    return [name for name, column in _columns(data).items() if column.dtype != object]


def _with_gaps(data: Data) -> list[str]:
    """Return the names of the columns with missing numbers in the training set."""
    return [name for name in number_columns(data) if np.isnan(_columns(data)[name]).any()]


def text_values(data: Data) -> dict[str, list[str]]:
    """Return the values of each column of text in the training set, the most frequent first."""
    found = {}
    for name, column in _columns(data).items():
        if column.dtype == object:
            values, counts = np.unique(column.astype(str), return_counts=True)
            found[name] = [str(value) for value in values[np.argsort(-counts, kind="stable")]]
    return found


def _columns(data: Data) -> dict[str, Array]:
    """Return the columns (rows,) by name to which statistics are fitted."""
    columns: dict[str, Array] = row_shards.sample(data.train)[0]
    return columns


def _mean(column: Array) -> float:
    """Return the mean of `column` (rows,) without NaN, or 0 if all are NaN."""
    numbers = column[~np.isnan(column)]
    return float(numbers.mean(dtype="float64")) if len(numbers) else 0.0


def normalization(name: Normalization, examples: Any) -> keras.layers.Layer:
    """Return a layer that scales its inputs by statistics of all numbers in the training `examples` (examples, …).

    min_max: (x - min) / (max - min), in [0, 1]. standard_score: (x - mean) / standard deviation. none: x unchanged.
    """
    match name:
        case "min_max":
            low, high = float(examples.min()), float(examples.max())
            spread = high - low or 1.0
            return keras.layers.Rescaling(1 / spread, -low / spread)
        case "standard_score":
            return keras.layers.Normalization(None, mean=examples.mean(), variance=examples.var())
        case "none":
            return keras.layers.Rescaling(1.0)


@keras.saving.register_keras_serializable("common")
class Standardise(keras.layers.Layer):
    """Standardisation in float64: (x - mean) / sqrt(variance), of each column (batch, columns), at any scale.

    Keras's Normalization divides by at least 1e-7.

    Args:
        mean: Mean of each column.
        variance: Variance of each column, more than 0.
    """

    def __init__(self, mean: Sequence[float], variance: Sequence[float], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mean, self.variance = list(mean), list(variance)

    def call(self, inputs: Any) -> Any:
        mean, variance = (ops.convert_to_tensor(values, inputs.dtype) for values in (self.mean, self.variance))
        return (inputs - mean) / ops.sqrt(variance)


@keras.saving.register_keras_serializable("common")
class Offset(keras.layers.Layer):
    """Addition of the constant `offset` in float64, for targets whose offset float32 cannot hold."""

    def __init__(self, offset: float, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float64"} | kwargs)
        self.offset = offset

    def call(self, inputs: Any) -> Any:
        return inputs + ops.cast(self.offset, inputs.dtype)


def with_offset(outputs: Any, targets: Array) -> Any:
    """Add the mean of the targets to the outputs (batch, 1) if float32 cannot hold the targets' offset.

    Args:
        outputs: The network's outputs.
        targets: The training targets (examples, 1), float64 if float32 does not suffice.
    """
    return Offset(float(targets.mean()), name=layer_names.OFFSET)(outputs) if targets.dtype == "float64" else outputs


@keras.saving.register_keras_serializable("common")
class FillMissing(keras.layers.Layer):
    """Imputation of NaN with one value per column, and indicators of missing values for the `flagged` columns.

    (batch, columns) -> (batch, columns + flagged). The indicators are last, and 1 where a number was missing.

    Args:
        values: Value for each column.
        flagged: Indices of the columns with an indicator.
    """

    def __init__(self, values: Sequence[float], flagged: Sequence[int] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.values, self.flagged = list(values), list(flagged)

    def call(self, inputs: Any) -> Any:
        missing = ops.isnan(inputs)
        filled = ops.where(missing, ops.cast(self.values, inputs.dtype), inputs)
        indicators = [ops.cast(missing[:, column : column + 1], inputs.dtype) for column in self.flagged]
        return ops.concatenate([filled, *indicators], axis=-1)
