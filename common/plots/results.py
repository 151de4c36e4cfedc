"""Figures of results, from arrays, and which of them each task's run gets. Nothing is shown or saved here."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import keras
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from sklearn import metrics
from sklearn.calibration import CalibrationDisplay
from sklearn.metrics import PrecisionRecallDisplay, RocCurveDisplay, precision_score, recall_score

from common.data import Array, Trained


def learning_curves(history: Mapping[str, Sequence[float]], best_epoch: int) -> Figure:
    """Training and validation curves over epochs (from 1), a panel a metric, the best epoch marked.

    Where nothing was kept apart for validation, the training curves alone.
    """
    metrics = [name for name in history if f"val_{name}" in history] or [*history]
    figure = Figure(figsize=(5.5 * len(metrics), 4), layout="constrained")
    for axes, metric in zip(figure.subplots(1, len(metrics), squeeze=False)[0], metrics, strict=True):
        epochs = np.arange(1, len(history[metric]) + 1)
        axes.plot(epochs, history[metric], marker=".", label="training")
        validation = history.get(f"val_{metric}", [])
        if validation:
            axes.plot(epochs[: len(validation)], validation, marker=".", label="validation")
        axes.axvline(best_epoch, color="grey", linestyle=":", label=f"best epoch, {best_epoch}")
        axes.set(xlabel="epoch", ylabel=metric, title=metric)
        if metric == "loss" and min([*history[metric], *validation]) > 0:
            axes.set_yscale("log")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    return figure


def best_so_far(scores: Sequence[float | None], objective: str, direction: Literal["min", "max"]) -> Figure:
    """The trials of a search in the order in which they ended, None where one failed, and the best up to each."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    values = np.array([np.nan if score is None else score for score in scores])
    numbers = np.arange(1, len(values) + 1)
    best = (np.fmax if direction == "max" else np.fmin).accumulate(values)
    axes.plot(numbers, values, "o", label="trial")
    axes.step(numbers, best, where="post", label="best so far")
    axes.set(xlabel="trial", ylabel=objective, title=f"best of {len(values)} trials")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
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


def decision(labels: Array, probabilities: Array, threshold: float, positive: str) -> Figure:
    """ROC, precision-recall and calibration of the class `positive`, 1 in `labels`, with its decision threshold."""
    figure = Figure(figsize=(15, 4.5), layout="constrained")
    roc, precision_recall, calibration = figure.subplots(1, 3)
    RocCurveDisplay.from_predictions(labels, probabilities, ax=roc, plot_chance_level=True)
    PrecisionRecallDisplay.from_predictions(labels, probabilities, ax=precision_recall, plot_chance_level=True)
    CalibrationDisplay.from_predictions(labels, probabilities, n_bins=10, strategy="quantile", ax=calibration)
    predicted = probabilities >= threshold
    recall = recall_score(labels, predicted)
    false_alarms = predicted[labels == 0].mean()
    mark = {"marker": "o", "color": "black", "zorder": 3, "label": f"threshold {threshold:.3f}"}
    roc.scatter(false_alarms, recall, **mark)
    precision_recall.scatter(recall, precision_score(labels, predicted, zero_division=0), **mark)
    calibration.axvline(threshold, color="black", linestyle=":", label=mark["label"])
    for axes, title in zip(figure.axes, ("ROC", "precision and recall", "calibration"), strict=True):
        axes.set_title(f"{positive}: {title}")
        axes.legend()
    return figure


