"""Build a network and fit it, on one device or several, from a checkpoint where there is one."""

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import keras
import numpy as np

from common import lazy, tasks, tracking
from common.app import App
from common.config import Config, FineTuneConfig
from common.data import Data, Pair
from common.errors import UserError
from common.nn import augmentation
from common.preprocessing import arrays
from common.training import checkpoint as checkpoints
from common.training import devices, epochs, hosts
from common.training.batches import Batches, InOrder, in_order
from common.training.checkpoint import Checkpoint, State
from common.training.class_weights import weighted
from common.training.prediction import predict
from common.training.stopping import StopAtDivergence, early_stopping
from common.training.validation import Validation

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class FitOptions:
    """Options of a training that are not among its settings."""

    until: int | None = None
    """Last epoch, at most `epochs` of the settings, which the learning rate's schedule still refers to."""
    checkpoint: Checkpoint | None = None
    """Resumes an interrupted training."""
    callbacks: Sequence[keras.callbacks.Callback] = ()
    validate: bool = True
    """Whether to measure on the validation set; False if it is part of the training set."""
    devices: int = 1
    """Number of devices that share a batch."""


DEFAULTS = FitOptions()


def build(app: App, config: Config, data: Data) -> keras.Model:
    """Build the app's network, or fine-tune the trained model that `config.init_from` names.

    Raises:
        UserError: if there is no such model, or its network differs.
    """
    usual = keras.config.dtype_policy()
    keras.config.set_dtype_policy(config.precision)
    try:
        if app.fine_tune and isinstance(config, FineTuneConfig) and config.init_from:
            model = app.fine_tune(tracking.load(app.name, config.init_from, "init_from"), config, data)
        else:
            model = app.build_model(config, data)
    finally:
        keras.config.set_dtype_policy(usual)
    if config.precision != "float32":
        model.layers[-1].dtype_policy = "float32"  # 16 bits do not suffice for probabilities and quantities
    return model


def pretrain(
    app: App, model: keras.Model, config: Config, data: Data, checkpoint: Checkpoint | None = None
) -> Iterator[tuple[str, "Figure"]]:
    """Train parts of the network before `fit`, if the app does so, and yield named figures.

    Args:
        app: The app.
        model: The network.
        config: The settings.
        data: The data.
        checkpoint: Checkpoint of the whole training. Those of the parts are beside it.
    """

    def fit_part(part: keras.Model, pair: Pair, name: str, last: int) -> None:
        batches = functools.partial(Batches, pair, config.batch_size, config.seed)
        epochs.fit(part, batches, last, checkpoint.part(name) if checkpoint else None)

    yield from app.pretrain(model, config, data, fit_part)
    if checkpoint:
        checkpoint.end_parts(model)


def fit(
    model: keras.Model, data: Data, config: Config, task: tasks.Task, options: FitOptions = DEFAULTS
) -> dict[str, list[float]]:
    """Train `model` in place; it ends with the weights of the epoch that `config.restore` names.

    Returns:
        The metrics of every epoch by name, including the epochs before an interruption.

    Raises:
        DivergenceError: if the loss is not finite.
    """

    def counting() -> list[keras.callbacks.Callback]:
        slowing = keras.callbacks.ReduceLROnPlateau(
            task.monitor if options.validate else "loss",
            config.decay,
            max(1, config.patience // 2),
            mode=task.mode if options.validate else "min",
        )
        stopping = early_stopping(model.optimizer, data, config, task)
        return [*([slowing] if config.schedule == "plateau" else []), stopping]

    train, validation = (weighted(pair, config, data) for pair in (data.train, data.validation))
    validated = in_order(validation, augmentation.patches(model)) if options.validate else None
    own = list[keras.callbacks.Callback]()
    if isinstance(validated, InOrder) and devices.number() > 1 and keras.backend.backend() == "jax":
        own, validated = [Validation(validated)], None
    return epochs.fit(
        model,
        functools.partial(
            Batches,
            train,
            data.batch_size(config),
            config.seed,
            data.examples(config),
            generate_epoch=data.generate_epoch,
        ),
        options.until or config.epochs,
        options.checkpoint,
        lambda step: [StopAtDivergence(config.learning_rate, step), *own, *options.callbacks],
        counting,
        validated,
        task.monitor if options.validate else "loss",
        task.mode if options.validate else "min",
        config.epochs,
    )


def device_count(app: App, config: Config, data: Data, requested: devices.Devices) -> int:
    """Return the number of devices that `requested` names.

    Raises:
        UserError: if there are fewer, or they do not divide a batch.
    """
    return devices.check(requested, data.batch_size(config), len(data.validation[1]), _layout(app, config))


def set_random_seed(seed: int) -> None:
    """Seed the random numbers of Python, NumPy and Keras, without an import of TensorFlow on another backend."""
    with lazy.without_tensorflow():
        keras.utils.set_random_seed(seed)


def fit_on_devices(
    app: App, model: keras.Model, data: Data, config: Config, options: FitOptions
) -> dict[str, list[float]]:
    """Train `model` as `fit` does; on several devices, train a copy of it there, and return with its variables.

    Raises:
        UserError: if another host has other settings or data, or TensorFlow cannot divide the loss.
    """
    if devices.on_all_hosts(options.devices) == 1:
        return fit(model, data, config, app.task, options)
    inputs, targets = arrays.first(data.train, 2)
    devices.check_loss(model, targets, predict(model, inputs))
    values = checkpoints.numbers(model)
    if hosts.together():
        state = options.checkpoint.state if options.checkpoint else State()
        own = (dataclasses.asdict(config), data.digest, options.devices)
        leading, values, state = hosts.from_leader((own, values, state))
        if leading != own:
            raise UserError("this host has other settings, data or `devices` than the first one; use the same on all")
        if hosts.follows():
            options = dataclasses.replace(options, checkpoint=checkpoints.Followed(state))
    with devices.parallel(options.devices, _layout(app, config)):
        # Hosts must begin with the same variables, also where they are replaced.
        set_random_seed(config.seed)
        copy = build(app, config, data)
        checkpoints.assign(copy, values)
        history = fit(copy, data, config, app.task, options)
        values = checkpoints.numbers(copy)
    if hosts.together():
        hosts.leave()
    checkpoints.assign(model, values)
    return history


def best_epoch(history: Mapping[str, Sequence[float]], task: tasks.Task) -> int:
    """Return the number, from 0, of the first epoch with the best value of the task's `monitor`; `fit` restores it."""
    values = np.array(history[task.monitor])
    values = np.where(np.isfinite(values), values if task.mode == "max" else -values, -np.inf)
    return int(np.argmax(values))


def _layout(app: App, config: Config) -> devices.Layout:
    return functools.partial(app.layout, config)
