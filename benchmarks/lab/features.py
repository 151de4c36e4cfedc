"""An experiment that shows features that networks learn from digits."""

import contextlib
import functools
import io
from typing import Any

import keras
from matplotlib.figure import Figure

from apps import dbn, lenet5, rbm
from benchmarks.lab.networks import fitted
from common import training
from common.data import Array, Data, Pair
from common.plots.animation import mosaic
from common.plots.colours import SIGNED
from common.plots.filters import first_layer_filters
from common.plots.panels import captioned
from common.training.batches import Batches
from common.training.epochs import fit as fit_epochs


def learned(quick: bool = False) -> Figure:
    """Draw the filters of LeNet-5, the features of a restricted Boltzmann machine, and a belief network's dreams."""
    limit, epochs = (200, 1) if quick else (6000, 10)
    settings = lenet5.Settings(limit=limit, epochs=min(4, epochs), restore="last")
    data = lenet5.app.load_data(settings)
    lenet, _ = fitted(lenet5.app, settings, data)
    machine, _ = fitted(rbm.app, rbm.Settings(limit=limit, epochs=epochs, hidden=64, restore="last"), data)
    figure = Figure(figsize=(13, 5), layout="constrained")
    panels = figure.subplots(1, 3, width_ratios=(2 / 3, 1, 1))
    for axes, title, images, columns, colours in (
        (panels[0], "LeNet-5: six filters", first_layer_filters(lenet, data.input_shape), 2, SIGNED),
        (panels[1], "RBM: weights of 64 units", first_layer_filters(machine, data.input_shape), 8, SIGNED),
        (panels[2], "belief network: dreams of 0 to 9", _dreams(data, limit, epochs, quick), 8, "gray_r"),
    ):
        mosaic(axes, images, columns, colours)
        axes.set_title(title)
    return captioned(
        figure,
        f"Trained on {limit:,} digits. Left: the filters of the first layer of LeNet-5, 5 × 5 pixels each. Middle:"
        " the weights of hidden units of a restricted Boltzmann machine, those with the largest norms. Red is "
        "positive, blue negative. Right: digits that a deep belief network generates, one class per row.",
    )


def _dreams(data: Data, limit: int, epochs: int, quick: bool) -> Array:
    """Return images that a deep belief network generates after its pretraining, eight of each class."""
    settings = dbn.Settings(limit=limit, pretraining=epochs, hidden=(200, 200, 400), persistent=True, dreaming=1)
    keras.utils.set_random_seed(settings.seed)
    machines = list[Any]()

    def fit(model: keras.Model, pair: Pair, _name: str, last: int) -> None:
        fit_epochs(model, functools.partial(Batches, pair, settings.batch_size, settings.seed), last)
        machines.append(model.layers[-1])

    with contextlib.redirect_stdout(io.StringIO()):
        list(dbn.pretrain(training.build(dbn.app, settings, data), settings, data, fit))
    images = dbn.dreams(machines, len(data.outputs), 5 if quick else 300)
    return images.reshape(len(data.outputs), dbn.DREAMS, *data.input_shape)[:, :8].reshape(-1, *data.input_shape)
