"""The one path from settings to a trained, evaluated, recorded model."""

import dataclasses
import functools
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import keras
import numpy as np
import pandas as pd

from common import baselines, tasks, tracking
from common.app import App
from common.config import Config, FineTuneConfig
from common.data import Array, Data, Inputs, Pair, Trained
from common.preprocessing import arrays, splits
from common.training.batches import Batches, InOrder, in_order
from common.training.checkpoint import Checkpoint, State, cpu_seconds
from common.training.diagnosis import Diagnosis

STEPS_PER_EXECUTION = 32
"""Batches that run in one call from Python."""


@dataclass(frozen=True)
class Result:
    """A finished run: what was measured on how many test examples, and the version if a model was registered."""

    data: str
    metrics: dict[str, float]
    test_examples: int
    run_id: str | None = None
    version: tracking.Version | None = None
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    findings: Sequence[str] = ()
    """What is wrong with a training run, in words."""


@dataclass(frozen=True)
class FitOptions:
    """How a training goes where it is part of a search; by default as it goes alone."""

    until: int | None = None
    """Epoch after which it ends, before all those of the settings, by which the learning rate's schedule goes."""
    checkpoint: Checkpoint | None = None
    """Takes it up where it was cut off."""
    callbacks: Sequence[keras.callbacks.Callback] = ()
    """What else looks on."""
    validate: bool = True
    """Whether the validation set takes part: not where it is trained on."""


ALONE = FitOptions()


def train(app: App, config: Config) -> Result:
    """Train the app's network, evaluate it once on the test set, record it, draw it and register it.

    Raises:
        UserError: where the data cannot be had or the store cannot be written.
    """
    data = app.load_data(config)
    with tracking.run(app, "train", config, data) as run:
        return _train(app, config, data, run)


def retrain(
    app: App, config: Config, chosen: Mapping[str, float], key: tracking.RunKey, checkpoint: Checkpoint
) -> Result:
    """Train as `train` does, with settings that a search has chosen, on training and validation set together.

    `chosen` is what the search measured with them, by `best_*` names: there is nothing left to measure it on. Training
    ends with the epoch that was the best one then. Where the two sets are not of one kind, it goes as it did then.

    Raises:
        UserError: as `train`.
    """
    data = app.load_data(config)
    options = FitOptions(checkpoint=checkpoint)
    if splits.poolable(data, app.task.fold_strategy):
        data = dataclasses.replace(data, train=splits.join_pairs(data.train, data.validation))
        config = dataclasses.replace(config, restore="last")
        options = FitOptions(round(chosen["best_epoch"]), checkpoint, validate=False)
    with tracking.run(app, "train", config, data, "tuned", key) as run:
        return _train(app, config, data, run, options, chosen)


def _train(
    app: App,
    config: Config,
    data: Data,
    run: tracking.ActiveRun,
    options: FitOptions = ALONE,
    chosen: Mapping[str, float] = MappingProxyType({}),
) -> Result:
    model, history, measured, findings = _fit_and_measure(app, config, data, run, options)
    measured |= {name: value for name, value in chosen.items() if name.startswith("best_val_")}
    task = app.task.choose_threshold(data.validation[1], lambda: predict(model, data.validation[0]))
    predictions = predictions_for(task, model, data.test)
    measured |= _test(task, model, config, data, predictions)
    run.log_metrics(measured, step=len(history["loss"]))
    trained = Trained(model, data, history, int(measured["best_epoch"]), predictions, config)
    for name, figure in task.figures(trained):
        run.log_figure(figure, name)
    tables = dict(app.tables(model, data))
    for name, table in tables.items():
        run.log_table(table, name)
    version = tracking.save(run, model, measured, task)
    return Result(data.name, measured, len(data.test[1]), run.id, version, tables, findings)


def build(app: App, config: Config, data: Data) -> keras.Model:
    """Build the app's network, or the one that goes on from the trained model that `config.init_from` names.

    Raises:
        UserError: if there is no such model, or its network differs.
    """
    if app.fine_tune and isinstance(config, FineTuneConfig) and config.init_from:
        return app.fine_tune(tracking.load(app.name, config.init_from, "init_from"), config, data)
    return app.build_model(config, data)


