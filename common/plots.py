"""Pictures of results. Pure functions: arrays in, a matplotlib Figure out; nothing is shown, saved or kept."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from common.app import Array


def learning_curves(history: Mapping[str, Sequence[float]], best_epoch: int) -> Figure:
    """Training and validation curves over epochs (from 1), a panel a metric, the best epoch marked."""
    metrics = [name for name in history if f"val_{name}" in history]
    figure = Figure(figsize=(5.5 * len(metrics), 4), layout="constrained")
    for axes, metric in zip(figure.subplots(1, len(metrics), squeeze=False)[0], metrics, strict=True):
        epochs = np.arange(1, len(history[metric]) + 1)
        axes.plot(epochs, history[metric], marker=".", label="training")
        axes.plot(epochs, history[f"val_{metric}"], marker=".", label="validation")
        axes.axvline(best_epoch, color="grey", linestyle=":", label=f"best epoch, {best_epoch}")
        axes.set(xlabel="epoch", ylabel=metric, title=metric)
        if metric == "loss" and min(min(history[metric]), min(history[f"val_{metric}"])) > 0:
            axes.set_yscale("log")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    return figure


def confusion_matrix(counts: Array, classes: Sequence[str]) -> Figure:
    """`counts` (true, predicted) with the numbers written in; colour is the share of the true class."""
    figure = Figure(figsize=(2.5 + 0.55 * len(classes),) * 2, layout="constrained")
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    # Mistakes are rare, so colour on a square-root scale, or they would all look white.
    axes.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            colour = "white" if shares[row, column] > 0.4 else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=8)
    rotation = 45 if max(map(len, classes)) > 2 else 0
    axes.set_xticks(range(len(classes)), classes, rotation=rotation)
    axes.set_yticks(range(len(classes)), classes)
    axes.set(xlabel="predicted", ylabel="true", title=f"{counts.sum():,} test examples")
    return figure


def picture_grid(pictures: Array, titles: Sequence[str], columns: int, cmap: str = "gray_r") -> Figure:
    """`pictures` (n, height, width), each under its title, `columns` to a row; every picture has its own grey scale."""
    rows = -(-len(pictures) // columns)
    figure = Figure(figsize=(1.35 * columns, (1.65 if any(titles) else 1.35) * rows), layout="constrained")
    for axes in figure.subplots(rows, columns, squeeze=False).flat:
        axes.axis("off")
    for axes, picture, title in zip(figure.axes, pictures, titles, strict=False):
        # Zero is the middle of a signed picture's scale, so that white means the same in all of them.
        limits = {"vmin": -abs(picture).max(), "vmax": abs(picture).max()} if picture.min() < 0 else {}
        axes.imshow(picture, cmap=cmap, **limits)
        axes.set_title(title, fontsize=8)
    return figure


def residuals(targets: Array, predictions: Array, quantities: Sequence[str]) -> Figure:
    """What is left, target - prediction, over the prediction: a row a quantity, with a histogram beside it."""
    figure = Figure(figsize=(10, 3.6 * len(quantities)), layout="constrained")
    rows = figure.subplots(len(quantities), 2, squeeze=False, width_ratios=(2, 1), sharey="row")
    for axes, quantity, target, prediction in zip(rows, quantities, targets.T, predictions.T, strict=True):
        left = target - prediction
        axes[0].scatter(prediction, left, s=12, alpha=0.6)
        axes[0].axhline(0, color="grey", linestyle=":")
        axes[0].set(xlabel=f"predicted {quantity}", ylabel="residual", title=f"{quantity}: residuals of the test set")
        axes[0].grid(alpha=0.3)
        axes[1].hist(left, bins="auto", orientation="horizontal")
        axes[1].set(xlabel="examples")
    return figure


def gradient_norms(curves: Mapping[str, Array]) -> Figure:
    """For each label the length of a gradient before every step, back from the last one, on a logarithmic scale."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for label, norms in curves.items():
        axes.plot(np.arange(-len(norms), 0), norms, label=label)
    axes.set_yscale("log")
    axes.set(xlabel="step, counted from the end", ylabel="gradient of the answer by the state")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure
