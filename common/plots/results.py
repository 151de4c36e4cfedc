"""Draw figures of results from arrays, and choose those of each task's run."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import keras
import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from sklearn import metrics
from sklearn.calibration import CalibrationDisplay
from sklearn.metrics import PrecisionRecallDisplay, RocCurveDisplay, precision_score, recall_score

from common.data import Array, Trained
from common.metrics.intervals import LEVELS
from common.plots.colours import SIGNED
from common.preprocessing import series

MOST_NUMBERS, MOST_NAMES = 4, 8
"""Largest numbers of numbers, and of other values, that are named on an axis; of more, the ends are."""


def _panels(rows: int, columns: int, width: float, height: float, **options: Any) -> tuple[Figure, Array]:
    """Return a figure and its panels (rows, columns), each `width` by `height` inches."""
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def _finish(axes: Any, integers: bool = False, **labels: Any) -> None:
    """Add labels, a grid, a legend of the labelled curves, and ticks at integers of x."""
    axes.set(**labels)
    if integers:
        axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend()


def captioned(figure: Figure, caption: str) -> Figure:
    """Return the figure with a caption, which the file of the figure contains and the page of a run shows."""
    figure.set_label(caption)
    return figure


def learning_curves(history: Mapping[str, Sequence[float]], best_epoch: int) -> Figure:
    """Draw training and validation curves over epochs, from 1: one panel per metric, with the best epoch marked.

    Without validation metrics, the training curves alone are drawn, and no epoch is marked.
    """
    validated = [name for name in history if f"val_{name}" in history]
    metrics = validated or [*history]
    figure, panels = _panels(1, len(metrics), 5.5, 4)
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
        _finish(axes, integers=True, xlabel="epoch", ylabel=metric, title=metric)
    if not validated:
        return captioned(figure, "Metrics of the training set after each epoch. No examples were left for validation.")
    line = "The dotted line marks the epoch whose weights the saved network has."
    return captioned(figure, f"Metrics of the training and validation sets after each epoch. {line}")


def best_so_far(scores: Sequence[float | None], monitor: str, mode: Literal["min", "max"]) -> Figure:
    """Draw the scores of a search's trials and the best score so far.

    Args:
        scores: Score of each trial in the order in which they ended; None if the trial failed.
        monitor: Name of the score.
        mode: Whether the lowest or the highest score is best.
    """
    figure, [[axes]] = _panels(1, 1, 8, 4.5)
    values = np.array([np.nan if score is None else score for score in scores])
    numbers = np.arange(1, len(values) + 1)
    best = (np.fmax if mode == "max" else np.fmin).accumulate(values)
    axes.plot(numbers, values, "o", label="trial")
    axes.step(numbers, best, where="post", label="best so far")
    _finish(axes, integers=True, xlabel="trials that ended", ylabel=monitor, title=f"best of {len(values)} trials")
    return captioned(figure, "Score of each trial in the order in which the trials ended, and the best score so far.")


def parallel_coordinates(settings: pd.DataFrame, scores: Sequence[float], monitor: str) -> Figure:
    """Draw each trial of a search as a line through the values of its settings, coloured by its score.

    Args:
        settings: The settings that vary, one column each, one row per trial, the best first.
        scores: Score of each trial, finite.
        monitor: Name of the score.
    """
    figure, [[axes]] = _panels(1, 1, max(6.0, 1.4 * (len(settings.columns) + 1)), 4.5)
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
            place: dict[str, Any] = {"ha": "center", "color": "white" if share > 0.4 else "black"}
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
    figure, [[roc, precision_recall, calibration]] = _panels(1, 3, 5, 4.5)
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
    figure, [[axes]] = _panels(1, 1, 11, 0.6 + 0.42 * len(texts))
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
    figure, rows = _panels(len(quantities), 2, 5, 3.6, width_ratios=(2, 1), sharey="row")
    for axes, quantity, target, prediction in zip(rows, quantities, targets.T, predictions.T, strict=True):
        axes[0].scatter(prediction, target - prediction, s=12, alpha=0.6)
        axes[0].axhline(0, color="grey", linestyle=":")
        title = f"{quantity}: residuals of the test set"
        _finish(axes[0], xlabel=f"predicted {quantity}", ylabel="residual", title=title)
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
    figure, rows = _panels(len(quantities), 1, 11, 3.6)

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
        _finish(axes, xlabel=label, ylabel=quantity, title=f"{quantity}, {line}; {shares}".removesuffix("; "))
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
    figure, panels = _panels(1, len(quantities), 5.5, 4)
    for index, (axes, quantity) in enumerate(zip(panels[0], quantities, strict=True)):
        for name, predictions in forecasts.items():
            errors = np.sqrt(np.square(targets - predictions)[:, :, index].mean(axis=0))
            axes.plot(np.arange(1, len(errors) + 1), errors, marker=".", label=name)
        label = f"root mean square error, {quantity}"
        _finish(axes, integers=True, xlabel="steps ahead", ylabel=label, title=quantity, ylim=(0, None))
    return captioned(figure, f"Error on the test set by the number of steps ahead: {', '.join(forecasts)}.")


def gradient_norms(curves: Mapping[str, Array]) -> Figure:
    """Draw for each label the norm of a gradient before every step, (steps,), on a logarithmic scale."""
    figure, [[axes]] = _panels(1, 1, 8, 4.5)
    for label, norms in curves.items():
        axes.plot(np.arange(-len(norms), 0), norms, label=label)
    axes.set_yscale("log")
    _finish(axes, xlabel="step, counted from the end", ylabel="gradient of the output by the state")
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
    figure, [[axes]] = _panels(1, 1, 7, 4)
    axes.plot(np.bincount(group, known) / counts, np.sqrt(np.bincount(group, squares) / counts), marker="o")
    label = "root mean square error"
    _finish(axes, xlabel="known ratings of the user", ylabel=label, title="test set", ylim=(0, None))
    return captioned(figure, "Error of predicted ratings of the test set by the number of known ratings of the user.")


WORST = 24
"""Largest number of mistakes in a figure."""
LARGEST_FILTERS = 64
"""Largest number of first-layer filters in a figure."""
MISTAKES = (
    "The test examples with the lowest probabilities of their true classes: the true class, the predicted class, and "
    "its probability."
)
FILTERS = "weights of the first layer: red positive, blue negative"
ABOUT_FILTERS = (
    "Weights of the first layer as images, one for each filter of a convolution or unit of a dense layer. Red is "
    "positive, blue negative, white zero, on a scale of its own for each. "
    f"At most {LARGEST_FILTERS} are shown, those with the largest norm."
)


def classification_figures(trained: Trained, decided: Array, threshold: float | None) -> Iterator[tuple[str, Figure]]:
    """Yield the names and figures of a classification.

    All have learning curves and a confusion matrix. Two classes with a decision threshold have ROC, precision-recall
    and calibration curves, images and sentences have the worst mistakes, and images have the first layer's filters.

    Args:
        trained: The trained network.
        decided: Predicted labels of the test set (examples,).
        threshold: Decision threshold for class 1, if it was chosen.
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
    if titles and data.kind == "text":
        found = sentences(inputs[worst], [title.replace("\n", " ") for title in titles])
        yield "worst_mistakes", captioned(found, MISTAKES)
    elif titles:
        yield "worst_mistakes", image_grid(inputs[worst], titles, columns=8, caption=MISTAKES)
    if data.kind == "image":
        filters = first_layer_filters(trained.model, data.input_shape)
        if len(filters):
            yield (
                "first_layer_filters",
                image_grid(filters, [""] * len(filters), min(8, len(filters)), SIGNED, FILTERS, ABOUT_FILTERS),
            )


