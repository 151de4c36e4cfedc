"""The suite's contestants: the public path of its trainings, with pauses between the epochs of one `fit`."""

from __future__ import annotations

import dataclasses
from importlib import import_module
from typing import Any

import keras
import numpy as np

from benchmarks.speed.gate import Run
from benchmarks.speed.pause import Pause
from benchmarks.speed.rows import Row
from common import training
from common.app import App
from common.config import Config
from common.data import Data
from common.preprocessing import splits

ENDLESS = 1_000_000
"""Epochs without progress after which a training that is measured stops."""


def any_row(run: Run) -> dict[str, float]:
    """Train the row's app without validation, and return its metric on the test set."""
    app, model, data = trained(run)
    return score(app, model, data)


def rbm(run: Run) -> dict[str, float]:
    """Train the machine and its readout, and return the accuracy and the error of the reconstruction."""
    app, model, data = trained(run)
    grey = data.test[0].reshape(len(data.test[0]), -1).astype("float32") / 255
    shown = keras.ops.convert_to_numpy(model.get_layer("rbm").reconstruct(grey))
    return score(app, model, data) | {"reconstruction error": float(np.square(grey - shown).mean())}


def dbn(run: Run) -> dict[str, float]:
    """Pretrain and fine-tune, whole, in each round."""
    app, config, data = load(run.row, run.folder)
    for _ in range(run.gate.epochs):
        model = build(app, config, data)
        list(training.pretrain(app, model, config, data))
        history = training.fit(model, data, config, app.task, training.FitOptions(validate=False))
        run.gate(history["loss"][-1])
    return score(app, model, data)


def linear_regression(run: Run) -> dict[str, float]:
    """Build the network and train it until its loss stops falling, whole, in each round."""
    app, config, data = load(run.row, run.folder)
    for _ in range(run.gate.epochs):
        model = build(app, config, data)
        run.gate(training.fit(model, data, config, app.task)["loss"][-1])
    return score(app, model, data)


def load(row: Row, folder: str) -> tuple[App, Config, Data]:
    """Return the app of a row, its settings with files in `folder`, and its data."""
    app: App = import_module(f"apps.{row.app}").app
    values: dict[str, Any] = {
        name: value.format(folder=folder) if isinstance(value, str) else value for name, value in row.settings.items()
    }
    config = app.settings(**values)
    data = app.load_data(config)
    if row.examples:
        rows = np.resize(np.arange(data.examples(config)), row.examples)
        data = dataclasses.replace(data, train=splits.take_pair(data.train, rows))
    return app, config, data


def build(app: App, config: Config, data: Data) -> keras.Model:
    """Build the app's network as `train` does."""
    keras.utils.set_random_seed(config.seed)
    return app.build_model(config, data)


def trained(run: Run) -> tuple[App, keras.Model, Data]:
    """Return the app of a row with its trained network and its data."""
    app, config, data = load(run.row, run.folder)
    model = build(app, config, data)
    config = dataclasses.replace(config, restore="last", patience=ENDLESS)
    options = training.FitOptions(run.gate.epochs, callbacks=[Pause(run.gate)], validate=False)
    training.fit(model, data, config, app.task, options)
    return app, model, data


def score(app: App, model: keras.Model, data: Data) -> dict[str, float]:
    """Return the metric of the app's task on the test set."""
    predictions = training.predictions_for(app.task, model, data.test)
    metric = app.task.metric
    return {f"test {metric}": app.task.score(data.test[1], predictions)[metric]}
