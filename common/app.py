"""The application: settings, data, network, task and the options of its `predict` command."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from common.config import Config, check_bounds
from common.data import Array, Data, Examples, Pair, SavedModel
from common.errors import UserError
from common.preprocessing import csv_file, images, storage, table_rows, text

if TYPE_CHECKING:
    import keras
    import pandas as pd
    from matplotlib.figure import Figure

    from common.result import Result, SearchResult
    from common.tasks import Task


@dataclass(frozen=True)
class PredictOptions:
    """Options of `predict` in addition to its files. A subclass adds flags and changes the answers."""

    keep: tuple[str, ...] = ()
    """Columns of the files to copy beside the answers, such as an id."""
    strict: bool = False
    """Refuse values that training never saw, instead of a note."""

    def __post_init__(self) -> None:
        """Check the bounds of every field."""
        check_bounds(self)

    def check(self, app: App, files: Sequence[str]) -> None:
        """Check the arguments before the model is loaded.

        Raises:
            UserError: if there are no files.
        """
        if not files:
            raise UserError(f"predict needs files; see python -m apps.{app.name} predict --help")

    def read(self, app: App, files: Sequence[str], saved: SavedModel) -> Examples:
        """Read the examples for the `saved` model.

        Raises:
            UserError: if they cannot be read, lack a column to keep, or have unseen values and `strict` is set.
        """
        examples = app.examples(files, saved)
        if self.strict and examples.unseen:
            raise UserError("\n".join(examples.unseen))
        if self.keep:
            if examples.rows is None:
                raise UserError(f"`keep` {' '.join(self.keep)}: the files are not all tables with columns")
            csv_file.require(Path(files[0]), examples.rows, self.keep)
        return replace(examples, notes=(*examples.notes, *examples.unseen))

    def answers(self, task: Task, examples: Examples, predictions: Array, outputs: Sequence[str]) -> pd.DataFrame:
        """Return a table with one row per name: the name, the columns to keep, then the task's answers.

        If there are unusable examples, their answers are empty, and another column gives the reasons.
        """
        answers = task.answers(predictions, outputs)
        if unusable := examples.unusable:
            answers.index = [row for row in range(len(examples.names)) if row not in unusable]
            answers = answers.reindex(range(len(examples.names)))
            answers.insert(0, "problem", [unusable.get(row, "") for row in answers.index])
        if examples.rows is not None:
            for name in reversed(self.keep):
                column = f"{name} (kept)" if name in (*answers.columns, "input") else name
                answers.insert(0, column, examples.rows[name].tolist())
        answers.insert(0, "input", list(examples.names))
        return answers


def read_by_kind(files: Sequence[str], saved: SavedModel) -> Examples:
    """Read images, rows of CSV files or sentences, by the kind of the saved model's data.

    Raises:
        UserError: if a file cannot be read or does not fit the model.
    """
    match saved.kind:
        case "image":
            return images.read(files, saved)
        case "table":
            return table_rows.read_rows(files, saved)
        case "text":
            return text.read_sentences(files, saved)
        case _:
            raise TypeError(f"an app with data of the kind {saved.kind} needs its own `read_inputs`")


class Chosen(Protocol):
    """A saved model, loaded or not, with the values of the task that were chosen on the validation set."""

    @property
    def task(self) -> Mapping[str, Any]:
        """The values by name."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs."""


@dataclass(frozen=True)
class Published:
    """A published result for the app's data and network."""

    result: str
    """The result and its source."""
    settings: Mapping[str, Any]
    """The settings that it depends on. A run with these values can be compared with it."""


class PartFit(Protocol):
    """Function by which an app's `pretrain` trains a part of its network: a compiled network of its own."""

    def __call__(self, model: keras.Model, pair: Pair, name: str, epochs: int, /) -> None:
        """Train `model` on the examples in `pair`. After an interruption, it goes on where it was.

        Args:
            model: Compiled network; trained in place.
            pair: Inputs and targets.
            name: Name of the part, different for each part.
            epochs: Number of epochs.
        """