def regression_figures(trained: Trained) -> Iterator[tuple[str, Figure]]:
    """Yield the names and figures of a regression: learning curves, and residuals over predictions."""
    yield "learning_curves", learning_curves(trained.history, trained.best_epoch)
    yield "residuals", residuals(trained.data.test[1], trained.predictions, trained.data.outputs)


def forecast_figures(trained: Trained, half_widths: Array | None) -> Iterator[tuple[str, Figure]]:
    """Yield the names and figures of a forecast: learning curves, residuals, forecasts, and the error of each step.

    Of several series, the forecasts of the first are drawn.

    Args:
        trained: The trained network.
        half_widths: Half of the widths of its intervals on the test set (levels, windows, steps, quantities).
    """
    data, predictions = trained.data, trained.predictions
    targets, quantities = data.test[1], data.outputs
    yield "learning_curves", learning_curves(trained.history, trained.best_epoch)
    flat = (-1, len(quantities))
    yield "residuals", residuals(targets.reshape(flat), predictions.reshape(flat), quantities)
    names = data.test_series
    rows = np.full(len(targets), True) if names is None else names == names[0]
    widths: Sequence[Array] = [] if half_widths is None else list(half_widths[:, rows])
    intervals = {f"{level} % interval": width for level, width in zip(LEVELS, widths, strict=False)}
    times = None if data.test_times is None else data.test_times[rows]
    yield "forecast", forecast(targets[rows], predictions[rows], intervals, quantities, times)
    history, horizon = series.targets_of(data.test[0], len(quantities)), targets.shape[1]
    forecasts = {"network": predictions, "last value": series.repeat_season(history, 1, horizon)}
    if data.formats.windows and (season := data.formats.windows.season) > 1:
        forecasts[f"value {season} steps before"] = series.repeat_season(history, season, horizon)
    yield "error_by_step", error_by_step(targets, forecasts, quantities)


