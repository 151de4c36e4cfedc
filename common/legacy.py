"""Read runs, models and flags of release 0.1.0, which used other names. Kept for one release."""

from __future__ import annotations

import ast
import typing
from collections.abc import Mapping, Sequence
from types import UnionType
from typing import Any, Literal, Union

import keras

from common.data import Formats, ImageFormat, Kind

SETTINGS = {"keep": "restore"}
CELLS = {"lstm": "LSTM", "gru": "GRU", "rnn": "SimpleRNN"}
FORECAST = {"first_window": "within", "calendar": False, "linear": False}
"""Settings of a forecast that was recorded before there were choices."""
TASK_FIELDS = {"objective": "monitor", "direction": "mode", "choose_threshold": "tune_threshold"}
IMAGE_FORMATS = {"mnist": ImageFormat(28, 20), "fashion_mnist": ImageFormat(28, 28), "digits": ImageFormat(8, 8)}
TAGS = {"objective": "monitor", "direction": "mode", "figure": "metric", "better": "metric_mode"}


def settings(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Return recorded settings with their current names, and those that are newer than the run."""
    renamed = {SETTINGS.get(name, name): value for name, value in recorded.items()}
    if "gibbs_steps" in renamed and "weight_decay" in renamed and "form" not in renamed:
        renamed["form"] = "softmax"
    if "anchor" in renamed and "first_window" not in renamed:
        renamed |= FORECAST
    return renamed | ({"cell": CELLS.get(renamed["cell"], renamed["cell"])} if "cell" in renamed else {})


def parameters(recorded: Mapping[str, str], hints: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that MLflow recorded as text, with their current names and the types of `hints`."""
    return {
        name: _value(text, hints[name]) if name in hints and isinstance(text, str) else text
        for name, text in settings(recorded).items()
    }


def _value(text: str, hint: Any) -> Any:
    """Return the value of a setting of type `hint` that MLflow recorded as `text`."""
    members = typing.get_args(hint) if typing.get_origin(hint) in (Union, UnionType) else (hint,)
    literals = (typing.get_args(one)[0] for one in members if typing.get_origin(one) is Literal)
    words = str in members or any(isinstance(one, str) for one in literals)
    if words and not (text == "None" and type(None) in members):
        return text
    return ast.literal_eval(text)


def task(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a recorded task with their current names."""
    return {TASK_FIELDS.get(name, name): value for name, value in recorded.items()}


def tags(recorded: Mapping[str, str]) -> dict[str, str]:
    """Return the tags of a run with their current names."""
    return {TAGS.get(name, name): value for name, value in recorded.items()}


def kind(model: keras.Model, app: str) -> Kind:
    """Return the kind of a model's data, derived from its inputs."""
    first = model.inputs[0]
    if app == "rbm_recommender":
        return "ratings"
    if not isinstance(model, keras.Sequential) and isinstance(model.input, dict):
        return "table"
    if first.dtype in ("string", "uint8"):
        return "text" if first.dtype == "string" else "image"
    return "sequence" if len(first.shape) == 3 else "vector"


def formats(kind: Kind, data: str) -> Formats:
    """Return the formats of the files of a data set, of which only those of images were recorded, by their name."""
    return Formats(image=IMAGE_FORMATS.get(data) if kind == "image" else None)


def flags(arguments: Sequence[str]) -> list[str]:
    """Return command-line arguments with the current flags and choices. `predict` has its own --keep."""
    renamed: list[str] = []
    for argument in arguments:
        flag, equals, value = argument.partition("=")
        name = flag.removeprefix("--")
        if flag.startswith("--") and name in SETTINGS and arguments[0] not in ("predict", "request"):
            argument = f"--{SETTINGS[name]}{equals}{value}"
        elif renamed[-1:] == ["--cell"]:
            argument = CELLS.get(argument, argument)
        renamed.append(argument)
    return renamed
