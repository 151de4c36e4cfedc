"""Plain values that the rooms share: arrays, data sets, trained and saved models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from common.config import Config

if TYPE_CHECKING:
    import keras


Array = np.ndarray[Any, Any]


class LazyArray(Protocol):
    """Examples that stay on the disk: to be used as an array (examples, …), they are read when they are indexed."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Their number and the shape of one."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of their numbers."""

    def __len__(self) -> int: ...

    def __getitem__(self, indices: Any) -> Array: ...


Inputs = Array | LazyArray | dict[str, Array]
"""Examples: one array, or one a named input of the network, each (examples, …)."""
Pair = tuple[Any, Any]
"""`Inputs` and targets (examples, …), an array or `Stored`."""


@dataclass(frozen=True)
class Data:
    """One data set, split. Each part is a pair: `Inputs` and targets (examples, …)."""

    name: str
    """Names the MLflow experiment, so that different models on the same data stand in one table."""
    digest: str
    """Fingerprint of the data before the split: two runs with the same digest may be compared."""
    train: Pair
    validation: Pair
    test: Pair
    outputs: tuple[str, ...] = ()
    """What the network's outputs are called: the classes in the order of their labels, or the predicted quantities."""
    generate_epoch: Callable[[int], Pair] | None = None
    """Makes the training examples of an epoch, counted from 0, where none is seen twice; `train` is then epoch 0's."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one example of a network with one input."""
        shape: tuple[int, ...] = self.train[0].shape
        return shape[1:]

    def examples(self, config: Config) -> int:
        """Training examples that are used."""
        return min(config.limit or len(self.train[1]), len(self.train[1]))

    def steps(self, config: Config) -> int:
        """Gradient steps an epoch: whole batches only, at least one."""
        return max(1, self.examples(config) // config.batch_size)


@dataclass(frozen=True)
class RawData:
    """A data set as it was published: the training and the test part, each (inputs, integer labels)."""

    name: str
    digest: str
    classes: tuple[str, ...]
    train: Pair
    test: Pair


@dataclass(frozen=True)
class Trained:
    """A trained network, with what its pictures are drawn from."""

    model: keras.Model
    data: Data
    history: Mapping[str, Sequence[float]]
    """Each epoch's figures, by name."""
    best_epoch: int
    """Counted from 1."""
    predictions: Array
    """The network's outputs for the test set: those that are judged."""
    config: Any
    """The app's settings it was trained with."""


@dataclass(frozen=True)
class SavedModel:
    """A model that was saved earlier, with what it was trained on."""

    model: keras.Model
    label: str
    """What a person calls it: the registered name and version, the run, or the path."""
    data: str
    outputs: tuple[str, ...]
    settings: Mapping[str, Any]
    digest: str = ""
    task: Mapping[str, Any] = field(default_factory=dict)
    """What was settled on the validation set: fields of the app's task."""
    run_id: str | None = None
    """The run that trained it."""
