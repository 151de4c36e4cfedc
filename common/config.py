"""The settings that every app has, their bounds, and the names that a user may choose from."""

import operator
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from annotated_types import Ge, Gt, Lt

from common.errors import UserError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


Count = Annotated[int, Ge(1)]
Positive = Annotated[float, Gt(0)]
NotNegative = Annotated[float, Ge(0)]
Fraction = Annotated[float, Ge(0), Lt(1)]
Share = Annotated[float, Gt(0), Lt(1)]

Activation = Literal[
    "threshold", "sigmoid", "tanh", "scaled_tanh", "relu", "leaky_relu", "prelu", "elu", "softmax", "arctan", "sqnl"
]

Initializer = Literal["he_normal", "xavier", "normal"]

Loss = Literal[
    "cross_entropy",
    "categorical_cross_entropy",
    "binary_cross_entropy",
    "squared_error",
    "summed_squared_error",
    "half_squared_error",
    "absolute_error",
    "hinge",
]

Metric = Literal[
    "mean_squared_error",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "cosine_proximity",
    "binary_accuracy",
    "categorical_accuracy",
    "sparse_categorical_accuracy",
    "top_5_accuracy",
    "true_class_probability",
]

Normalization = Literal["min_max", "standard_score", "none"]
Optimizer = Literal["sgd", "momentum", "rmsprop", "adam"]
Schedule = Literal["constant", "inverse", "exponential", "k_over_epoch", "cosine", "plateau"]
Split = Literal["published", "by_size", "70:30", "60:20:20", "98:1:1", "99.5:0.25:0.25"]
Visible = Literal["bernoulli", "gaussian"]
Mode = Literal["min", "max"]
FoldStrategy = Literal["stratified", "shuffled", "in order"]


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
    restore: Literal["best", "last"] = "best"
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
    def from_dict(cls, settings: Mapping[str, Any]) -> Self:
        """Return the settings that were recorded with a model; JSON's lists become tuples again."""
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()
        }
        return cls(**values)


@dataclass(frozen=True)
class FineTuneConfig(Config):
    """Settings of an app whose network can start from a trained model."""

    init_from: str | None = None
    """Trained model to go on from, named as --model is: all its layers but the last, which is drawn anew."""


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
                raise UserError(f"`{field.name}` must be {words}")


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