def trial(app: App, config: Config, data: Data, run: tracking.ActiveRun, options: FitOptions) -> dict[str, float]:
    """Train the app's network as a trial of a search, or one of its folds: neither tested, drawn nor registered.

    Gives what was measured, and records it in `run`; a search goes by the best epoch's value of the task's objective.
    """
    _, history, measured, _ = _fit_and_measure(app, config, data, run, options)
    run.log_metrics(measured, step=len(history["loss"]))
    return measured


def _fit_and_measure(
    app: App, config: Config, data: Data, run: tracking.ActiveRun, options: FitOptions
) -> tuple[keras.Model, dict[str, list[float]], dict[str, float], list[str]]:
    """Build, train and diagnose the network; give it with its best epoch's weights, curves, figures and findings."""
    keras.utils.set_random_seed(config.seed)
    model = build(app, config, data)
    diagnosis = Diagnosis(model, *arrays.first(data.train))
    begun = options.checkpoint.state if options.checkpoint else State()
    wall, cpu = time.perf_counter() - begun.wall, cpu_seconds() - begun.cpu
    if not begun.epochs:
        for name, figure in app.pretrain(model, config, data):
            run.log_figure(figure, name)
    pretrained = time.perf_counter() - begun.wall
    logger = tracking.EpochLogger(run, begun.history)
    options = dataclasses.replace(options, callbacks=[logger, *options.callbacks])
    history = fit(model, data, config, app.task, options).history
    seconds = time.perf_counter() - pretrained
    wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
    best = best_epoch(history, app.task) if config.restore == "best" else len(history["loss"]) - 1
    examples = len(history["loss"]) * data.steps(config) * min(config.batch_size, data.examples(config))
    measured = {
        "best_epoch": best + 1,
        **{f"best_{name}": values[best] for name, values in history.items()},
        "train_seconds": wall,
        "train_cpu_seconds": cpu,
        "examples_per_second": examples / seconds,
        "trainable_parameters": sum(int(np.prod(weight.shape)) for weight in model.trainable_weights),
    }
    # The task's metric may be one that the network is not compiled with.
    if options.validate and f"best_val_{app.task.metric}" not in measured:
        judging = predictions_for(app.task, model, data.validation)
        measured |= _prefixed("best_val", app.task.score(data.validation[1], judging))
    findings = diagnosis.findings(history)
    run.log_text("\n".join(findings), "diagnosis")
    return model, history, measured, findings


def baseline(app: App, config: Config) -> dict[str, Result]:
    """Fit the app's classical baselines on the same split and record each in the same experiment; by their names.

    Raises:
        UserError: as `train`.
    """
    data = app.load_data(config)
    estimators = (app.baseline or baselines.default)(config, data)
    if not isinstance(estimators, Mapping):
        estimators = {"baseline": estimators}
    return {name: _fit_baseline(app, config, data, name, estimator) for name, estimator in estimators.items()}


def _fit_baseline(app: App, config: Config, data: Data, name: str, estimator: Any) -> Result:
    with tracking.run(app, "baseline", config, data, name) as run:
        wall, cpu = time.perf_counter(), cpu_seconds()
        estimator.fit(*data.train)
        wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
        answer = functools.partial(app.task.predict, estimator)
        validation, test = (app.task.predictions_for(answer, pair) for pair in (data.validation, data.test))
        task = app.task.choose_threshold(data.validation[1], lambda: validation)
        measured = {
            **_prefixed("best_val", task.score(data.validation[1], validation)),
            **_prefixed("test", task.score(data.test[1], test)),
            "train_seconds": wall,
            "train_cpu_seconds": cpu,
        }
        run.log_metrics(measured)
    return Result(data.name, measured, len(data.test[1]), run.id)


def _test(task: tasks.Task, model: keras.Model, config: Config, data: Data, predictions: Array) -> dict[str, float]:
    """The test figures of the network and of its `predictions` for the test set."""
    return _prefixed("test", task.score(data.test[1], predictions) | task.model_metrics(model, config, data))


def _prefixed(prefix: str, figures: Mapping[str, float]) -> dict[str, float]:
    return {f"{prefix}_{name}": value for name, value in figures.items()}


