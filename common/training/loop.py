"""Train, evaluate and record a model, from settings to the registered version."""

import contextlib
import dataclasses
import io
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import keras
import numpy as np

from common import interruption, tasks, tracking
from common.app import App
from common.config import Config
from common.data import Array, Data, Trained
from common.errors import DivergenceError, UserError, print_notes
from common.interruption import InterruptionError
from common.preprocessing import arrays, splits
from common.report import training as report
from common.result import Result, prefixed
from common.tracking.epochs import EpochLogger
from common.training import baseline as baseline_runs
from common.training import devices
from common.training.checkpoint import MINUTES, SUFFIX, Checkpoint, State, Stopwatch
from common.training.class_weights import recalibrated, validation_loss
from common.training.devices import Devices
from common.training.diagnosis import EXAMPLES, Diagnosis
from common.training.few_examples import enough_steps
from common.training.fitting import (
    DEFAULTS,
    FitOptions,
    best_epoch,
    build,
    device_count,
    fit_on_devices,
    pretrain,
    set_random_seed,
)
from common.training.prediction import predict, predictions_for
from common.training.symptoms import HEALTHY, advice, worse_than
from common.training.watching import NOTHING, Watching

COPIES = 9
"""Copies of the weights on the disk: a model, and two checkpoints with the best weights and two moments each."""


def load(app: App, config: Config) -> tuple[App, Data]:
    """Load the app's data, print the notes of its reader, and return the app with its task for the data.

    Raises:
        UserError: if the data cannot be loaded, or has no classes for `class_weights`.
    """
    data = app.load_data(config)
    print_notes(data.description.notes)
    own = app.for_data(data)
    if config.class_weights != "none" and not isinstance(own.task, tasks.Classification):
        raise UserError(f"`class_weights` {config.class_weights}: {data.name} has no classes; leave it out")
    if own.task.monitor != app.task.monitor:
        counts = np.bincount(data.train[1])
        rarest, share = data.outputs[counts.argmin()], 100 * counts.min() / counts.sum()
        words = f"only {share:.1f} % of the examples are {rarest}, so {own.task.monitor} chooses the best epoch"
        print_notes([f"{words} and the champion, not {app.task.monitor}"])
    return own, data


def train(
    app: App,
    config: Config,
    resumed: str | None = None,
    minutes: float = MINUTES,
    baselines: bool = False,
    watching: Watching = NOTHING,
    requested: Devices = 1,
) -> Result:
    """Train the app's network, evaluate it once on the test set, record the run and register the model.

    Args:
        app: The app.
        config: The settings.
        resumed: Id of an interrupted run with these settings, to go on with; None for a new run.
        minutes: Longest time within an epoch without a checkpoint.
        baselines: Compare the network with the app's baselines on the same data: those that are recorded, or else, if
            this takes seconds, those that are fitted and recorded now.
        watching: Files to write for those who watch the training.
        requested: Number of devices to train on.

    Raises:
        UserError: if the data cannot be loaded or has changed, the store cannot be written, or the devices do not
            divide a batch.
        DivergenceError: if the loss is not finite.
        InterruptionError: after Ctrl-C or SIGTERM.
    """
    tracking.check_checkpoints()
    if resumed and config.epochs < (finished := Checkpoint(_checkpoint_file(resumed)).state.epochs):
        raise UserError(f"`epochs` {config.epochs}: the run {resumed} has {finished} already")
    watching.check(app)
    app, data = load(app, config)
    config = config if resumed else enough_steps(config, data)
    count = device_count(app, config, data, requested)
    beside = baseline_runs.beside(app, config, data) if baselines else {}
    with interruption.deferred():
        with tracking.run(app, "train", config, data, resumed=resumed) as run:
            checkpoint = Checkpoint(_checkpoint_file(run.id), minutes=minutes)
            try:
                callbacks = watching.callbacks(app, data, run.id)
                options = FitOptions(checkpoint=checkpoint, callbacks=callbacks, devices=count)
                result = _train(app, config, data, run, options, beside=beside)
            except InterruptionError as error:
                error.run_id = run.id
                raise
            except DivergenceError as error:
                error = DivergenceError(f"{error}{_keep_last(app, config, data, run, checkpoint)}")
                run.log_report(report.write_failed(run, config, checkpoint.history, f"diverged: {error}"))
                raise error from None
            except (UserError, *tracking.OUTAGES):
                raise
            except Exception as error:
                words = f"failed: {type(error).__name__}: {error}"
                run.log_report(report.write_failed(run, config, checkpoint.history, words))
                raise
        tracking.delete_checkpoints(run.id)
    return result