def image_grid(pictures: Array, titles: Sequence[str], columns: int, cmap: str = "gray_r") -> Figure:
    """`pictures` (n, height, width), each under its title, `columns` to a row; every picture has its own grey scale."""
    height, width = pictures.shape[1:3]
    # Twenty letters are as wide as a picture: what is longer would run into the next title.
    titles = ["\n".join(textwrap.fill(line, 20) for line in title.splitlines()) for title in titles]
    lines = max((len(title.splitlines()) for title in titles), default=0)
    across, down = 1.1 * width, 1.1 * height + 0.13 * width * lines
    right, bottom = columns * across, -(-len(pictures) // columns) * down
    figure = Figure(figsize=(1.35 * columns, 1.35 * columns * bottom / right))
    # All in one pair of axes: to draw a pair for each takes many times as long.
    axes = figure.add_axes((0, 0, 1, 1))
    for index, (picture, title) in enumerate(zip(pictures, titles, strict=True)):
        # Zero is the middle of a signed picture's scale, so that white means the same in all of them.
        limits = {"vmin": -abs(picture).max(), "vmax": abs(picture).max()} if picture.min() < 0 else {}
        if picture.min() == picture.max() >= 0:  # all of one grey: no scale of its own tells 0 from 1
            limits = {"vmin": 0, "vmax": 1}
        left, base = index % columns * across + 0.05 * width, (index // columns + 1) * down - 0.05 * height
        axes.imshow(picture, cmap=cmap, extent=(left, left + width, base, base - height), **limits)
        axes.text(left + width / 2, base - height - 0.03 * width, title, fontsize=8, ha="center", va="bottom")
    axes.axis("off")
    axes.set(xlim=(0, right), ylim=(bottom, 0), aspect="equal")
    return figure


def sentences(texts: Sequence[str], titles: Sequence[str]) -> Figure:
    """A list of sentences, each below its title; what is long is cut off."""
    figure = Figure(figsize=(11, 0.6 + 0.42 * len(texts)), layout="constrained")
    axes = figure.subplots()
    axes.axis("off")
    axes.set(ylim=(len(texts), 0))
    for row, (text, title) in enumerate(zip(texts, titles, strict=True)):
        # Without `parse_math`, a sentence with two dollar signs is read as a formula.
        axes.text(0, row + 0.4, title, fontsize=8, color="grey", parse_math=False)
        axes.text(0, row + 0.8, textwrap.shorten(text, 140, placeholder=" …"), fontsize=9, parse_math=False)
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


def forecast(targets: Array, predictions: Array, low: Array, high: Array, quantities: Sequence[str]) -> Figure:
    """The true options and the forecasts with their interval: a row a quantity, over the steps of the part.

    All are (windows, steps, quantities), each window one step after the one before. So many are drawn that they follow
    one another without overlap.
    """
    steps = targets.shape[1]
    truth = np.concatenate([targets[:, 0], targets[-1, 1:]])
    inside = ((targets >= low) & (targets <= high)).mean(axis=(0, 1))
    figure = Figure(figsize=(11, 3.6 * len(quantities)), layout="constrained")
    rows = figure.subplots(len(quantities), squeeze=False)[:, 0]
    for index, (axes, quantity) in enumerate(zip(rows, quantities, strict=True)):
        axes.plot(truth[:, index], color="black", marker=".", label="true")
        for window in range(0, len(targets), steps):
            ahead = np.arange(window, window + steps)
            first = window == 0
            axes.plot(ahead, predictions[window, :, index], color="C0", label="forecast" if first else None)
            interval = (low[window, :, index], high[window, :, index])
            axes.fill_between(ahead, *interval, color="C0", alpha=0.2, label="95 % interval" if first else None)
            axes.axvline(window, color="grey", linewidth=0.5)
        title = (
            f"{quantity}, {steps} steps ahead from each line; {100 * inside[index]:.0f} % of the truth in the interval"
        )
        axes.set(xlabel="step of the test part", ylabel=quantity, title=title)
        axes.grid(alpha=0.3)
        axes.legend()
    return figure


def error_by_step(targets: Array, forecasts: Mapping[str, Array], quantities: Sequence[str]) -> Figure:
    """Root mean square error over the steps ahead, a line a forecast, a panel a quantity; all (windows, steps, …)."""
    figure = Figure(figsize=(5.5 * len(quantities), 4), layout="constrained")
    panels = figure.subplots(1, len(quantities), squeeze=False)[0]
    for index, (axes, quantity) in enumerate(zip(panels, quantities, strict=True)):
        for name, predictions in forecasts.items():
            errors = np.sqrt(np.square(targets - predictions)[:, :, index].mean(axis=0))
            axes.plot(np.arange(1, len(errors) + 1), errors, marker=".", label=name)
        axes.set(xlabel="steps ahead", ylabel=f"root mean square error, {quantity}", title=quantity, ylim=(0, None))
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
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
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(np.bincount(group, known) / counts, np.sqrt(np.bincount(group, squares) / counts), marker="o")
    axes.set(xlabel="known ratings of the user", ylabel="root mean square error", title="test set", ylim=(0, None))
    axes.grid(alpha=0.3)
    return figure


WORST = 24
"""Mistakes that are shown."""
LARGEST_FILTERS = 64
"""First-layer filters that are shown, at most."""


def classification_figures(trained: Trained, decided: Array, threshold: float | None) -> Iterator[tuple[str, Figure]]:
    """Learning curves, the confusion matrix of the labels `decided` on, and what else the classes and inputs allow.

    With a decision threshold between two classes their ROC, precision-recall and calibration curves; for pictures and
    sentences the worst mistakes; for pictures the first layer's filters.
    """
    data, probabilities = trained.data, trained.predictions
    yield "learning_curves", learning_curves(trained.history, trained.best_epoch)
    inputs, labels = data.test
    counts = metrics.confusion_matrix(labels, decided, labels=range(len(data.outputs)))
    yield "confusion_matrix", confusion_matrix(counts, data.outputs)
    if threshold is not None:
        yield "decision", decision(labels, probabilities[:, 1], threshold, data.outputs[1])
    if data.kind not in ("image", "text"):
        return
    worst = worst_mistakes(labels, probabilities)
    titles = [_mistake(data.outputs, labels[index], probabilities[index]) for index in worst]
    if data.kind == "text":
        if titles:
            yield "worst_mistakes", sentences(inputs[worst], [title.replace("\n", " ") for title in titles])
    else:
        if titles:
            yield "worst_mistakes", image_grid(inputs[worst], titles, columns=8)
        yield from _filters(trained.model, data.input_shape)


def _filters(model: keras.Model, input_shape: Sequence[int]) -> Iterator[tuple[str, Figure]]:
    filters = first_layer_filters(model, input_shape)
    if len(filters):
        titles = [""] * len(filters)
        yield "first_layer_filters", image_grid(filters, titles, min(8, len(filters)), cmap="RdBu")


def regression_figures(trained: Trained) -> Iterator[tuple[str, Figure]]:
    """Learning curves, and residuals over predictions."""
    yield "learning_curves", learning_curves(trained.history, trained.best_epoch)
    yield "residuals", residuals(trained.data.test[1], trained.predictions, trained.data.outputs)


def forecast_figures(trained: Trained) -> Iterator[tuple[str, Figure]]:
    """Learning curves, residuals, the forecasts over the test set with their interval, and the error of every step.

    The interval is that of the validation set's residuals, step by step: 95 % of them lie inside.
    """
    data, predictions = trained.data, trained.predictions
    targets, quantities = data.test[1], data.outputs
    yield "learning_curves", learning_curves(trained.history, trained.best_epoch)
    flat = (-1, len(quantities))
    yield "residuals", residuals(targets.reshape(flat), predictions.reshape(flat), quantities)
    windows, following = data.validation
    errors = following - trained.model.predict(windows, verbose=0)
    low, high = np.quantile(errors, [0.025, 0.975], axis=0)
    yield "forecast", forecast(targets, predictions, predictions + low, predictions + high, quantities)
    last = data.test[0][:, -1:]
    yield "error_by_step", error_by_step(targets, {"network": predictions, "last value": last}, quantities)


def worst_mistakes(labels: Array, probabilities: Array) -> Array:
    """Indices of the wrong predictions, the one least ready to believe the truth first; at most `WORST`."""
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    return wrong[np.argsort(probabilities[wrong, labels[wrong]], kind="stable")][:WORST]


def _mistake(classes: Sequence[str], label: int, probabilities: Array) -> str:
    guess = int(probabilities.argmax())
    return f"{classes[label]} taken for {classes[guess]}\n({100 * probabilities[guess]:.0f} %)"


def first_layer_filters(model: keras.Model, input_shape: Sequence[int]) -> Array:
    """The weights of the first layer that has some, as pictures (filters, height, width), the strongest first."""
    kernels: list[Any] = [layer.kernel for layer in model.layers if hasattr(layer, "kernel")]
    if not kernels:
        return np.empty(0)
    kernel = keras.ops.convert_to_numpy(kernels[0])
    if kernel.ndim == 4:
        filters = kernel.mean(axis=2).transpose(2, 0, 1)
    elif len(input_shape) == 2 and len(kernel) == np.prod(input_shape):
        filters = kernel.T.reshape(-1, *input_shape)
    else:
        return np.empty(0)
    strongest = np.argsort(-np.linalg.norm(filters, axis=(1, 2)))[:LARGEST_FILTERS]
    return filters[np.sort(strongest)] if kernel.ndim == 4 else filters[strongest]