def evaluate(app: App, which: str | None) -> tuple[str, Result]:
    """Measure the saved model that `which` names, as `tracking.load` reads it, on the test set; gives its label too.

    Raises:
        UserError: where there is no such model, or its data cannot be had or has changed.
    """
    saved = tracking.load(app.name, which)
    config, data, task = app.settings_of(saved), app.data_of(saved), app.task_of(saved)
    measured = _test(task, saved.model, config, data, predictions_for(task, saved.model, data.test))
    return saved.label, Result(data.name, measured, len(data.test[1]))


def predictions_for(task: tasks.Task, model: keras.Model, pair: Pair) -> Array:
    """The network's outputs that `task` measures on this part of the data."""
    return task.predictions_for(functools.partial(predict, model), pair)


def predict(model: keras.Model, inputs: Inputs) -> Array:
    """The network's outputs for `inputs`, (examples, …)."""
    size = arrays.prediction_batch(inputs)
    model.steps_per_execution = 1  # Keras would trace the network once for each of several steps
    if arrays.in_memory(inputs):
        return model.predict(inputs, batch_size=size, verbose=0)
    return model.predict(InOrder((inputs,), size), verbose=0)


def fit(
    model: keras.Model, data: Data, config: Config, task: tasks.Task, options: FitOptions = ALONE
) -> keras.callbacks.History:
    """Train `model` in place and leave it with the weights of the epoch that `config.restore` names."""
    if keras.backend.backend() == "tensorflow":
        model.jit_compile = compile_with_xla(model)
    model.steps_per_execution = STEPS_PER_EXECUTION
    feed = Batches(data.train, config.batch_size, config.seed, data.examples(config), data.generate_epoch)
    best = config.restore == "best"
    stopping = keras.callbacks.EarlyStopping(
        task.monitor if best else "loss",
        mode=task.mode if best else "min",
        patience=config.patience,
        restore_best_weights=best,
    )
    slowing = keras.callbacks.ReduceLROnPlateau(
        task.monitor if options.validate else "loss",
        config.decay,
        max(1, config.patience // 2),
        mode=task.mode if options.validate else "min",
    )
    counting = [*([slowing] if config.schedule == "plateau" else []), stopping]
    callbacks = [feed, *options.callbacks, *counting]
    epochs = options.until or config.epochs
    begun = State()
    if options.checkpoint:
        options.checkpoint.counting = counting
        callbacks.append(options.checkpoint)
        begun = options.checkpoint.state
    if begun.epochs:
        feed.on_epoch_begin(begun.epochs)  # Keras begins to read before it says so
    history = model.fit(
        feed.dataset(),
        initial_epoch=epochs if begun.stopped else begun.epochs,
        epochs=epochs,
        # Known already; said again, because Keras otherwise makes every epoch's iterator twice.
        steps_per_epoch=data.steps(config),
        shuffle=False,
        validation_data=in_order(data.validation) if options.validate else None,
        callbacks=callbacks,
        verbose=1 if sys.stdout.isatty() else 2,  # a bar that moves, or in a log file a line an epoch
    )
    history.history = {
        name: [*begun.history.get(name, []), *history.history.get(name, [])] for name in begun.history | history.history
    }
    return history


def best_epoch(history: Mapping[str, Sequence[float]], task: tasks.Task) -> int:
    """Position, from 0, of the first epoch with the best value of the task's objective: the one that `fit` keeps."""
    values = history[task.monitor]
    return int(np.argmax(values) if task.mode == "max" else np.argmin(values))


def compile_with_xla(model: keras.Model) -> bool:
    """Whether XLA makes this network faster on this device: on a CPU, dense and recurrent networks.

    There its convolutions are slow, and where inputs are drawn, or some dropped, it draws them anew for every unit that
    reads them.
    Measured by benchmarks/compilation.py, which on a GPU remains to be run: until then it is on there, Keras's choice.
    """
    import tensorflow as tf

    if any(tensor.dtype == "string" for tensor in model.inputs):
        return False  # XLA knows numbers only
    if tf.config.list_physical_devices("GPU"):
        return all(layer.supports_jit for layer in model.layers)  # LSTM and GRU do not where cuDNN has them
    if any("conv" in type(layer).__name__.lower() for layer in model.layers):
        return False
    first = next((layer for layer in model.layers if layer.trainable_weights or hasattr(layer, "seed_generator")), None)
    return not hasattr(first, "seed_generator")
