"""Parts of networks on tables: encodings of columns, and ensembles whose members share their weights.

Backend-neutral: only `keras.ops`.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from common import layer_names
from common.data import Array, Data
from common.preprocessing import features

LIMIT = 3.0
"""Bound of a standardised feature, so that an outlier does not decide alone."""
ROWS_PER_BIN = 20
"""Minimum number of training rows of a bin."""


def encoded(table: features.Features, data: Data, bins: int, embedding: int) -> Any:
    """Build the encoding of a table's columns: standardised numbers in bins, indicators, and embedded categories.

    Args:
        table: The standardised features of the table.
        data: The table.
        bins: Maximum number of bins of a column of numbers.
        embedding: Numbers that represent a value of a column of text with more values than this; the columns with fewer
            are indicators.

    Returns:
        Tensor of encodings (batch, encodings).
    """
    origins = [column for column, _ in features.made_of(data)]
    wide = [name for name, values in features.text_values(data).items() if len(values) - 1 > embedding]
    kept, parts, start = [], [], 0
    for name, run in itertools.groupby(origins, lambda column: column if column in wide else None):
        end = start + len(list(run))
        part = table.outputs[:, start:end]
        if name:
            # The product with the indicators of its values is an embedding, through which scores can be attributed.
            layer = keras.layers.Dense(embedding, use_bias=False, name=layer_names.embedding_of(name))
            parts.append(layer(Squash()(part)))
        else:
            kept.append(part)
        start = end
    if kept:
        numbers = len(features.number_columns(data))  # the first features
        train = table.train[:, ~np.isin(origins, wide)]
        edges = [bin_edges(column, bins) if number < numbers else [] for number, column in enumerate(train.T)]
        parts.append(PiecewiseLinear.fitted(train, edges, name="bins")(_joined(kept)))
    return _joined(parts)


def _joined(parts: Sequence[Any]) -> Any:
    """Return the tensors (batch, features) side by side."""
    return keras.layers.Concatenate()(parts) if len(parts) > 1 else parts[0]


def bin_edges(column: Array, bins: int) -> list[float]:
    """Return the edges of bins with about the same number of rows each, or [] if the column has two values or fewer.

    Args:
        column: Training values (rows,), without NaN.
        bins: Maximum number of bins; each has at least about `ROWS_PER_BIN` rows, unless one value has more.
    """
    if len(np.unique(column)) <= 2:
        return []
    quantiles = np.linspace(0, 1, min(bins, max(2, len(column) // ROWS_PER_BIN)) + 1)
    edges = np.unique(np.quantile(column, quantiles).astype("float32"))
    return edges.tolist() if len(edges) > 2 else []


def squash(x: Any, limit: float) -> Any:
    """Return x / sqrt(1 + (x / limit)²): x near 0, and never more than `limit` (Holzmüller et al. 2024)."""
    return x * ops.rsqrt(1 + ops.square(x / limit))


@keras.saving.register_keras_serializable("common")
class Squash(keras.layers.Layer):
    """The function `squash` as a layer."""

    def __init__(self, limit: float = LIMIT, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.limit = limit

    def call(self, inputs: Any) -> Any:
        return squash(inputs, self.limit)


@keras.saving.register_keras_serializable("common")
class PiecewiseLinear(keras.layers.Layer):
    """Squashed features, and beside them piecewise-linear encodings in bins (Gorishniy et al. 2022, equation 1).

    A bin from a to b becomes (x - a) / (b - a), clipped to [0, 1], minus its mean and times a scale. A linear function
    of the encodings is any function of x that is linear in each bin. (batch, columns) -> (batch, columns + bins).

    Args:
        edges: Increasing edges of the bins of each column; [] for a column without bins.
        means: Mean of each bin's encoding, for all columns one after the other.
        scales: Scale of each column.
    """

    def __init__(
        self, edges: Sequence[Sequence[float]], means: Sequence[float], scales: Sequence[float], **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.edges, self.means, self.scales = [list(one) for one in edges], list(means), list(scales)
        self.columns = np.array([column for column, one in enumerate(self.edges) for _ in one[1:]], "int32")
        self.low = np.array([low for one in self.edges for low in one[:-1]], "float32")
        self.high = np.array([high for one in self.edges for high in one[1:]], "float32")

    @classmethod
    def fitted(cls, train: Array, edges: Sequence[Sequence[float]], **kwargs: Any) -> "PiecewiseLinear":
        """Return the layer whose encodings have mean 0, and those of a column together variance 1, over `train`.

        Args:
            train: Training features (rows, columns).
            edges: As for the layer.
            **kwargs: Arguments of every layer.
        """
        means: list[float] = []
        scales = []
        for column, one in zip(train.T, edges, strict=True):
            low, high = np.array(one[:-1]), np.array(one[1:])
            parts = np.clip((column[:, None] - low) / (high - low), 0, 1)
            means += parts.mean(axis=0).tolist()
            scales.append(float(1 / np.sqrt(parts.var(axis=0).sum())) if one else 1.0)
        return cls(edges, means, scales, **kwargs)

    def call(self, inputs: Any) -> Any:
        squashed = squash(inputs, LIMIT)
        if not len(self.columns):
            return squashed
        low, high, means, scales = (
            ops.convert_to_tensor(values, inputs.dtype)
            for values in (self.low, self.high, self.means, np.array(self.scales)[self.columns])
        )
        parts = ops.clip((ops.take(inputs, self.columns, axis=1) - low) / (high - low), 0, 1)
        return ops.concatenate([squashed, (parts - means) * scales], axis=-1)


@keras.saving.register_keras_serializable("common")
class EnsembleDense(keras.layers.Layer):
    """Dense layer of an ensemble whose members share the kernel W: ((x * r) W) * s + b, with own r, s and b.

    BatchEnsemble (Wen, Tran and Ba 2020), as in TabM (Gorishniy, Kotelnikov and Babenko 2025). The first such layer
    takes the same x for all members: (batch, features) -> (batch, members, units). It has no r, and its s are random
    signs, in which the members differ at first. The next ones: (batch, members, features) -> (batch, members, units).
    """

    def __init__(self, units: int, members: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units, self.members = units, members

    def build(self, input_shape: Sequence[int | None]) -> None:
        self.first = len(input_shape) == 2
        features = input_shape[-1] or 0
        self.kernel = self.add_weight(shape=(features, self.units), initializer="he_normal", name="kernel")
        shape = (self.members, self.units)
        self.scale = self.add_weight(shape=shape, initializer=_signs if self.first else "ones", name="scale")
        if not self.first:
            self.input_scale = self.add_weight(shape=(self.members, features), initializer="ones", name="input_scale")
        self.bias = self.add_weight(shape=shape, initializer="zeros", name="bias")

    def call(self, inputs: Any) -> Any:
        if self.first:
            shared = ops.expand_dims(ops.matmul(inputs, self.kernel), 1)
        else:
            shared = ops.matmul(inputs * self.input_scale, self.kernel)
        return shared * self.scale + self.bias


def _signs(shape: Sequence[int], dtype: Any = None) -> Any:
    """Draw -1 or 1 for each weight."""
    return ops.sign(keras.initializers.RandomUniform(-1, 1)(shape, dtype=dtype))


@keras.saving.register_keras_serializable("common")
class MemberDense(keras.layers.Layer):
    """A dense layer of its own for each member: (batch, members, features) -> (batch, members, outputs)."""

    def __init__(self, outputs: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.outputs = outputs

    def build(self, input_shape: Sequence[int | None]) -> None:
        _, members, features = input_shape
        normal = keras.initializers.RandomNormal(stddev=(features or 1) ** -0.5)
        self.kernel = self.add_weight(shape=(members, features, self.outputs), initializer=normal, name="kernel")
        self.bias = self.add_weight(shape=(members, self.outputs), initializer="zeros", name="bias")

    def call(self, inputs: Any) -> Any:
        return ops.einsum("bmf,mfo->bmo", inputs, self.kernel) + self.bias


@keras.saving.register_keras_serializable("common")
class MemberMean(keras.layers.Layer):
    """Mean of the members' outputs: (batch, members, outputs) -> (batch, outputs). In training, each member learns.

    The mean of the members' losses is the loss of their mean plus a term without the targets, which this layer adds in
    training: of squared errors of quantities, the variance over the members (Krogh and Vedelsby 1995); of the
    cross-entropies of logits z, the mean of log sum exp(z) minus log sum exp of the mean of z. Class weights do not
    change this term.

    Args:
        classes: Whether the outputs are logits of classes, not quantities.
    """

    def __init__(self, classes: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.classes = classes

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        mean = ops.mean(inputs, axis=1)
        if training:
            if self.classes:
                spread = ops.mean(ops.logsumexp(inputs, axis=-1)) - ops.mean(ops.logsumexp(mean, axis=-1))
            else:
                spread = ops.mean(ops.var(inputs, axis=1))
            self.add_loss(spread)
        return mean
