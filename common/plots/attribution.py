"""Draw attributions from arrays.

Red parts raise the score, blue parts lower it, white is zero: every scale of signed numbers is centred at zero.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import CenteredNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from common.data import Array
from common.plots.colours import SIGNED, by_sign

if TYPE_CHECKING:
    import pandas as pd


METHODS = ("integrated gradients", "occlusion")
LARGEST = 12
"""Largest number of columns of a table in a panel."""
LINE = 105
"""Characters per line of words."""
CHARACTER = 6.02 / 72
"""Width of a ten-point monospace character, in inches."""


def images(
    inputs: Array,
    titles: Sequence[str],
    gradients: Array,
    integrated: Array,
    squares: Array,
    occluded: Array,
    maps: Array | None,
) -> Figure:
    """Draw images and their attributions: one row per image.

    Args:
        inputs: Images (n, height, width) or (n, height, width, colours).
        titles: A title for each image.
        gradients: Absolute gradients, of the inputs' shape.
        integrated: Integrated gradients, of the inputs' shape.
        squares: Integrated gradients by square, (n, rows, columns).
        occluded: Occlusion by square, (n, rows, columns), drawn with the colour scale of `squares`.
        maps: Grad-CAM (n, rows, columns), drawn over the image; None without.
    """
    names = ["image", "absolute gradient", "integrated gradients", "the same, by square", "occlusion, by square"]
    names += [] if maps is None else ["Grad-CAM"]
    figure = Figure(figsize=(2.0 * len(names) + 0.6, 2.25 * len(inputs) + 0.6), layout="constrained")
    for index, row in enumerate(figure.subplots(len(inputs), len(names), squeeze=False)):
        height, width = inputs.shape[1:3]
        extent = (-0.5, width - 0.5, height - 0.5, -0.5)
        shared = CenteredNorm(0.0, max(abs(squares[index]).max(), abs(occluded[index]).max()) or 1.0)
        signed: dict[str, Any] = {"cmap": SIGNED, "extent": extent}
        shown = [
            row[0].imshow(inputs[index], cmap="gray_r"),
            row[1].imshow(_over_colours(gradients[index], np.max), cmap="Reds", vmin=0),
            row[2].imshow(summed := _over_colours(integrated[index], np.sum), norm=_centred(summed), **signed),
            row[3].imshow(squares[index], norm=shared, **signed),
            row[4].imshow(occluded[index], norm=shared, **signed),
        ]
        if maps is not None:
            row[5].imshow(inputs[index], cmap="gray_r")
            row[5].imshow(maps[index], cmap="Reds", alpha=0.6, extent=extent, interpolation="bilinear", vmin=0)
        for axes in row[1:5]:
            axes.contour(_grey(inputs[index]), levels=[0.5], colors="grey", linewidths=0.6)
        for axes, name in zip(row, names, strict=True):
            axes.set(xticks=[], yticks=[])
            if index == 0:
                axes.set_title(name, fontsize=9)
        row[0].set_ylabel(_short(titles[index]), fontsize=8, parse_math=False)
        figure.colorbar(shown[2], ax=row[2], shrink=0.8).ax.tick_params(labelsize=6)
        figure.colorbar(shown[4], ax=row[4], shrink=0.8).ax.tick_params(labelsize=6)
    figure.suptitle("red raises the log-odds of the class, blue lowers them", fontsize=10)
    return figure


def columns(parts: Sequence[Sequence[str]], titles: Sequence[str], integrated: Array, occluded: Array) -> Figure:
    """Draw the attributions of a table's columns, the largest first: one panel per row of the table.

    Args:
        parts: Names of the columns, for each row.
        titles: A title for each row.
        integrated: Integrated gradients (n, columns).
        occluded: Occlusion (n, columns).
    """
    shown = min(LARGEST, integrated.shape[1])
    figure = Figure(figsize=(11, (0.32 * shown + 1.1) * -(-len(titles) // 2)), layout="constrained")
    panels = figure.subplots(-(-len(titles) // 2), min(2, len(titles)), squeeze=False).ravel()
    for axes in panels[len(titles) :]:
        axes.axis("off")
    for axes, names, title, *both in zip(panels, parts, titles, integrated, occluded, strict=False):
        largest = np.argsort(-abs(both[0]), kind="stable")[:shown]
        place = np.arange(shown)
        axes.barh(place - 0.2, both[0][largest], 0.4, color=by_sign(both[0][largest]), label=METHODS[0])
        axes.barh(place + 0.2, both[1][largest], 0.4, color=by_sign(both[1][largest]), alpha=0.45, label=METHODS[1])
        _name_bars(axes, [_short(names[index], 34) for index in largest])
        axes.set_title(_short(title, 60), fontsize=9, parse_math=False)
    figure.suptitle("contribution of a column: integrated gradients; below, paler: occlusion", fontsize=10)
    return figure


def steps(
    sequences: Array, times: Sequence[Array], titles: Sequence[str], integrated: Array, occluded: Array
) -> Figure:
    """Draw sequences and, below each, the attributions of its steps.

    Args:
        sequences: Sequences (n, steps, features).
        times: Numbers of the steps of each sequence; steps beyond them are padding and are not drawn.
        titles: A title for each sequence.
        integrated: Integrated gradients (n, steps).
        occluded: Occlusion (n, steps).
    """
    figure = Figure(figsize=(11, 3.4 * len(titles)), layout="constrained")
    panels = figure.subplots(2 * len(titles), squeeze=False, height_ratios=[1.2, 1] * len(titles)).ravel()
    for index, (title, time) in enumerate(zip(titles, times, strict=True)):
        above, below = panels[2 * index : 2 * index + 2]
        length = len(time)
        for feature, values in enumerate(sequences[index, :length].T):
            above.plot(time, values, marker=".", label=f"input {feature}")
        above.set_title(title, fontsize=9, parse_math=False)
        above.grid(alpha=0.3)
        if sequences.shape[2] > 1:
            above.legend(fontsize=7)
        for values, side, alpha in ((integrated[index, :length], -0.2, 1.0), (occluded[index, :length], 0.2, 0.45)):
            below.bar(time + side, values, 0.4, color=by_sign(values), alpha=alpha)
        below.axhline(0, color="black", linewidth=0.8)
        below.set(xlabel="step", ylabel="contribution", xlim=above.get_xlim())
        below.xaxis.set_major_locator(MaxNLocator(integer=True))
        below.grid(alpha=0.3)
        shades = [Patch(facecolor="grey", label=METHODS[0]), Patch(facecolor="grey", alpha=0.45, label=METHODS[1])]
        below.legend(handles=shades, fontsize=7)
        above.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.suptitle("contribution of a step: red raises the score, blue lowers it", fontsize=10)
    return figure


def words(parts: Sequence[Sequence[str]], titles: Sequence[str], integrated: Array, occluded: Array) -> Figure:
    """Draw each sentence twice, its words coloured by their attributions.

    Args:
        parts: Words of each sentence; "" is padding.
        titles: A title for each sentence.
        integrated: Integrated gradients (n, words).
        occluded: Occlusion (n, words).
    """
    drawn: list[tuple[float, float, str, Any]] = []
    line = 2.4
    for names, title, *both in zip(parts, titles, integrated, occluded, strict=True):
        norm = _centred(np.concatenate(both))
        drawn.append((0, line, title, None))
        for method, values in zip(METHODS, both, strict=True):
            line += 1.5
            drawn.append((0, line, method, None))
            place = indent = len(METHODS[0]) + 2
            for name, value in zip(names, values, strict=True):
                if name and place + len(name) > indent + LINE:
                    place, line = indent, line + 1.5
                if name:
                    drawn.append((place, line, name, colormaps[SIGNED](norm(value))))
                    place += len(name) + 1
        line += 2.2
    width = LINE + len(METHODS[0]) + 6
    figure = Figure(figsize=(width * CHARACTER, line * 0.17))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(-2, width - 2), ylim=(line, 0))
    axes.axis("off")
    for x, y, name, colour in drawn:
        style: dict[str, Any] = {"family": "monospace", "fontsize": 10, "va": "center", "parse_math": False}
        if colour is None:
            axes.text(x, y, name, color="dimgrey", **style | {"fontsize": 9})
        else:
            dark = np.dot(colour[:3], (0.3, 0.6, 0.1)) < 0.5
            box = {"facecolor": colour, "edgecolor": "none", "pad": 1.5}
            axes.text(x, y, name, color="white" if dark else "black", bbox=box, **style)
    axes.text(0, 0.9, "red raises the score of the class, blue lowers it", fontsize=9, va="center")
    return figure


def importance(frame: "pd.DataFrame", effect: str) -> Figure:
    """Draw the `effect` of permuting each `column`, with its `standard deviation` over permutations."""
    names = [*frame["column"]]
    figure = Figure(figsize=(8, 0.26 * len(names) + 1.2), layout="constrained")
    axes = figure.subplots()
    axes.barh(
        range(len(names)), frame[effect], xerr=frame["standard deviation"], color="C0", error_kw={"linewidth": 0.8}
    )
    _name_bars(axes, names)
    axes.set(xlabel=f"{effect} when the column is permuted", title="importance on the validation set")
    return figure


def coefficients(frame: "pd.DataFrame") -> Figure:
    """Draw the coefficients of standardised features, `per_deviation`, the largest first: one panel per `output`."""
    outputs = list(dict.fromkeys(frame["output"]))
    rows = len(frame) // len(outputs)
    figure = Figure(figsize=(7 * len(outputs), 0.26 * rows + 1.2), layout="constrained")
    for axes, output in zip(figure.subplots(1, len(outputs), squeeze=False)[0], outputs, strict=True):
        own = frame[frame["output"] == output].sort_values("per_deviation", key=abs, ascending=False, kind="stable")
        axes.barh(range(rows), own["per_deviation"], color=by_sign(own["per_deviation"].to_numpy()))
        _name_bars(axes, [*own["feature"]])
        axes.set(xlabel="change per standard deviation of the feature", title=f"coefficients: {output}")
    return figure


def _name_bars(axes: Any, names: Sequence[str]) -> None:
    """Name horizontal bars from top to bottom, and mark zero."""
    axes.set_yticks(range(len(names)), names, fontsize=8, parse_math=False)
    axes.invert_yaxis()
    axes.axvline(0, color="grey", linewidth=0.8)
    axes.grid(axis="x", alpha=0.3)


def _centred(values: Array) -> CenteredNorm:
    return CenteredNorm(0.0, abs(values).max() or 1.0)


def _over_colours(values: Array, together: Any) -> Array:
    """Reduce (height, width, colours) to (height, width) with `together`; (height, width) stays."""
    return values if values.ndim == 2 else together(values, axis=-1)


def _grey(image: Array) -> Array:
    """Return the image as grey values (height, width) in [0, 1]."""
    return _over_colours(image, np.mean) / max(1, image.max())


def _short(text: str, most: int = 30) -> str:
    """Cut a long text at its start: a path ends with the file's name, a title with the prediction."""
    return text if len(text) <= most else f"…{text[1 - most :]}"
