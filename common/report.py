"""Draws and records the pictures of one finished run."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from sklearn.metrics import confusion_matrix

from common import plots
from common.app import Array, Data
from common.tracking import Run

WORST = 24
"""Mistakes that are shown."""
FILTERS = 64
"""First-layer filters that are shown, at most."""


def classification(
    run: Run,
    model: keras.Model,
    data: Data,
    history: Mapping[str, Sequence[float]],
    best_epoch: int,
    probabilities: Array,
) -> None:
    """Learning curves, confusion matrix, worst mistakes and first-layer filters; `probabilities` are the test set's."""
    inputs, labels = data.test
    run.log_figure(plots.learning_curves(history, best_epoch), "learning_curves")
    counts = confusion_matrix(labels, probabilities.argmax(axis=1), labels=range(len(data.classes)))
    run.log_figure(plots.confusion_matrix(counts, data.classes), "confusion_matrix")
    worst = worst_mistakes(labels, probabilities)
    if len(worst) and inputs.ndim == 3:
        titles = [_mistake(data.classes, labels[index], probabilities[index]) for index in worst]
        run.log_figure(plots.picture_grid(inputs[worst], titles, columns=8), "worst_mistakes")
    filters = first_layer_filters(model, data.input_shape)
    if len(filters):
        titles = [""] * len(filters)
        run.log_figure(
            plots.picture_grid(filters, titles, columns=min(8, len(filters)), cmap="RdBu"), "first_layer_filters"
        )


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
