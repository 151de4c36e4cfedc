"""Draws the pictures of a trained network, by what it is asked for."""

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import confusion_matrix

from common import plots
from common.app import Array
from common.tasks import Trained

WORST = 24
"""Mistakes that are shown."""
FILTERS = 64
"""First-layer filters that are shown, at most."""


def classification(trained: Trained, decided: Array, threshold: float | None) -> Iterator[tuple[str, Figure]]:
    """Learning curves, the confusion matrix of the labels `decided` on, and what else the classes and inputs allow.

    With a decision threshold between two classes their ROC, precision-recall and calibration curves; for pictures and
    sentences the worst mistakes; for pictures the first layer's filters.
    """
    data, probabilities = trained.data, trained.predictions
    yield "learning_curves", plots.learning_curves(trained.history, trained.best_epoch)
    inputs, labels = data.test
    counts = confusion_matrix(labels, decided, labels=range(len(data.outputs)))
    yield "confusion_matrix", plots.confusion_matrix(counts, data.outputs)
    if threshold is not None:
        yield "decision", plots.decision(labels, probabilities[:, 1], threshold, data.outputs[1])
    if isinstance(inputs, dict):
        return
    worst = worst_mistakes(labels, probabilities)
    titles = [_mistake(data.outputs, labels[index], probabilities[index]) for index in worst]
    if inputs.dtype == object:
        if titles:
            yield "worst_mistakes", plots.sentences(inputs[worst], [title.replace("\n", " ") for title in titles])
    elif inputs.ndim >= 3:
        if titles:
            yield "worst_mistakes", plots.picture_grid(inputs[worst], titles, columns=8)
        yield from _filters(trained.model, data.input_shape)


def _filters(model: keras.Model, input_shape: Sequence[int]) -> Iterator[tuple[str, Figure]]:
    filters = first_layer_filters(model, input_shape)
    if len(filters):
        titles = [""] * len(filters)
        yield "first_layer_filters", plots.picture_grid(filters, titles, min(8, len(filters)), cmap="RdBu")


def regression(trained: Trained) -> Iterator[tuple[str, Figure]]:
    """Learning curves, and residuals over predictions."""
    yield "learning_curves", plots.learning_curves(trained.history, trained.best_epoch)
    yield "residuals", plots.residuals(trained.data.test[1], trained.predictions, trained.data.outputs)


def forecast(trained: Trained) -> Iterator[tuple[str, Figure]]:
    """Learning curves, residuals, the forecasts over the test set with their interval, and the error of every step.

    The interval is that of the validation set's residuals, step by step: 95 % of them lie inside.
    """
    data, predictions = trained.data, trained.predictions
    targets, quantities = data.test[1], data.outputs
    yield "learning_curves", plots.learning_curves(trained.history, trained.best_epoch)
    flat = (-1, len(quantities))
    yield "residuals", plots.residuals(targets.reshape(flat), predictions.reshape(flat), quantities)
    windows, following = data.validation
    residuals = following - trained.model.predict(windows, verbose=0)
    low, high = np.quantile(residuals, [0.025, 0.975], axis=0)
    yield "forecast", plots.forecast(targets, predictions, predictions + low, predictions + high, quantities)
    last = data.test[0][:, -1:]
    yield "error_by_step", plots.error_by_step(targets, {"network": predictions, "last value": last}, quantities)


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
    strongest = np.argsort(-np.linalg.norm(filters, axis=(1, 2)))[:FILTERS]
    return filters[np.sort(strongest)] if kernel.ndim == 4 else filters[strongest]
