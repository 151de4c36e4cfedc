"""Choose the figures of each task's run."""

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.figure import Figure
from sklearn import metrics

from common.data import Array, Trained
from common.metrics.intervals import LEVELS
from common.plots import results
from common.plots.colours import SIGNED
from common.plots.filters import LARGEST_FILTERS, first_layer_filters
from common.plots.panels import captioned
from common.preprocessing import series_windows

WORST = 24
"""Largest number of mistakes in a figure."""
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
    yield "learning_curves", results.learning_curves(trained.history, trained.best_epoch)
    inputs, labels = data.test
    counts = metrics.confusion_matrix(labels, decided, labels=range(len(data.outputs)))
    yield "confusion_matrix", results.confusion_matrix(counts, data.outputs)
    if threshold is not None:
        yield "decision", results.decision(labels, probabilities[:, 1], threshold, data.outputs[1])
    if data.kind not in ("image", "text"):
        return
    worst = worst_mistakes(labels, probabilities)
    titles = [_mistake(data.outputs, labels[index], probabilities[index]) for index in worst]
    if titles and data.kind == "text":
        found = results.sentences(inputs[worst], [title.replace("\n", " ") for title in titles])
        yield "worst_mistakes", captioned(found, MISTAKES)
    elif titles:
        yield "worst_mistakes", results.image_grid(inputs[worst], titles, columns=8, caption=MISTAKES)
    if data.kind == "image":
        filters = first_layer_filters(trained.model, data.input_shape)
        if len(filters):
            yield (
                "first_layer_filters",
                results.image_grid(filters, [""] * len(filters), min(8, len(filters)), SIGNED, FILTERS, ABOUT_FILTERS),
            )


def regression_figures(trained: Trained) -> Iterator[tuple[str, Figure]]:
    """Yield the names and figures of a regression: learning curves, and residuals over predictions."""
    yield "learning_curves", results.learning_curves(trained.history, trained.best_epoch)
    yield "residuals", results.residuals(trained.data.test[1], trained.predictions, trained.data.outputs)


def forecast_figures(trained: Trained, half_widths: Array | None) -> Iterator[tuple[str, Figure]]:
    """Yield the names and figures of a forecast: learning curves, residuals, forecasts, and the error of each step.

    Of several series, the forecasts of the first are drawn.

    Args:
        trained: The trained network.
        half_widths: Half of the widths of its intervals on the test set (levels, windows, steps, quantities).
    """
    data, predictions = trained.data, trained.predictions
    targets, quantities = data.test[1], data.outputs
    yield "learning_curves", results.learning_curves(trained.history, trained.best_epoch)
    flat = (-1, len(quantities))
    yield "residuals", results.residuals(targets.reshape(flat), predictions.reshape(flat), quantities)
    names = data.test_series
    rows = np.full(len(targets), True) if names is None else names == names[0]
    widths: Sequence[Array] = [] if half_widths is None else list(half_widths[:, rows])
    intervals = {f"{level} % interval": width for level, width in zip(LEVELS, widths, strict=False)}
    times = None if data.test_times is None else data.test_times[rows]
    yield "forecast", results.forecast(targets[rows], predictions[rows], intervals, quantities, times)
    history, horizon = series_windows.targets_of(data.test[0], len(quantities)), targets.shape[1]
    forecasts = {"network": predictions, "last value": series_windows.repeat_season(history, 1, horizon)}
    if data.formats.windows and (season := data.formats.windows.season) > 1:
        forecasts[f"value {season} steps before"] = series_windows.repeat_season(history, season, horizon)
    yield "error_by_step", results.error_by_step(targets, forecasts, quantities)


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