def _checkpoint_file(run_id: str) -> Path:
    return tracking.checkpoints(run_id) / f"training{SUFFIX}"


def _keep_last(app: App, config: Config, data: Data, run: tracking.ActiveRun, checkpoint: Checkpoint) -> str:
    """Save the network of the last checkpoint with the run, and return words about it; nothing if there is none."""
    saved = Checkpoint(checkpoint.path)
    if not saved.state.epochs:
        return ""
    model = build(app, config, data)
    saved.restore(model)
    tracking.log_model(run, model, app.task)
    return f"; the network after epoch {saved.state.epochs} is saved with the run {run.id}"


def retrain(
    app: App, config: Config, chosen: Mapping[str, float], key: tracking.RunKey, checkpoint: Checkpoint
) -> Result:
    """Train as `train` does, with the settings that a search chose, on the training and validation sets together.

    Training ends with the epoch that was best in the search. If the two sets cannot be joined, or the app calibrates
    the network on the validation set, it trains as a trial.

    Args:
        app: The app.
        config: The chosen settings.
        chosen: Metrics that the search measured with them, by `best_*` names. No data is left to measure them again.
        key: Key of the run.
        checkpoint: Checkpoint to resume from.

    Raises:
        UserError: as `train`.
    """
    app, data = load(app, config)
    options = FitOptions(checkpoint=checkpoint)
    if app.calibrate is None and splits.poolable(data, app.task.fold_strategy):
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
    options: FitOptions = DEFAULTS,
    chosen: Mapping[str, float] = MappingProxyType({}),
    beside: Mapping[str, float] = MappingProxyType({}),
) -> Result:
    model, task, history, measured, findings = _fit_and_measure(app, config, data, run, options)
    measured |= {name: value for name, value in chosen.items() if name.startswith("best_val_")}
    task = task.choose_threshold(data.validation[1], lambda: predict(model, data.validation[0]))
    predictions = predictions_for(task, model, data.test)
    measured |= _test(task, model, config, data, predictions) | task.chosen()
    run.log_metrics(measured, step=len(history["loss"]))
    findings += [
        *task.symptoms(data.test[1], predictions, data.outputs),
        *worse_than(beside, task, measured, data.test[1]),
    ]
    findings = findings or [HEALTHY]
    run.log_text("\n".join(findings), "diagnosis")
    words = task.summary(measured, len(data.test[1]))
    run.describe(described := report.description(words, findings))
    interruption.check()
    trained = Trained(model, data, history, int(measured["best_epoch"]), predictions, config)
    for name, figure in task.figures(trained):
        run.log_figure(figure, name, vector=name == report.CURVES)
        interruption.check()
    tables = dict(app.tables(model, data)) | dict(task.tables(data.test[1], predictions, data.outputs))
    for name, table in tables.items():
        run.log_table(table, name)
    run.log_report(report.write(run, trained, measured, words, {line: advice(line) for line in findings}, tables))
    version = tracking.save(run, model, measured, task, described)
    return Result(data.name, app.task, measured, len(data.test[1]), run.id, version, tables, findings, beside, model)


def trial(app: App, config: Config, data: Data, run: tracking.ActiveRun, options: FitOptions) -> dict[str, float]:
    """Train the app's network as a trial of a search or one of its folds, without test set, figures and registration.

    Returns:
        Metrics by name, which are also recorded in `run`. A search compares the task's `monitor` at the best epoch.
    """
    *_, history, measured, findings = _fit_and_measure(app, config, data, run, options)
    run.log_metrics(measured, step=len(history["loss"]))
    run.log_text("\n".join(findings or [HEALTHY]), "diagnosis")
    return measured


