"""The types that an app is made of: its settings, its data, what it is asked for, and the app itself."""

import inspect
import operator
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, Self

import numpy as np
from annotated_types import Ge, Gt, Lt

from common.choices import Optimizer, Schedule
from common.errors import UserError

if TYPE_CHECKING:
    import keras
    import pandas as pd
    from _typeshed import DataclassInstance
    from matplotlib.figure import Figure

    from common.tasks import Task, Trained
    from common.tracking import Saved

Count = Annotated[int, Ge(1)]
Positive = Annotated[float, Gt(0)]
NotNegative = Annotated[float, Ge(0)]
Fraction = Annotated[float, Ge(0), Lt(1)]
Share = Annotated[float, Gt(0), Lt(1)]

Array = np.ndarray[Any, Any]


class Stored(Protocol):
    """Examples that stay on the disk: to be used as an array (examples, …), they are read when they are indexed."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Their number and the shape of one."""

    @property
    def dtype(self) -> "np.dtype[Any]":
        """Type of their numbers."""

    def __len__(self) -> int: ...

    def __getitem__(self, indices: Any) -> Array: ...


Inputs = Array | Stored | dict[str, Array]
"""Examples: one array, or one a named input of the network, each (examples, …)."""
Pair = tuple[Any, Any]
"""`Inputs` and targets (examples, …), an array or `Stored`."""


@dataclass(frozen=True)
class Config:
    """Settings that every app has; an app's own class adds to them. The fields are its flags and logged parameters."""

    seed: Annotated[int, Ge(0), Lt(2**32)] = 0
    """Draws the split, the initial weights, the order of examples, dropout: same seed, same numbers."""
    epochs: Count = 20
    """Passes over the training set, at most."""
    batch_size: Count = 128
    """Examples a gradient step; the size of the training set or more makes it batch gradient descent, 1 stochastic."""
    validation: Share = 0.1
    """Share of the training set that is kept apart to choose the best epoch and the champion."""
    limit: Annotated[int, Ge(0)] = 0
    """Training examples to use, for a quick look; 0 for all."""
    patience: Count = 10
    """Epochs without a better validation figure, or training loss to keep the last, after which training stops."""
    keep: Literal["best", "last"] = "best"
    """Weights that training ends with: the best epoch's by validation, or the last one's, for an optimum."""
    optimizer: Optimizer = "adam"
    """Rule that turns gradients into steps."""
    learning_rate: Positive = 0.001
    """Initial learning rate a0."""
    momentum: Fraction = 0.9
    """Share of the last step that the next one keeps; for the optimiser `momentum`."""
    schedule: Schedule = "constant"
    """Learning rate over epochs e: a0; a0 / (1 + decay e); a0 decay^e; a0 decay / (e + 1); half a cosine down to 0;
    a0, times decay whenever half of --patience passed without a better validation figure."""
    decay: Positive = 0.95
    """The constant of the schedules inverse, exponential, k_over_epoch and plateau."""

    def __post_init__(self) -> None:
        """Hold every field to its bounds, as `check_bounds` does."""
        check_bounds(self)

    @classmethod
    def restore(cls, settings: Mapping[str, Any]) -> Self:
        """The settings that were recorded with a model, JSON's lists made tuples again."""
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()
        }
        return cls(**values)


def check_bounds(settings: "DataclassInstance") -> None:
    """Hold every field to the bounds in its annotation.

    Raises:
        UserError: naming the flag, the bound and the value.
    """
    hints = typing.get_type_hints(type(settings), include_extras=True)
    for field in fields(settings):
        value, annotation = getattr(settings, field.name), hints[field.name]
        # A tuple such as `hidden` carries the bounds in its element type.
        element, values = (typing.get_args(annotation)[0], value) if isinstance(value, tuple) else (annotation, [value])
        for bound in getattr(element, "__metadata__", ()):
            if isinstance(bound, Gt | Ge | Lt) and (words := _broken(bound, values)):
                raise UserError(f"--{field.name.replace('_', '-')} must be {words}")


def _broken(bound: Gt | Ge | Lt, values: Sequence[Any]) -> str | None:
    """Words for the first value outside `bound`, or None where all are inside; NaN is outside every bound."""
    match bound:
        case Gt(gt=limit):
            word, inside = "more than", operator.gt
        case Ge(ge=limit):
            word, inside = "at least", operator.ge
        case Lt(lt=limit):
            word, inside = "less than", operator.lt
    return next((f"{word} {limit}, not {value}" for value in values if not inside(value, limit)), None)


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
    fresh: Callable[[int], Pair] | None = None
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
class Question:
    """What `predict` is asked, beside files; an app's own class adds flags, and answers by them."""

    def __post_init__(self) -> None:
        """Hold every field to its bounds, as `check_bounds` does."""
        check_bounds(self)

    def check(self, app: "App", files: Sequence[str]) -> None:
        """See that something is asked, before anything is loaded.

        Raises:
            UserError: where nothing is.
        """
        if not files:
            raise UserError(f"predict needs files; see python -m apps.{app.name} predict --help")

    def read(self, app: "App", files: Sequence[str], saved: "Saved") -> tuple[list[str], Inputs]:
        """A name an example, and the examples as the `saved` model takes them."""
        return app.read_inputs(files, saved)

    def answers(
        self, task: "Task", names: Sequence[str], _inputs: Inputs, predictions: Array, outputs: Sequence[str]
    ) -> "pd.DataFrame":
        """What is written down: the task's answers, a row an example, the example's name first."""
        answers = task.answers(predictions, outputs)
        answers.insert(0, "input", names)
        return answers


@dataclass(frozen=True)
class App:
    """An application: settings, data, network; and how to read what a user wants predicted."""

    config: type[Config]
    load_data: Callable[[Any], Data]
    build_model: Callable[[Any, Data], "keras.Model"]
    read_inputs: Callable[[Sequence[str], "Saved"], tuple[list[str], Inputs]]
    """(what the user gave to predict, the saved model) to (a name an answer, the inputs as the model takes them)."""
    baseline: Callable[[Any, Data], Any]
    """(settings, data) to an unfitted scikit-learn estimator that the network has to beat, or several by name."""
    task: "Task"
    """How the network's answers are compared, measured, drawn and written down."""
    tables: Callable[["Trained"], Iterable[tuple[str, "pd.DataFrame"]]] = lambda _trained: ()
    """What can be read off a trained network, name by name: shown by `train`, and kept with the run."""
    pretrain: Callable[["keras.Model", Any, Data], Iterable[tuple[str, "Figure"]]] = lambda _model, _config, _data: ()
    """(network, settings, data): what is done to a network before it is trained, and pictures of what came of it."""
    question: type[Question] = Question
    """Further flags of `predict`, and what they mean."""

    @property
    def name(self) -> str:
        """The app's file name, which is also how it is run and tagged: `python -m apps.NAME`."""
        return Path(inspect.getfile(self.config)).stem
