"""Draw the trials of a search."""

import textwrap
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure

from common.data import Array
from common.plots.panels import captioned, finish, subplots

MOST_NUMBERS, MOST_NAMES = 4, 8
"""Largest numbers of numbers, and of other values, that are named on an axis; of more, the ends are."""


def best_so_far(scores: Sequence[float | None], monitor: str, mode: Literal["min", "max"]) -> Figure:
    """Draw the scores of a search's trials and the best score so far.

    Args:
        scores: Score of each trial in the order in which they ended; None if the trial failed.
        monitor: Name of the score.
        mode: Whether the lowest or the highest score is best.
    """
    figure, [[axes]] = subplots(1, 1, 8, 4.5)
    values = np.array([np.nan if score is None else score for score in scores])
    numbers = np.arange(1, len(values) + 1)
    best = (np.fmax if mode == "max" else np.fmin).accumulate(values)
    axes.plot(numbers, values, "o", label="trial")
    axes.step(numbers, best, where="post", label="best so far")
    finish(axes, integers=True, xlabel="trials that ended", ylabel=monitor, title=f"best of {len(values)} trials")
    return captioned(figure, "Score of each trial in the order in which the trials ended, and the best score so far.")


def parallel_coordinates(settings: pd.DataFrame, scores: Sequence[float], monitor: str) -> Figure:
    """Draw each trial of a search as a line through the values of its settings, coloured by its score.

    Args:
        settings: The settings that vary, one column each, one row per trial, the best first.
        scores: Score of each trial, finite.
        monitor: Name of the score.
    """
    figure, [[axes]] = subplots(1, 1, max(6.0, 1.4 * (len(settings.columns) + 1)), 4.5)
    columns = {**settings, monitor: pd.Series(scores)}
    places = np.column_stack([_axis(axes, place, column) for place, column in enumerate(columns.values())])
    low, high = min(scores), max(scores)
    shades = (np.array(scores) - low) / ((high - low) or 1)
    for place, shade in reversed([*zip(places, shades, strict=True)]):  # the best is drawn last, on top
        axes.plot(place, color=colormaps["viridis"](0.95 * shade), linewidth=1, alpha=0.7)
    axes.plot(places[0], color="C3", linewidth=2.5, label="best trial")
    axes.set_xticks(range(len(columns)), [*columns])
    axes.tick_params(axis="x", length=0, pad=14)
    axes.set(yticks=[], xlim=(-0.3, len(columns) - 0.3), ylim=(-0.06, 1.06))
    for side in axes.spines.values():
        side.set_visible(False)
    figure.legend(loc="outside upper right")
    return captioned(
        figure,
        f"Settings that vary between the trials, and {monitor}. Each line is a trial, which is lighter if {monitor} is "
        "higher. The red line is the best trial.",
    )


def _axis(axes: Any, place: int, values: pd.Series) -> Array:
    """Draw a vertical axis for values at the horizontal `place`, and return their heights on it, from 0 to 1.

    Positive numbers over one order of magnitude or more have a logarithmic axis. Values that are not numbers are at
    equal distances.
    """
    axes.axvline(place, color="grey", linewidth=0.8, zorder=0)
    kinds = sorted(set(values)) if len({type(value) for value in values}) == 1 else sorted(set(values), key=str)
    most = MOST_NAMES
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        most = MOST_NUMBERS
        positions = np.array(kinds, "float64")
        if positions[0] > 0 and positions[-1] >= 10 * positions[0]:
            positions = np.log(positions)
    else:
        positions = np.arange(len(kinds), dtype="float64")
    heights = (positions - positions[0]) / ((positions[-1] - positions[0]) or 1)
    named = range(len(kinds)) if len(kinds) <= most else (0, len(kinds) - 1)
    for index in named:
        style = {"fontsize": 8, "va": "center", "parse_math": False, "zorder": 4}
        box = {"facecolor": "white", "alpha": 0.8, "pad": 1, "lw": 0}
        axes.text(place + 0.03, heights[index], _value_name(kinds[index]), bbox=box, **style)
    return np.array([heights[kinds.index(value)] for value in values])


def _value_name(value: Any) -> str:
    match value:
        case float():
            return f"{value:.4g}"
        case tuple():
            value = " ".join(map(str, value))
    return textwrap.shorten(str(value), 24, placeholder=" …")