def _fit_and_measure(
    app: App, config: Config, data: Data, run: tracking.ActiveRun, options: FitOptions
) -> tuple[keras.Model, tasks.Task, dict[str, list[float]], dict[str, float], list[str]]:
    """Build, train and diagnose the network.

    Returns:
        The network with its final weights, its task, the metrics of every epoch, the metrics of the run, and the
        findings.
    """
    set_random_seed(config.seed)
    model = build(app, config, data)
    tracking.check_space(COPIES * 4 * model.count_params())
    diagnosis = Diagnosis(model, *arrays.spread(data.train, EXAMPLES))
    resumed = options.checkpoint.state if options.checkpoint else State()
    training = Stopwatch(resumed.wall, resumed.cpu)
    if resumed.variables:
        run.find_figures()  # of the pretraining
    else:
        for name, figure in pretrain(app, model, config, data, options.checkpoint):
            run.log_figure(figure, name)
    count = devices.on_all_hosts(options.devices)
    fitting = Stopwatch(resumed.wall)
    logger = EpochLogger(run, resumed.history)
    options = dataclasses.replace(options, callbacks=[logger, *options.callbacks])
    history = fit_on_devices(app, model, data, config, options)
    fit_seconds, _ = fitting.seconds()
    wall, cpu = training.seconds()
    best = best_epoch(history, app.task) if config.restore == "best" else len(history["loss"]) - 1
    examples = len(history["loss"]) * data.steps(config) * data.batch_size(config)
    measured = {
        "best_epoch": best + 1,
        **{f"best_{name}": values[best] for name, values in history.items()},
        "train_seconds": wall,
        "train_cpu_seconds": cpu,
        "examples_per_second": examples / fit_seconds,
        "trainable_parameters": sum(int(np.prod(weight.shape)) for weight in model.trainable_weights),
    }
    if count > 1:
        measured |= {
            "devices": count,
            "examples_per_second_per_device": measured["examples_per_second"] / count,
        }
    # The network may not be compiled with the task's metric.
    if options.validate and f"best_val_{app.task.metric}" not in measured:
        predictions = predictions_for(app.task, model, data.validation)
        measured |= prefixed("best_val", app.task.score(data.validation[1], predictions))
    final, task = model, app.task
    if config.class_weights == "balanced" and np.isfinite(measured.get("best_val_loss", measured["best_loss"])):
        # `calibrate` fits the network to the validation set, so that nothing is left to fit there.
        final, task = recalibrated(model, task, data, options.validate and app.calibrate is None)
        if options.validate:
            measured["best_val_loss"] = validation_loss(final, data)
    if app.calibrate:
        app.calibrate(model, config, data)
    findings = diagnosis.findings(history, data.steps(config), 0 if options.until else config.epochs)
    findings += logger.outages
    return final, task, history, measured, findings


def assist(app: App, config: Config, resumed: bool, requested: Devices) -> None:
    """Take part in the training of another host, with this host's share of every batch. Nothing is recorded here.

    Args:
        app: The app.
        config: The settings, as those of the other host.
        resumed: Whether it resumes a run.
        requested: Number of devices to train on.

    Raises:
        UserError: as `train`, or if the other host has other settings or data.
        DivergenceError: if the loss is not finite.
    """
    with contextlib.redirect_stdout(io.StringIO()), interruption.deferred():
        with contextlib.redirect_stderr(io.StringIO()):  # the other host prints the same notes
            app, data = load(app, config)
            config = config if resumed else enough_steps(config, data)
        count = device_count(app, config, data, requested)
        model = build(app, config, data)
        fit_on_devices(app, model, data, config, FitOptions(devices=count))


def baseline(app: App, config: Config) -> dict[str, Result]:
    """Fit the app's classical baselines on the same split and record each in the same experiment.

    Returns:
        The result of each baseline, by its name.

    Raises:
        UserError: as `train`.
    """
    app, data = load(app, config)
    return baseline_runs.fit(app, config, data)


def _test(task: tasks.Task, model: keras.Model, config: Config, data: Data, predictions: Array) -> dict[str, float]:
    """Return the test metrics of the network and of its `predictions` for the test set."""
    return prefixed("test", task.score(data.test[1], predictions) | task.model_metrics(model, config, data))


def evaluate(app: App, which: str | None) -> tuple[str, Result]:
    """Evaluate a saved model on the test set.

    Args:
        app: The app of the model.
        which: The model, as for `tracking.load`.

    Returns:
        The model's label and the result.

    Raises:
        UserError: if there is no such model, or its data cannot be loaded or has changed.
    """
    saved = tracking.load(app.name, which)
    config, data, task = app.settings_of(saved), app.data_of(saved), app.task_of(saved)
    measured = _test(task, saved.model, config, data, predictions_for(task, saved.model, data.test))
    return saved.label, Result(data.name, task, measured, len(data.test[1]))
