"""Draw figures of results from arrays."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter
from sklearn.calibration import CalibrationDisplay
from sklearn.metrics import PrecisionRecallDisplay, RocCurveDisplay, precision_score, recall_score

from common.data import Array
from common.plots.colours import SIGNED
from common.plots.panels import captioned, finish, subplots


def learning_curves(history: Mapping[str, Sequence[float]], best_epoch: int) -> Figure:
    """Draw training and validation curves over epochs, from 1: one panel per metric, with the best epoch marked.

    Without validation metrics, the training curves alone are drawn, and no epoch is marked.
    """
    validated = [name for name in history if f"val_{name}" in history]
    metrics = validated or [*history]
    figure, panels = subplots(1, len(metrics), 5.5, 4)
    for axes, metric in zip(panels[0], metrics, strict=True):
        epochs = np.arange(1, len(history[metric]) + 1)
        axes.plot(epochs, history[metric], marker=".", label="training")
        validation = history.get(f"val_{metric}", [])
        if validation:
            axes.plot(epochs[: len(validation)], validation, marker=".", label="validation")
        if validated:
            axes.axvline(best_epoch, color="grey", linestyle=":", label=f"weights of epoch {best_epoch}")
        if metric == "loss" and min([*history[metric], *validation]) > 0:
            axes.set_yscale("log")
            axes.yaxis.set(major_formatter=LogFormatter(), minor_formatter=LogFormatter(minor_thresholds=(2, 0.4)))
        finish(axes, integers=True, xlabel="epoch", ylabel=metric, title=metric)
    if not validated:
        return captioned(figure, "Metrics of the training set after each epoch. No examples were left for validation.")
    line = "The dotted line marks the epoch whose weights the saved network has."
    return captioned(figure, f"Metrics of the training and validation sets after each epoch. {line}")


def confusion_matrix(counts: Array, classes: Sequence[str]) -> Figure:
    """Draw `counts` (true classes, predicted classes) as numbers, with and coloured by the share of the true class."""
    figure = Figure(figsize=(2.5 + 0.55 * len(classes),) * 2, layout="constrained")
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    # Mistakes are rare: on a linear colour scale they would all look white.
    axes.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            share = shares[row, column]
            place: dict[str, Any] = {"ha": "center", "color": "white" if share > 0.4 else "black", "in_layout": False}
            axes.text(column, row, str(count), va="bottom", fontsize=8, **place)
            axes.text(column, row, f"{100 * share:.1f} %", va="top", fontsize=6, **place)
    rotation = 45 if max(map(len, classes)) > 2 else 0
    axes.set_xticks(range(len(classes)), classes, rotation=rotation, parse_math=False)
    axes.set_yticks(range(len(classes)), classes, parse_math=False)
    axes.set(xlabel="predicted", ylabel="true", title=f"{counts.sum():,} test examples")
    numbers = "Numbers of test examples by their true class, in rows, and their predicted class, in columns."
    return captioned(figure, f"{numbers} Below each is its share of the true class; the larger, the darker.")


def decision(labels: Array, probabilities: Array, threshold: float, positive: str) -> Figure:
    """Draw ROC, precision-recall and calibration curves with the decision threshold.

    Args:
        labels: True labels (examples,), 0 or 1.
        probabilities: Predicted probabilities (examples,) of label 1.
        threshold: Probability from which on label 1 is predicted.
        positive: Name of label 1.
    """
    figure, [[roc, precision_recall, calibration]] = subplots(1, 3, 5, 4.5)
    RocCurveDisplay.from_predictions(labels, probabilities, ax=roc, plot_chance_level=True)
    PrecisionRecallDisplay.from_predictions(labels, probabilities, ax=precision_recall, plot_chance_level=True)
    CalibrationDisplay.from_predictions(labels, probabilities, n_bins=10, strategy="quantile", ax=calibration)
    predicted = probabilities >= threshold
    recall = recall_score(labels, predicted)
    false_alarms = predicted[labels == 0].mean()
    colour = "C3"  # other than the dotted black lines of scikit-learn
    mark = {"marker": "o", "color": colour, "zorder": 3, "label": f"threshold {threshold:.3f}"}
    roc.scatter(false_alarms, recall, **mark)
    precision_recall.scatter(recall, precision_score(labels, predicted, zero_division=0), **mark)
    calibration.axvline(threshold, color=colour, label=mark["label"])
    for axes, title in zip(figure.axes, ("ROC", "precision and recall", "calibration"), strict=True):
        axes.set_title(f"{positive}: {title}", parse_math=False)
        axes.legend()
    return captioned(
        figure,
        "The test set at every decision threshold, and at the chosen one, in red. Calibration: among the examples with "
        "about the same predicted probability, the share that belongs to the class.",
    )


def image_grid(
    images: Array, titles: Sequence[str], columns: int, cmap: str = "gray_r", heading: str = "", caption: str = ""
) -> Figure:
    """Draw images below their titles.

    Args:
        images: Images (n, height, width); each has its own colour scale.
        titles: A title for each image.
        columns: Images per row.
        cmap: Matplotlib's name of a colour map.
        heading: Title of the whole figure, drawn above it.
        caption: Caption of the figure; by default the heading.
    """
    height, width = images.shape[1:3]
    # Twenty letters are as wide as an image; a longer line would run into the next title.
    titles = ["\n".join(textwrap.fill(line, 20) for line in title.splitlines()) for title in titles]
    lines = max((len(title.splitlines()) for title in titles), default=0)
    across, down = 1.1 * width, 1.1 * height + 0.13 * width * lines
    right, bottom = columns * across, -(-len(images) // columns) * down
    inches, above = 1.35 * columns * bottom / right, 0.3 if heading else 0.0
    figure = Figure(figsize=(1.35 * columns, inches + above))
    figure.suptitle(heading, y=1 - 0.15 / (inches + above), va="center", fontsize=10)
    # One pair of axes for all images: a pair for each takes many times as long.
    axes = figure.add_axes((0, 0, 1, inches / (inches + above)))
    for index, (image, title) in enumerate(zip(images, titles, strict=True)):
        # Zero is the middle of a signed image's scale, so that white means the same in all of them.
        largest = abs(image).max() or 1
        limits: dict[str, Any] = {"vmin": -largest, "vmax": largest} if cmap == SIGNED or image.min() < 0 else {}
        if cmap != SIGNED and image.min() == image.max() >= 0:
            limits = {"vmin": 0, "vmax": 1}  # the own scale of a constant image would not distinguish 0 from 1
        left, base = index % columns * across + 0.05 * width, (index // columns + 1) * down - 0.05 * height
        axes.imshow(image, cmap=cmap, extent=(left, left + width, base, base - height), **limits)
        style: dict[str, Any] = {"fontsize": 8, "ha": "center", "va": "bottom", "parse_math": False}
        axes.text(left + width / 2, base - height - 0.03 * width, title, **style)
    axes.axis("off")
    axes.set(xlim=(0, right), ylim=(bottom, 0), aspect="equal")
    return captioned(figure, caption or heading)


def sentences(texts: Sequence[str], titles: Sequence[str]) -> Figure:
    """Draw sentences below their titles; long ones are shortened."""
    figure, [[axes]] = subplots(1, 1, 11, 0.6 + 0.42 * len(texts))
    axes.axis("off")
    axes.set(ylim=(len(texts), 0))
    for row, (text, title) in enumerate(zip(texts, titles, strict=True)):
        # Without `parse_math`, a sentence with two dollar signs is read as a formula.
        axes.text(0, row + 0.4, title, fontsize=8, color="grey", parse_math=False)
        axes.text(0, row + 0.8, textwrap.shorten(text, 140, placeholder=" …"), fontsize=9, parse_math=False)
    return figure


def residuals(targets: Array, predictions: Array, quantities: Sequence[str]) -> Figure:
    """Draw residuals, target - prediction, over predictions, with a histogram: one row per quantity.

    Args:
        targets: True values (examples, quantities).
        predictions: Predicted values (examples, quantities).
        quantities: Names of the quantities.
    """
    figure, rows = subplots(len(quantities), 2, 5, 3.6, width_ratios=(2, 1), sharey="row")
    for axes, quantity, target, prediction in zip(rows, quantities, targets.T, predictions.T, strict=True):
        axes[0].scatter(prediction, target - prediction, s=12, alpha=0.6)
        axes[0].axhline(0, color="grey", linestyle=":")
        title = f"{quantity}: residuals of the test set"
        finish(axes[0], xlabel=f"predicted {quantity}", ylabel="residual", title=title)
        axes[1].hist(target - prediction, bins="auto", orientation="horizontal")
        axes[1].set(xlabel="examples")
    return captioned(
        figure, "Residuals of the test set, true value minus prediction, over the predictions, and their distribution."
    )


DRAWN = 400
"""Largest number of steps in a figure of forecasts: the latest."""


def forecast(
    targets: Array,
    predictions: Array,
    intervals: Mapping[str, Array],
    quantities: Sequence[str],
    times: Array | None = None,
) -> Figure:
    """Draw forecasts with their intervals and the true values over the test part: one row per quantity.

    Arrays are (windows, steps, quantities). Each window starts one step after the one before; the drawn windows do not
    overlap. Forecasts of one step are joined by a line.

    Args:
        targets: True values.
        predictions: Forecasts.
        intervals: Half of the widths of the intervals by name, the narrowest first.
        quantities: Names of the quantities.
        times: Times of the steps (windows, steps): dates, or numbers. By default, steps are counted.
    """
    steps = targets.shape[1]
    inside = {name: (abs(targets - predictions) <= width).mean(axis=(0, 1)) for name, width in intervals.items()}
    skipped = max(0, len(targets) - DRAWN) // steps * steps
    targets, predictions = targets[skipped:], predictions[skipped:]
    intervals = {name: width[skipped:] for name, width in intervals.items()}
    x = np.add.outer(np.arange(len(targets)), np.arange(steps)) if times is None else times[skipped:]
    starts = [0] if steps == 1 else range(0, len(targets), steps)
    figure, rows = subplots(len(quantities), 1, 11, 3.6)

    def path(values: Array, window: int) -> Array:
        return values[:, 0] if steps == 1 else values[window]

    for index, (axes, quantity) in enumerate(zip(rows[:, 0], quantities, strict=True)):
        truth = np.concatenate([targets[:, 0, index], targets[-1, 1:, index]])
        axes.plot(np.concatenate([x[:, 0], x[-1, 1:]]), truth, color="black", marker=".", label="true")
        for window in starts:
            ahead, middle = path(x, window), path(predictions[:, :, index], window)
            first = window == starts[0]
            axes.plot(ahead, middle, color="C0", marker=".", label="forecast" if first else None)
            for name, widths in intervals.items():
                width = path(widths[:, :, index], window)
                label = name if first else None
                axes.fill_between(ahead, middle - width, middle + width, color="C0", alpha=0.15, label=label)
            if steps > 1:
                axes.axvline(ahead[0], color="grey", linewidth=0.5)
        shares = ", ".join(f"{100 * share[index]:.0f} % in the {name}" for name, share in inside.items())
        line = f"{steps} steps ahead from each line" if steps > 1 else "one step ahead"
        label = "step of the test part" if times is None else "time"
        finish(axes, xlabel=label, ylabel=quantity, title=f"{quantity}, {line}; {shares}".removesuffix("; "))
        if x.dtype.kind == "M":
            locator = AutoDateLocator()
            axes.xaxis.set(major_locator=locator, major_formatter=ConciseDateFormatter(locator))
    return captioned(
        figure,
        "Forecasts of the test part with their intervals. A forecast begins at a vertical line, or is one step, and "
        "knows the series before it. The intervals are as wide as the errors on the validation set.",
    )


def error_by_step(targets: Array, forecasts: Mapping[str, Array], quantities: Sequence[str]) -> Figure:
    """Draw the root mean square error of each forecast over the steps ahead: one panel per quantity.

    Args:
        targets: True values (windows, steps, quantities).
        forecasts: Forecasts by name, of the same shape or one that broadcasts to it.
        quantities: Names of the quantities.
    """
    figure, panels = subplots(1, len(quantities), 5.5, 4)
    for index, (axes, quantity) in enumerate(zip(panels[0], quantities, strict=True)):
        for name, predictions in forecasts.items():
            errors = np.sqrt(np.square(targets - predictions)[:, :, index].mean(axis=0))
            axes.plot(np.arange(1, len(errors) + 1), errors, marker=".", label=name)
        label = f"root mean square error, {quantity}"
        finish(axes, integers=True, xlabel="steps ahead", ylabel=label, title=quantity, ylim=(0, None))
    return captioned(figure, f"Error on the test set by the number of steps ahead: {', '.join(forecasts)}.")


def gradient_norms(curves: Mapping[str, Array]) -> Figure:
    """Draw for each label the norm of a gradient before every step, (steps,), on a logarithmic scale."""
    figure, [[axes]] = subplots(1, 1, 8, 4.5)
    for label, norms in curves.items():
        axes.plot(np.arange(-len(norms), 0), norms, label=label)
    axes.set_yscale("log")
    finish(axes, xlabel="step, counted from the end", ylabel="gradient of the output by the state")
    return captioned(
        figure,
        "Norm of the gradient of the output by the state before each step. A layer whose gradient vanishes cannot "
        "learn from steps so far back.",
    )


def error_by_known(known: Array, targets: Array, predictions: Array) -> Figure:
    """Draw the root mean square error of predicted ratings over the number of known ratings of their user.

    Args:
        known: Number of known ratings of the user of each predicted rating, (ratings,). At most ten groups are drawn.
        targets: True ratings (ratings,).
        predictions: Predicted ratings (ratings,).
    """
    # Each group begins at a number that occurs, so that no group is empty.
    lowest = np.unique(np.quantile(known, np.arange(10) / 10, method="higher"))
    group = np.searchsorted(lowest, known, side="right") - 1
    squares = np.square(predictions - targets)
    counts = np.bincount(group)
    figure, [[axes]] = subplots(1, 1, 7, 4)
    axes.plot(np.bincount(group, known) / counts, np.sqrt(np.bincount(group, squares) / counts), marker="o")
    label = "root mean square error"
    finish(axes, xlabel="known ratings of the user", ylabel=label, title="test set", ylim=(0, None))
    return captioned(figure, "Error of predicted ratings of the test set by the number of known ratings of the user.")
