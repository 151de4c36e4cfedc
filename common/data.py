"""Plain values that the rooms share: arrays, data sets, trained and saved models."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

import numpy as np

from common.config import Config
from common.errors import Problems

if TYPE_CHECKING:
    import keras
    import pandas as pd

Array = np.ndarray[Any, Any]


class LazyArray(Protocol):
    """An array of examples (examples, …) that is not in memory as a whole. Indexing reads the examples."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape (examples, …)."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements."""

    def __len__(self) -> int: ...

    def __getitem__(self, indices: Any) -> Array: ...

    def part(self, rows: Array) -> Self:
        """Return the examples at `rows` (n,), without reading them."""

    def joined(self, others: Self) -> Self:
        """Return these examples followed by the others, without reading them."""


Inputs = Array | LazyArray | dict[str, Array]
"""Examples: one array (examples, …), or one per named input of the network."""
Pair = tuple[Any, Any]
"""`Inputs` and targets (examples, …), an array or a `LazyArray`."""
Kind = Literal["image", "table", "text", "sequence", "ratings", "vector"]
"""One example: an image, a row of named columns, a sentence, a sequence of steps, a user's ratings or numbers."""


LARGE = 10_000
"""Largest number of rows of a table that is written as CSV for its fingerprint. More are hashed, which is faster."""
LONGEST_NAME = 120
"""Maximum length of a data set's name in bytes, so that folders and registered models can have it."""


def fingerprint(*content: bytes | str | memoryview) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of the concatenated `content`."""
    digest = hashlib.sha256()
    for part in content:
        digest.update(part.encode() if isinstance(part, str) else part)
    return digest.hexdigest()[:16]


def numbered(examples: int) -> Array:
    """Return the numbers (examples,) of so many examples from 0, in 32 bits if these suffice."""
    return np.arange(examples, dtype="int32" if examples < 2**31 else "int64")


def table_content(table: pd.DataFrame) -> str | bytes:
    """Return the content of a table for a fingerprint: as CSV, or of a large table hashes of its rows."""
    import pandas as pd

    return table.to_csv() if len(table) <= LARGE else pd.util.hash_pandas_object(table).to_numpy().tobytes()


def _allowed_name(name: str) -> str:
    """Return a name for an experiment, a registered model and a folder, as similar to `name` as possible."""
    allowed = re.sub(r"[^\w.-]+", "_", unicodedata.normalize("NFC", name)).lstrip(".-")
    if not re.search(r"[^\W_]", allowed):  # only symbols
        return "data"
    if len(allowed.encode()) <= LONGEST_NAME:
        return allowed
    # The fingerprint tells long names with the same beginning apart.
    return allowed.encode()[: LONGEST_NAME - 17].decode(errors="ignore") + "_" + fingerprint(allowed)


@dataclass(frozen=True)
class ImageFormat:
    """Format of the grey images of a data set: bytes (side, side), light on black."""

    side: int
    """Side of the image in pixels."""
    box: int
    """Longer side of the subject in pixels. If less than `side`, the subject's centre of mass is in the middle."""


Calendar = Literal["number", "clock", "months", "first business days", "last business days", "business days"]
"""How times are counted: whole numbers, units of time, months on a day or a business day, or business days."""


Unit = Literal["s", "ms", "us", "ns"]


@dataclass(frozen=True)
class TimeAxis:
    """Times of a regular series: how their text is read, and the step from one time to the next."""

    format: str
    """Format of the text, as in the setting `time_format`."""
    calendar: Calendar
    step: int
    """Step as a number of months or business days, of `unit`, or as a whole number."""
    day: int = 1
    """Day of the month of the calendar `months`; in a shorter month, its last day."""
    unit: Unit = "s"
    """Unit of the calendar `clock`."""
    zone: str = ""
    """Offset from UTC, such as +00:00; empty if the text has none."""


Cycle = Literal["hour", "weekday", "month", "year"]
"""Cycle of the calendar whose position is an input of a forecast."""


@dataclass(frozen=True)
class WindowFormat:
    """Windows that are cut out of a series."""

    window: int
    """Number of steps in the network's input."""
    horizon: int
    """Number of steps to forecast."""
    season: int
    """Period of the series in steps; 1 if it has none."""
    cycles: tuple[Cycle, ...] = ()
    """Cycles of the calendar that are inputs."""
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Values of known columns of text, by column: an input says of each whether it is that of a step."""
    groups: tuple[str, ...] = ()
    """Names of series: an input says of each whether it is that of a window."""
    time: str = ""
    """Column of times that training found in its file; "" for a built-in series."""


@dataclass(frozen=True)
class ColumnFormat:
    """Format of a column of a CSV file, which holds for new files of a model, too."""

    kind: Literal["number", "date", "text"]
    form: str = ""
    """Decimal separator of numbers, or format of dates for `datetime.strptime`."""
    cycles: tuple[str, ...] = ()
    """Cycles that dates become, in addition to days since 1970-01-01."""
    unit: str = ""
    """Unit of numbers: %, a currency, or a word such as months; "" if they have none."""


@dataclass(frozen=True)
class PixelRange:
    """Values of black and white in images with more than 8 bits per pixel."""

    black: float
    white: float
    floats: bool = False
    """Whether the pixels are floating-point numbers."""


@dataclass(frozen=True, kw_only=True)
class Formats:
    """Formats of a data set's files. New examples for its models are read in the same formats."""

    image: ImageFormat | None = None
    """Format to which images are converted; None for photographs."""
    pixels: PixelRange | None = None
    """Black and white of image files with more than 8 bits per pixel."""
    times: TimeAxis | None = None
    """Times of a series."""
    windows: WindowFormat | None = None
    """Windows of a series."""
    columns: Mapping[str, ColumnFormat] = field(default_factory=dict)
    """Columns of a CSV file that are used, by name."""


