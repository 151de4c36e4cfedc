"""Draw the state of a network, as a frame of the animation of its training: `train --animation FILE`.

Importing this module does not import Keras and Matplotlib.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from common.data import Array, Data
from common.plots.colours import NEGATIVE, POSITIVE, SIGNED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

POINTS = 80
"""Points of a grid in each direction."""
UNITS = 48
"""Largest number of units whose weights are drawn."""


def decision_boundary(figure: Figure, model: keras.Model, data: Data) -> None:
    """Draw the regions of two classes over two columns of a table, and the training examples.

    Of more columns, the two are drawn that have the largest correlations with the class; the others have their means.
    """
    from matplotlib.colors import ListedColormap

    columns, labels = data.train
    strength = {name: abs(np.corrcoef(values, labels)[0, 1]) for name, values in columns.items()}
    shown = sorted(columns) if len(columns) == 2 else sorted(strength, key=strength.__getitem__)[:-3:-1]
    ends = [(values.min(), values.max()) for values in (columns[name] for name in shown)]
    lines = [np.linspace(low - 0.2 * (high - low), high + 0.2 * (high - low), POINTS) for low, high in ends]
    grid = dict(zip(shown, (part.ravel() for part in np.meshgrid(*lines)), strict=True))
    points = {name: grid.get(name, np.full(POINTS**2, values.mean())) for name, values in columns.items()}
    chosen = _outputs(model, {name: values.astype("float32") for name, values in points.items()}).argmax(axis=-1)
    axes = figure.subplots()
    colours = [NEGATIVE, POSITIVE]
    style: dict[str, Any] = {"cmap": ListedColormap(colours), "vmin": 0, "vmax": 1, "shading": "nearest"}
    axes.pcolormesh(*lines, chosen.reshape(POINTS, POINTS), alpha=0.25, **style)
    for label, (name, colour) in enumerate(zip(data.outputs, colours, strict=True)):
        rows = labels == label
        axes.scatter(columns[shown[0]][rows], columns[shown[1]][rows], 50, colour, edgecolor="white", label=name)
    axes.set(xlabel=shown[0], ylabel=shown[1])
    figure.legend(loc="outside lower center", ncols=2)


def fitted_line(figure: Figure, model: keras.Model, data: Data) -> None:
    """Draw the line of a regression on one column through the training examples, or predictions over targets."""
    columns, targets = data.train
    predictions, axes = _outputs(model, columns).ravel(), figure.subplots()
    if len(columns) == 1:
        ((name, values),) = columns.items()
        order = np.argsort(values)
        axes.plot(values[order], predictions[order], color=POSITIVE)
        axes.scatter(values, targets)
        axes.set(xlabel=name, ylabel=data.outputs[0])
        limits = targets
    else:
        limits = np.array([targets.min(), targets.max()])
        axes.plot(limits, limits, color="grey", linestyle=":")
        axes.scatter(targets, predictions, s=8)
        axes.set(xlabel=f"{data.outputs[0]} of training examples", ylabel="predicted")
    margin = 0.2 * np.ptp(limits)
    axes.set_ylim(limits.min() - margin, limits.max() + margin)


def filters(figure: Figure, model: keras.Model, data: Data) -> None:
    """Draw the weights of the first units of the first layer as images: red is positive, blue negative, white zero."""
    from common.plots.filters import first_layer_kernel

    axes = figure.subplots()
    mosaic(axes, first_layer_kernel(model, data.input_shape)[:UNITS], 8, SIGNED)


def mosaic(axes: Any, images: Array, columns: int, colours: str) -> None:
    """Draw images (n, height, width) in rows of `columns`, each with its own scale, on which zero is white."""
    scaled = images / np.maximum(abs(images).max(axis=(1, 2), keepdims=True), 1e-9)
    scaled = np.concatenate([scaled, np.zeros((-len(images) % columns, *images.shape[1:]))])
    border = max(1, images.shape[1] // 14)
    framed = np.pad(scaled, ((0, 0), (border, border), (border, border)))
    height, width = framed.shape[1:]
    joined = framed.reshape(-1, columns, height, width).swapaxes(1, 2).reshape(-1, columns * width)
    axes.imshow(joined, cmap=colours, vmin=-1 if colours == SIGNED else 0, vmax=1)
    axes.axis("off")


def _outputs(model: keras.Model, inputs: Any) -> Array:
    """Return the outputs of a network that is being trained; `predict` would change it."""
    return np.asarray(keras.ops.convert_to_numpy(model(inputs, training=False)))