@dataclass(frozen=True, kw_only=True)
class App:
    """An application: settings, data, network and task."""

    settings: type[Config]
    """Class of the settings. Its fields are the flags of `train` and the recorded parameters."""
    load_data: Callable[[Any], Data]
    """Settings -> data."""
    build_model: Callable[[Any, Data], keras.Model]
    """(settings, data) -> compiled network."""
    task: Task
    """Type of the task: how predictions are scored, drawn and written."""
    read_inputs: Callable[..., Examples] = read_by_kind
    """(arguments of `predict`, saved model) -> examples for it."""
    baseline: Callable[[Any, Data], Any] | None = None
    """(settings, data) -> unfitted scikit-learn estimator, or several by name. Default: `baselines.default`."""
    tables: Callable[[keras.Model, Data], Iterable[tuple[str, pd.DataFrame]]] = lambda _model, _data: ()
    """(trained network, data) -> named tables of its weights, which `train` prints and saves with the run."""
    pretrain: Callable[[keras.Model, Any, Data, PartFit], Iterable[tuple[str, Figure]]] = lambda *_: ()
    """(network, settings, data, fit): trains parts of the network before `fit`, and yields named figures."""
    calibrate: Callable[[keras.Model, Any, Data], None] | None = None
    """(network, settings, data): sets values of the trained network by the validation set, after `fit`.

    The metrics on the validation set are those before it. A search trains such an app, with the best settings, on the
    training set alone.
    """
    animate: Callable[[Figure, keras.Model, Data], None] | None = None
    """(empty figure, network, data): draws the network as a frame of the animation of its training."""
    fine_tune: Callable[[SavedModel, Any, Data], keras.Model] | None = None
    """(trained model, settings, data) -> compiled network that starts from it, for settings with `init_from`."""
    layout: Callable[[Any, Sequence[Any]], keras.distribution.LayoutMap | None] = lambda _config, _devices: None
    """(settings, devices) -> how devices on JAX divide the variables, if not every device has all of them. The first
    axis of its mesh divides the batches."""
    features: str = ""
    """Name of the layer with the features that `group` sorts; by default the layer before the last with weights."""
    pretrained: Callable[[], SavedModel] | None = None
    """() -> a network from elsewhere, with that layer, which `group` can use before any training."""
    predict_options: type[PredictOptions] = PredictOptions
    """Class of the options of `predict`."""
    published: Sequence[Published] = ()
    """Published results, for the page of a run, which shows the first one with the settings of the run."""

    @property
    def name(self) -> str:
        """Name of the app's file, without .py."""
        return Path(inspect.getfile(self.settings)).stem

    def examples(self, files: Sequence[str], saved: SavedModel, **options: Any) -> Examples:
        """Read the arguments of `predict`, after the download of those in an object storage.

        Raises:
            UserError: as `storage.local` and `read_inputs`, which takes the `options`.
        """
        paths = list(map(storage.local, files))
        examples = self.read_inputs(paths, saved, **options)
        return replace(examples, names=storage.named(examples.names, files, paths))

    def train(self, settings: Config | None = None) -> Result:
        """Train the network, evaluate it once on the test set, record the run and register the model, as in a notebook.

        Args:
            settings: The settings, an instance of the app's class; by default those of the class.

        Returns:
            The result, with the trained network as `model`, the metrics and the run's id.

        Raises:
            UserError: if the data cannot be loaded, or the store cannot be written.
        """
        # Imported by its name, because training imports this file and imports run one way.
        training = importlib.import_module("common.training")
        result: Result = training.train(self, settings or self.settings())
        return result

    def search(self, settings: Mapping[str, Any] | None = None, **options: Any) -> SearchResult:
        """Search the settings in the app's tuning file, and train with the best ones, as `python -m tuning.NAME`.

        Args:
            settings: Values of settings, by name, that are the same in all trials.
            **options: Options of the search by name, as `trials=20` or `algorithm="bayesian"`.

        Returns:
            The result, with the best settings, the trials, and the network that was trained with the best settings.

        Raises:
            UserError: if an option is wrong, the data cannot be loaded, or every trial failed.
        """
        session = importlib.import_module("tuning.search.session")  # as `training` above
        result: SearchResult = session.search(self, settings or {}, options)
        return result

    @property
    def summary(self) -> str:
        """First sentence of the docstring of the app's file; empty if it has none."""
        return (inspect.getdoc(inspect.getmodule(self.settings)) or "").partition("\n")[0]

    def for_data(self, data: Data) -> App:
        """Return the app with its task for `data`."""
        return replace(self, task=self.task.for_outputs(data.outputs).for_targets(data.train[1]))

    def published_for(self, config: Config) -> str:
        """Return the published result for settings; empty if there is none."""
        for known in self.published:
            if all(getattr(config, name) == value for name, value in known.settings.items()):
                return known.result
        return ""

    def settings_of(self, saved: SavedModel) -> Any:
        """Return the settings that `saved` was trained with."""
        return self.settings.from_dict(saved.settings)

    def task_of(self, saved: Chosen) -> Task:
        """Return the task with the values chosen on the validation set for `saved`."""
        return replace(self.task.for_outputs(saved.outputs), **saved.task)

    def data_of(self, saved: SavedModel) -> Data:
        """Load the training data of `saved`.

        Raises:
            UserError: if the data is not available or has changed.
        """
        data = self.load_data(self.settings_of(saved))
        if data.digest != saved.digest:
            raise UserError(f"{data.name} has changed since {saved.label} was trained: its test set now differs")
        return data