@dataclass(frozen=True)
class Description:
    """Content of a user's files, as a reader found it: `train` prints the notes, `check` prints everything."""

    notes: tuple[str, ...] = ()
    """Decisions of the reader and warnings, one line each."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """Facts by name, such as the number of rows or the step of a series."""
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    """Tables by title, such as one row for each column of a file."""


@dataclass(frozen=True)
class Examples:
    """New examples, read from a user's files for a saved model."""

    names: Sequence[str]
    """A name per answer, in the order of the files: of each example, or of each step of a forecast."""
    inputs: Any
    """`Inputs` of the model, without the unusable examples."""
    unusable: Mapping[int, str] = field(default_factory=dict)
    """Reasons by index into `names`, for examples without a prediction."""
    notes: tuple[str, ...] = ()
    """Decisions of the reader and warnings, one line each."""
    rows: pd.DataFrame | None = None
    """The cells of the files, one row for each name, if they are tables."""
    unseen: tuple[str, ...] = ()
    """Values that training never saw, one line for each place, with their number."""

    def check_usable(self, place: Callable[[str], str] = str) -> None:
        """Check that an example is usable.

        Args:
            place: Function from the name of an example to its place, in words.

        Raises:
            UserError: if none is; one line for each.
        """
        if len(self.unusable) == len(self.names):
            problems = Problems()
            for index, reason in self.unusable.items():
                problems.add(f"{place(self.names[index])}: {reason}")
            problems.check()


@dataclass(frozen=True, kw_only=True)
class RawData:
    """A data set before the split. Parts that are None are to be drawn from `train`."""

    name: str
    digest: str
    """Fingerprint of its content."""
    kind: Kind
    outputs: tuple[str, ...]
    """Names of the classes in the order of their labels, or of the target variables."""
    train: Pair
    validation: Any = None
    """A `Pair`, or None."""
    test: Any = None
    """A `Pair`, or None."""
    formats: Formats = Formats()
    groups: Array | None = None
    """Group of each training example (examples,). The examples of a group, such as copies, stay in one part."""
    description: Description = Description()


@dataclass(frozen=True)
class Data:
    """A data set that is split into three parts."""

    name: str
    """Name of the data set and of its MLflow experiment, in which the runs of all apps on it are compared.

    It is also part of a registered model's name and of a folder's; characters that are not allowed are replaced.
    """
    digest: str
    """Fingerprint of the data before the split. Runs with the same digest are comparable."""
    train: Pair
    validation: Pair
    test: Pair
    outputs: tuple[str, ...] = ()
    """Names of the classes in the order of their labels, or of the target variables."""
    kind: Kind = field(kw_only=True)
    formats: Formats = Formats()
    groups: tuple[Array, Array] | None = None
    """Groups of the training and of the validation examples, if folds must not divide them."""
    generate_epoch: Callable[[int], Pair] | None = None
    """Generates the training examples of an epoch, counted from 0. None: every epoch uses `train`."""
    description: Description = Description()
    test_times: Array | None = None
    """Time of each step of a series' test targets (windows, steps)."""
    test_series: Array | None = None
    """Name of the series of each test window (windows,)."""

    def __post_init__(self) -> None:
        """Replace characters that are not allowed in the name of a registered model, and shorten a long name."""
        object.__setattr__(self, "name", _allowed_name(self.name))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one example, for data with one input."""
        shape: tuple[int, ...] = self.train[0].shape
        return shape[1:]

    def examples(self, config: Config) -> int:
        """Return the number of training examples that are used in an epoch."""
        return min(config.limit or len(self.train[1]), len(self.train[1]))

    def batch_size(self, config: Config) -> int:
        """Return the number of examples per gradient step: as configured, or fewer for `fewest_steps` per epoch."""
        return min(config.batch_size, max(1, self.examples(config) // config.fewest_steps))

    def steps(self, config: Config) -> int:
        """Return the number of gradient steps per epoch: the number of whole batches."""
        return self.examples(config) // self.batch_size(config)


@dataclass(frozen=True)
class Trained:
    """A trained network with its history and test predictions, for the figures of a run."""

    model: keras.Model
    data: Data
    history: Mapping[str, Sequence[float]]
    """Metrics by name, one value per epoch."""
    best_epoch: int
    """Counted from 1."""
    predictions: Array
    """Predictions for the test set, as `Task.predictions_for` returns them."""
    config: Any
    """The app's settings."""


@dataclass(frozen=True, kw_only=True)
class SavedModel:
    """A saved model, with the facts about its training data that are needed to read new examples."""

    model: keras.Model
    label: str
    """Registered name and version, run id, or path."""
    data: str
    """Name of the training data set."""
    kind: Kind
    outputs: tuple[str, ...]
    settings: Mapping[str, Any]
    formats: Formats = Formats()
    digest: str = ""
    task: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the app's task, including values chosen on the validation set."""
    run_id: str | None = None
    """Id of the run that trained it."""


@dataclass(frozen=True)
class Version:
    """A newly registered version of a model."""

    name: str
    number: int
    champion: int | None
    """The version that is champion now; None if there is none."""