def worst_mistakes(labels: Array, probabilities: Array) -> Array:
    """Return the wrong predictions with the lowest probabilities of the true class.

    Args:
        labels: True labels (examples,).
        probabilities: Predicted probabilities (examples, classes).

    Returns:
        At most `WORST` indices of examples, the lowest probability first.
    """
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    return wrong[np.argsort(probabilities[wrong, labels[wrong]], kind="stable")][:WORST]


def _mistake(classes: Sequence[str], label: int, probabilities: Array) -> str:
    guess = int(probabilities.argmax())
    return f"{classes[label]} taken for {classes[guess]}\n({100 * probabilities[guess]:.0f} %)"


def first_layer_filters(model: keras.Model, input_shape: Sequence[int]) -> Array:
    """Return the weights of the first layer with weights as images (filters, height, width), the largest norm first.

    A convolution's filters keep their order. Of more than `LARGEST_FILTERS`, those with the largest norms are returned.
    """
    filters = first_layer_kernel(model, input_shape)
    if not len(filters):
        return filters
    strongest = np.argsort(-np.linalg.norm(filters, axis=(1, 2)))[:LARGEST_FILTERS]
    return filters[np.sort(strongest)] if filters.shape[1:] != tuple(input_shape) else filters[strongest]


def first_layer_kernel(model: keras.Model, input_shape: Sequence[int]) -> Array:
    """Return the weights of the first layer with weights as images (filters, height, width), in their order.

    Layers other than convolutions have none unless their inputs are the pixels of an image.
    """
    kernels: list[Any] = [layer.kernel for layer in model.layers if hasattr(layer, "kernel")]
    if not kernels:
        return np.empty(0)
    kernel = keras.ops.convert_to_numpy(kernels[0])
    if kernel.ndim == 4:
        return kernel.mean(axis=2).transpose(2, 0, 1)
    if len(input_shape) == 2 and len(kernel) == np.prod(input_shape):
        return kernel.T.reshape(-1, *input_shape)
    return np.empty(0)
