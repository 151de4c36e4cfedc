"""Plain values that the rooms share: arrays, data sets, trained and saved models."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

import numpy as np

from common.config import Config

if TYPE_CHECKING:
    import keras

Array = np.ndarray[Any, Any]


class LazyArray(Protocol):
    """Examples that stay on the disk: used as an array (examples, …), they are read when they are indexed."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of examples, then the shape of one."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of their numbers."""

    def __len__(self) -> int: ...

    def __getitem__(self, indices: Any) -> Array: ...

    def part(self, rows: Array) -> Self:
        """Return the examples at `rows` (n,), still on the disk."""

    def joined(self, others: Self) -> Self:
        """Return these examples, then the others."""


Inputs = Array | LazyArray | dict[str, Array]
"""Examples: one array, or one per named input of the network, each (examples, …)."""
Pair = tuple[Any, Any]
"""`Inputs` and targets (examples, …), an array or a `LazyArray`."""
Kind = Literal["image", "table", "text", "sequence", "ratings", "vector"]
"""What one example is: an image; a row of named columns; a sentence; steps of numbers; a user's ratings; numbers."""


def fingerprint(*content: bytes | str | memoryview) -> str:
    """Return 16 hexadecimal digits of the SHA-256 of all of `content`, one part after another."""
    digest = hashlib.sha256()
    for part in content:
        digest.update(part.encode() if isinstance(part, str) else part)
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class ImageFormat:
    """How the grey images of a data set show their subject: light on black, as bytes (side, side)."""

    side: int
    """Pixels along each side."""
    box: int
    """Pixels along the longer side of the subject. Below `side`, its centre of mass is in the middle of the image."""


@dataclass(frozen=True, kw_only=True)
class RawData:
    """A data set before it is split: parts that are None have yet to be drawn from `train`."""

    name: str
    digest: str
    """Fingerprint of its content."""
    kind: Kind
    outputs: tuple[str, ...]
    """Names of the classes in the order of their labels, or of the predicted quantities."""
    train: Pair
    validation: Any = None
    """A `Pair`, if the data set has a validation part."""
    test: Any = None
    """A `Pair`, if the data set has a test part."""
    image_format: ImageFormat | None = None


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
    """Names of the network's outputs: the classes in the order of their labels, or the predicted quantities."""
    kind: Kind = field(kw_only=True)
    image_format: ImageFormat | None = None
    generate_epoch: Callable[[int], Pair] | None = None
    """Generates the training examples of an epoch, counted from 0, if none is used twice; `train` is epoch 0's."""

    def __post_init__(self) -> None:
        """Replace the characters that the name of a registered model must not have."""
        object.__setattr__(self, "name", re.sub(r"[^\w.-]+", "_", self.name))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one example of a network with one input."""
        shape: tuple[int, ...] = self.train[0].shape
        return shape[1:]

    def examples(self, config: Config) -> int:
        """Return the number of training examples that are used."""
        return min(config.limit or len(self.train[1]), len(self.train[1]))

    def steps(self, config: Config) -> int:
        """Return the number of gradient steps per epoch: whole batches only, at least one."""
        return max(1, self.examples(config) // config.batch_size)


@dataclass(frozen=True)
class Trained:
    """A trained network, with the values that its figures are drawn from."""

    model: keras.Model
    data: Data
    history: Mapping[str, Sequence[float]]
    """Metrics of every epoch, by name."""
    best_epoch: int
    """Counted from 1."""
    predictions: Array
    """The network's outputs for the test set, those that the task scores."""
    config: Any
    """The app's settings it was trained with."""


@dataclass(frozen=True, kw_only=True)
class SavedModel:
    """A model that was saved earlier, with the facts about its data that reading new examples needs."""

    model: keras.Model
    label: str
    """The registered name and version, the run's id, or the path."""
    data: str
    """Name of the data set that it was trained on."""
    kind: Kind
    outputs: tuple[str, ...]
    settings: Mapping[str, Any]
    image_format: ImageFormat | None = None
    digest: str = ""
    task: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the app's task, with the values that were chosen on the validation set."""
    run_id: str | None = None
    """The run that trained it."""
