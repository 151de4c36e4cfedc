"""Rows of tables and sentences in shards.

A row has its numbers as in memory and the number of each text; a sentence is in UTF-8. Indexing reads examples in any
order, so batches equal those of the same file in memory.
"""

import abc
import dataclasses
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from common.config import Config, changed
from common.data import Array, Data, Description, Formats, Pair, RawData, numbered
from common.errors import UserError
from common.preprocessing import shards

FITTED_NUMBERS = 2**24
"""Maximum number of features, over all rows, in the sample that is read into memory."""
FITTED_SENTENCES = 2**17
"""Maximum number of sentences in such a sample."""


@dataclass(frozen=True, eq=False)
class Rows(shards.Records, abc.ABC):
    """Examples in shards, as a `LazyArray`."""

    dtype: np.dtype[Any]
    """Type of an example; of a row, with a field for each column."""

    @property
    def size(self) -> int:
        """Number of elements."""
        return len(self) * max(1, len(self.dtype.names or ()))

    @property
    def nbytes(self) -> int:
        """Number of bytes of the elements in memory."""
        return len(self) * self.dtype.itemsize

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape (examples,)."""
        return self.rows.shape

    def __getitem__(self, indices: Any) -> Any:
        try:
            return self._read(self.rows[indices])
        except (RuntimeError, ValueError, IndexError) as error:
            raise shards.damaged(self.folder, error) from error

    @functools.cached_property
    def sample(self) -> Any:
        """The first examples, in memory. The split has shuffled the examples."""
        return self[: self.most]

    @property
    @abc.abstractmethod
    def most(self) -> int:
        """Maximum number of examples in `sample`."""

    @abc.abstractmethod
    def _read(self, rows: Array) -> Any:
        """Return the examples with the numbers `rows`, in arrays of their shape."""


@dataclass(frozen=True, eq=False)
class TableRows(Rows):
    """Rows of a table. Indexing returns columns (rows,) by name."""

    levels: Mapping[str, Array]
    """Values (levels,) of each column of text, as Python strings."""

    @property
    def most(self) -> int:
        return FITTED_NUMBERS // (len(self.dtype.names or ()) + sum(map(len, self.levels.values())))

    def _read(self, rows: Array) -> dict[str, Array]:
        block = self.records.read(rows.ravel()).reshape(rows.shape)
        columns = {name: np.ascontiguousarray(block[name]) for name in self.dtype.names or ()}
        return columns | {name: levels[columns[name]] for name, levels in self.levels.items()}


@dataclass(frozen=True, eq=False)
class Sentences(Rows):
    """Sentences (sentences,) as Python strings."""

    @property
    def most(self) -> int:
        return FITTED_SENTENCES

    def _read(self, rows: Array) -> Array:
        sentences = np.empty(rows.size, object)
        sentences[:] = [record.decode() for record in self.records.__getitems__(rows.ravel().tolist())]
        return sentences.reshape(rows.shape)


def read(folder: Path, kind: Literal["table", "text"], config: Config) -> RawData:
    """Read the index of a folder of shards, without the examples.

    Args:
        folder: The folder.
        kind: Kind of the examples.
        config: The settings of a training.

    Returns:
        `TableRows` or `Sentences`, and the targets in memory.

    Raises:
        UserError: as `shards.read`, or if a setting differs from that of the shards.
    """
    import pandas as pd

    index, examples, records = shards.read(folder, kind)
    given = changed(config)
    for name, value in index.settings.items():
        if given.get(name, value) != value:
            words = [" ".join(one) if isinstance(one, tuple) else one for one in (given[name], value)]
            raise UserError(f"`{name}` {words[0]}: the shards {folder} have {words[1] or 'none'}; write them again")
    targets = examples["targets"]
    place = folder, records, numbered(len(targets))
    levels = {name: np.array(values, object) for name, values in index.levels.items()}
    row = np.dtype(list(index.inputs.items()))
    tables = {"columns": pd.DataFrame(index.overview)} if index.overview else {}
    return RawData(
        name=index.name,
        digest=index.digest,
        kind=kind,
        outputs=index.outputs,
        train=(TableRows(*place, row, levels) if kind == "table" else Sentences(*place, np.dtype(object)), targets),
        formats=Formats(columns=index.formats),
        description=Description(index.notes, {**index.facts, "shards": f"{len(index.shards):,}"}, tables),
    )


def sample(pair: Pair) -> Pair:
    """Return the examples of `pair` to which statistics and linear models are fitted.

    Of rows or sentences in shards, they are the first ones, whose number is bounded; else all.
    """
    inputs = pair[0]
    return (inputs.sample, pair[1][: inputs.most]) if isinstance(inputs, Rows) else pair


def in_parts(predict: Callable[[Any], Array], inputs: Any) -> Array:
    """Return the predictions (examples, …) for `inputs`; those in shards are read in parts."""
    if isinstance(inputs, Rows):
        starts = range(0, len(inputs), inputs.most)
        return np.concatenate([predict(inputs[start : start + inputs.most]) for start in starts])
    return predict(inputs)


def sampled(data: Data) -> Data:
    """Return data with a note, if parts of a network are fitted to a sample of its training set."""
    pair = sample(data.train)
    if len(pair[1]) == len(data.train[1]):
        return data
    number = f"{len(pair[1]):,} of {len(data.train[1]):,} training examples, drawn at random"
    note = f"{data.name}: statistics, vocabularies and linear models are fitted to {number}; gradient descent reads all"
    return dataclasses.replace(
        data, description=dataclasses.replace(data.description, notes=(*data.description.notes, note))
    )
