"""From raw columns to standardised features, inside the network, so that a saved model takes raw rows.

Layers that the papers need and Keras lacks. Backend-neutral: only `keras.ops`.
"""

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
from common.preprocessing import tables

Inputs = dict[str, Any]
"""The network's input tensors by column."""


@dataclass(frozen=True)
class Features:
    """What a network is built on."""

    inputs: Any
    """Keras's input tensor, or one a column."""
    outputs: Any
    """The features, (batch, features)."""
    train: Array
    """Their values in the training set, (examples, features)."""


def inputs(data: Data) -> Inputs:
    """An input of shape (batch, 1) a column."""
    text = list(text_values(data))
    if text and keras.backend.backend() != "tensorflow":
        raise UserError(f"columns of text ({', '.join(text)}) need KERAS_BACKEND=tensorflow; set it, or `ignore` them")
    # With a prefix, no column is called as a layer is.
    return {
        name: keras.Input((1,), name=f"column_{name}", dtype="string" if name in text else "float32")
        for name in data.train[0]
    }


def standardised(data: Data) -> Features:
    """Numbers and, for text, an indicator a value, all with mean 0 and variance 1 over the training set.

    A missing number counts as the column's mean, and where training has gaps their indicator is a feature, too. Of
    a column of text the most frequent value is the reference, which has no indicator: a value that training never saw
    counts as it. Missing text is a value of its own.
    """
    tensors = inputs(data)
    columns, parts = data.train[0], []
    if numbers := number_columns(data):
        means = [_mean(columns[name]) for name in numbers]
        fill = FillMissing(means, [numbers.index(name) for name in _with_gaps(data)], name="fill_missing")
        parts.append(fill(keras.layers.Concatenate(name="numbers")([tensors[name] for name in numbers])))
    for name, values in text_values(data).items():
        lookup = keras.layers.StringLookup(vocabulary=values, output_mode="one_hot", name=tables.levels_layer(name))
        parts.append(lookup(tensors[name])[:, 2:])  # without those of the unseen and of the reference
    raw = keras.layers.Concatenate(name=layer_names.FEATURES)(parts)
    if not raw.shape[-1]:
        raise UserError(f"{data.name}: no column has two different values; there is nothing to learn from")
    values = keras.Model(tensors, raw).predict(columns, batch_size=1000, verbose=0).astype("float64")
    variance = values.var(axis=0)
    variance[variance == 0] = 1.0  # a constant column stays 0 instead of growing without bound on other rows
    mean = values.mean(axis=0)
    normalise = keras.layers.Normalization(mean=mean, variance=variance, name=layer_names.STANDARDISE)
    return Features(tensors, normalise(raw), (values - mean) / np.sqrt(variance))


def pixels(data: Data) -> Features:
    """Pictures of bytes as pixels in [0, 1], one after the other."""
    tensor = keras.Input(data.input_shape, dtype="uint8")
    pictures = data.train[0]
    return Features(
        tensor,
        keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(tensor)),
        pictures.reshape(len(pictures), -1).astype("float32") / 255,
    )


def made_of(data: Data) -> list[tuple[str, str]]:
    """The column that each feature of `standardised` is made of, and what it is called, in their order."""
    numbers = [(name, name) for name in number_columns(data)]
    gaps = [(name, f"{name} missing") for name in _with_gaps(data)]
    indicators = [
        (name, f"{name} = {value}" if value else f"{name} missing")
        for name, known in text_values(data).items()
        for value in known[1:]
    ]
    return numbers + gaps + indicators


def number_columns(data: Data) -> list[str]:
    """The columns of numbers."""
    return [name for name, column in data.train[0].items() if column.dtype != object]


def _with_gaps(data: Data) -> list[str]:
    return [name for name in number_columns(data) if np.isnan(data.train[0][name]).any()]


def text_values(data: Data) -> dict[str, list[str]]:
    """For each column of text its values in the training set, the most frequent first."""
    found = {}
    for name, column in data.train[0].items():
        if column.dtype == object:
            values, counts = np.unique(column.astype(str), return_counts=True)
            found[name] = [str(value) for value in values[np.argsort(-counts, kind="stable")]]
    return found


def _mean(column: Array) -> float:
    """The mean of the numbers that are there; 0 of none."""
    there = column[~np.isnan(column)]
    return float(there.mean(dtype="float64")) if len(there) else 0.0


def normalization(name: Normalization, examples: Any) -> keras.layers.Layer:
    """What brings numbers into a common range, by the training `examples` alone, all of them taken together.

    min_max: (x - min) / (max - min), in [0, 1]. standard_score: (x - mean) / standard deviation. none: x as it is.
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
class FillMissing(keras.layers.Layer):
    """Puts a value in the place of NaN, and adds for some columns whether it did.

    `values` has the value of each column, `flagged` the columns that are told of. Takes (batch, columns), gives
    (batch, columns + flagged), the flags last, 1 where a number was missing.
    """

    def __init__(self, values: Sequence[float], flagged: Sequence[int] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.values, self.flagged = list(values), list(flagged)

    def call(self, inputs: Any) -> Any:
        missing = ops.isnan(inputs)
        filled = ops.where(missing, ops.cast(self.values, inputs.dtype), inputs)
        flags = [ops.cast(missing[:, column : column + 1], inputs.dtype) for column in self.flagged]
        return ops.concatenate([filled, *flags], axis=-1)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return input_shape[0], len(self.values) + len(self.flagged)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"values": self.values, "flagged": self.flagged}
