"""How each kind of input is looked at when an answer is explained: its parts, their names, and what they count from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from common import features, scoring, text, tracking, training
from common.app import App, Array, Inputs, Stored

SQUARES = 7
"""Squares along each side of a picture, one of which is occluded at a time."""
STEP = "step "
"""What the number of a sequence's step comes after."""


@dataclass(frozen=True)
class View:
    """How one kind of input is looked at: what its numbers are counted from, and which of them go together."""

    baseline: Array
    """What the numbers are counted from; of the shape of all examples."""
    words: str
    """The baseline's name."""
    groups: Array
    """The part that each number of an example belongs to, counted from 0."""
    parts: Sequence[Sequence[str]]
    """What the parts of each example are called; those that are not there, as after a sentence's end, have no name."""


def view(
    app: App, saved: tracking.Saved, scored: scoring.Scoring, inputs: Inputs, x: Array, context: Sequence[Array]
) -> View:
    """The view that fits the kind of `inputs`, which as numbers are `x`."""
    if isinstance(inputs, dict):
        return _of_table(app, saved, scored, inputs, x)
    if inputs.dtype == object:
        return _of_text(inputs, x)
    return _of_sequence(x, context) if inputs.dtype.kind == "f" else _of_picture(x)


def _of_picture(x: Array) -> View:
    """Squares, as rows and columns of pixels counted from 0, over a black picture."""
    height, width = x.shape[1:3]
    rows, columns = (np.arange(length) * SQUARES // length for length in (height, width))
    squares = rows[:, None] * SQUARES + columns
    names = [
        f"rows {_span(rows == row)}, columns {_span(columns == column)}"
        for row in range(SQUARES)
        for column in range(SQUARES)
    ]
    groups = squares if x.ndim == 3 else np.repeat(squares[..., None], x.shape[-1], axis=-1)
    return View(np.zeros_like(x), "a black picture", groups, [names] * len(x))


def _span(chosen: Array) -> str:
    places = np.flatnonzero(chosen)
    return f"{places[0]}-{places[-1]}"


def _of_table(app: App, saved: tracking.Saved, scored: scoring.Scoring, inputs: dict[str, Array], x: Array) -> View:
    """Columns, all features of one together, over the mean of the training set."""
    data = training.data_of(app, saved)
    origins = [column for column, _ in features.made_of(data)]
    columns = list(dict.fromkeys(origins))
    mean = scored.enter(data.train[0])[0].mean(axis=0, dtype="float64")
    baseline = np.broadcast_to(mean.astype("float32"), x.shape)
    groups = np.array([columns.index(name) for name in origins])
    parts = [[f"{name} = {_cell(inputs[name][row])}" for name in columns] for row in range(len(x))]
    return View(baseline, "the mean of the training set", groups, parts)


def _cell(value: Any) -> str:
    text = value if isinstance(value, str) else "" if np.isnan(value) else f"{value:.4g}"
    return text or "missing"


def _of_sequence(x: Array, context: Sequence[Array]) -> View:
    """Steps: of a series over its window's mean; of sequences with a mask, which end, over zeros."""
    steps = x.shape[1]
    groups = np.repeat(np.arange(steps)[:, None], x.shape[2], axis=1)
    if context:
        parts = [[f"{STEP}{step}" if there else "" for step, there in enumerate(mask)] for mask in context[0]]
        return View(np.zeros_like(x), "zeros", groups, parts)
    baseline = np.broadcast_to(x.mean(axis=1, keepdims=True), x.shape)
    return View(
        baseline, "the window's own mean", groups, [[f"{STEP}{step - steps}" for step in range(steps)]] * len(x)
    )


def _of_text(sentences: Array | Stored, x: Array) -> View:
    """Words, as many as the network reads, over embeddings of zero."""
    length, numbers = x.shape[1:]
    read = [text.words(sentence)[:length] for sentence in sentences[:]]
    parts = [words + [""] * (length - len(words)) for words in read]
    groups = np.repeat(np.arange(length)[:, None], numbers, axis=1)
    return View(np.zeros_like(x), "embeddings of zero, words that say nothing", groups, parts)
