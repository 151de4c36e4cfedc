"""The one path from settings to a trained, evaluated, recorded model."""

import dataclasses
import math
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import pandas as pd

from common import tracking
from common.app import App, Array, Config, Data, Inputs, Pair
from common.diagnosis import Diagnosis
from common.errors import UserError
from common.tasks import Task, Trained

STEPS_PER_EXECUTION = 32
"""Batches that run in one call from Python."""

PREDICTION_BATCH = 250
"""Examples that are evaluated at a time, at most."""
PREDICTION_BYTES = 2**22
"""What those examples may take, so that what a network makes of large ones fits into memory."""


@dataclass(frozen=True)
class Result:
    """A finished run: what was measured on how many test examples, and the version if a model was registered."""

    data: str
    metrics: dict[str, float]
    test_examples: int
    run_id: str | None = None
    version: tracking.Version | None = None
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    verdicts: Sequence[str] = ()
    """What is wrong with a training run, in words."""


def train(app: App, config: Config) -> Result:
    """Train the app's network, evaluate it once on the test set, record it, draw it and register it.

    Raises:
        UserError: where the data cannot be had or the store cannot be written.
    """
    data = app.load_data(config)
    with tracking.run(app, "train", config, data) as run:
        model, history, measured, verdicts = _fit_and_measure(app, config, data, run)
        task = app.task.settle(data.validation[1], lambda: predict(model, data.validation[0]))
        predictions = predict(model, data.test[0])
        measured |= _prefixed("test", task.measure(data.test[1], predictions))
        run.log_metrics(measured, step=len(history["loss"]))
        trained = Trained(model, data, history, int(measured["best_epoch"]), predictions)
        for name, figure in task.pictures(trained):
            run.log_figure(figure, name)
        tables = dict(app.tables(trained))
        for name, table in tables.items():
            run.log_table(table, name)
        version = run.log_model(model, measured, task)
    return Result(data.name, measured, len(data.test[1]), run.id, version, tables, verdicts)


def trial(app: App, config: Config, data: Data) -> dict[str, float]:
    """Train the app's network as one trial of a search: recorded, but neither tested, drawn nor registered.

    Gives what was measured; a search goes by the best epoch's value of the task's objective.
    """
    with tracking.run(app, "trial", config, data) as run:
        _, history, measured, _ = _fit_and_measure(app, config, data, run)
        run.log_metrics(measured, step=len(history["loss"]))
    return measured


def _fit_and_measure(
    app: App, config: Config, data: Data, run: tracking.Run
) -> tuple[keras.Model, dict[str, list[float]], dict[str, float], list[str]]:
    """Build, train and diagnose the network; give it with its best epoch's weights, curves, figures and verdicts."""
    keras.utils.set_random_seed(config.seed)
    model = app.build_model(config, data)
    diagnosis = Diagnosis(model, *_some(data.train))
    wall, cpu = time.perf_counter(), cpu_seconds()
    history = fit(model, data, config, app.task, [tracking.EpochLogger(run)]).history
    wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
    best = best_epoch(history, app.task) if config.keep == "best" else len(history["loss"]) - 1
    examples = len(history["loss"]) * data.steps(config) * min(config.batch_size, data.examples(config))
    measured = {
        "best_epoch": best + 1,
        **{f"best_{name}": values[best] for name, values in history.items()},
        "train_seconds": wall,
        "train_cpu_seconds": cpu,
        "examples_per_second": examples / wall,
        "trainable_parameters": sum(int(np.prod(weight.shape)) for weight in model.trainable_weights),
    }
    verdicts = diagnosis.verdicts(history)
    run.log_text("\n".join(verdicts), "diagnosis")
    return model, history, measured, verdicts


def baseline(app: App, config: Config) -> dict[str, Result]:
    """Fit the app's classical baselines on the same split and record each in the same experiment; by their names.

    Raises:
        UserError: as `train`.
    """
    data = app.load_data(config)
    estimators = app.baseline(config, data)
    if not isinstance(estimators, Mapping):
        estimators = {"baseline": estimators}
    return {name: _fit_baseline(app, config, data, name, estimator) for name, estimator in estimators.items()}


def _fit_baseline(app: App, config: Config, data: Data, name: str, estimator: Any) -> Result:
    with tracking.run(app, "baseline", config, data, name) as run:
        wall, cpu = time.perf_counter(), cpu_seconds()
        estimator.fit(*data.train)
        wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
        validation, test = (app.task.predict(estimator, inputs) for inputs, _ in (data.validation, data.test))
        task = app.task.settle(data.validation[1], lambda: validation)
        measured = {
            **_prefixed("best_val", task.measure(data.validation[1], validation)),
            **_prefixed("test", task.measure(data.test[1], test)),
            "train_seconds": wall,
            "train_cpu_seconds": cpu,
        }
        run.log_metrics(measured)
    return Result(data.name, measured, len(data.test[1]), run.id)


def _prefixed(prefix: str, figures: Mapping[str, float]) -> dict[str, float]:
    return {f"{prefix}_{name}": value for name, value in figures.items()}


def evaluate(app: App, which: str | None) -> tuple[str, Result]:
    """Measure the saved model that `which` names, as `tracking.load` reads it, on the test set; gives its label too.

    Raises:
        UserError: where there is no such model, or its data cannot be had or has changed.
    """
    saved = tracking.load(app.name, which)
    data = app.load_data(app.config.restore(saved.settings))
    if data.digest != saved.digest:
        raise UserError(f"{data.name} has changed since {saved.label} was trained on it: its test set is another now")
    task = dataclasses.replace(app.task, **saved.task)
    measured = _prefixed("test", task.measure(data.test[1], predict(saved.model, data.test[0])))
    return saved.label, Result(data.name, measured, len(data.test[1]))


def predict(model: keras.Model, inputs: Inputs) -> Array:
    """The network's outputs for `inputs`, (examples, …)."""
    size = prediction_batch(inputs)
    if in_memory(inputs):
        return model.predict(inputs, batch_size=size, verbose=0)
    return model.predict(_InOrder((inputs,), size), verbose=0)


def prediction_batch(inputs: Inputs) -> int:
    """Examples of `inputs` that are evaluated at a time."""
    parts = keras.tree.flatten(inputs)
    example = sum(part.dtype.itemsize * math.prod(part.shape[1:]) for part in parts)
    return max(1, min(PREDICTION_BATCH, PREDICTION_BYTES // max(1, example)))


def in_memory(inputs: Inputs) -> bool:
    """Whether `inputs` are arrays, and not `Stored`."""
    return all(isinstance(part, np.ndarray) for part in keras.tree.flatten(inputs))


def cpu_seconds() -> float:
    """Processor time that this process has used, over all its threads."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def epoch_order(seed: int, epoch: int, examples: int, batch_size: int) -> Array:
    """The order of examples in an epoch, a function of its arguments alone: (steps, batch) indices, whole batches only.

    What does not fill a batch is left out, other examples in every epoch. A batch is at most all examples.
    """
    batch = min(batch_size, examples)
    steps = examples // batch
    return np.random.default_rng((seed, epoch)).permutation(examples)[: steps * batch].reshape(steps, batch)


class Batches(keras.callbacks.Callback):
    """Feeds `fit` with the training set in `epoch_order`; as a callback it learns which epoch begins.

    `fresh`, as in `Data`, makes every epoch's examples anew.
    """

    def __init__(
        self,
        pair: Pair,
        batch_size: int,
        seed: int,
        examples: int | None = None,
        fresh: Callable[[int], Pair] | None = None,
    ) -> None:
        super().__init__()
        self.pair, self.batch_size, self.seed, self.fresh, self.epoch = pair, batch_size, seed, fresh, 0
        self.examples = examples or len(pair[1])

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.epoch = epoch
        if self.fresh:
            self.pair = self.fresh(epoch)

    def order(self) -> Array:
        """The order of the epoch that runs."""
        return epoch_order(self.seed, self.epoch, self.examples, self.batch_size)

    def dataset(self) -> Any:
        """What `fit` iterates once an epoch: a `tf.data.Dataset` on TensorFlow, a `PyDataset` elsewhere.

        TensorFlow's is the fastest way in that keeps the order (benchmarks/input_pipeline.py).
        """
        if keras.backend.backend() != "tensorflow":
            return _GatheredBatches(self)
        import tensorflow as tf

        steps, batch = self.order().shape

        def rows(_: Any) -> Any:
            order = tf.ensure_shape(tf.numpy_function(self.order, [], tf.int64), (steps, batch))
            return tf.data.Dataset.from_tensor_slices(order)

        def read(indices: Array) -> list[Array]:
            return [part[indices] for part in keras.tree.flatten(self.pair)]

        def gather(indices: Any) -> Any:
            parts = keras.tree.flatten(self.pair)
            examples = tf.numpy_function(read, [indices], [part.dtype for part in parts])
            for tensor, part in zip(examples, parts, strict=True):
                tensor.set_shape((batch, *part.shape[1:]))
            return keras.tree.pack_sequence_as(self.pair, examples)

        dataset = tf.data.Dataset.range(1).flat_map(rows).map(gather).prefetch(2)
        return dataset.apply(tf.data.experimental.assert_cardinality(steps))


class _GatheredBatches(keras.utils.PyDataset):
    """The same batches for the backends without tf.data."""

    def __init__(self, batches: Batches) -> None:
        super().__init__()
        self.batches = batches
        self.order = batches.order()

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: int) -> Pair:
        indices = self.order[index]
        pair: Pair = keras.tree.map_structure(lambda part: part[indices], self.batches.pair)
        return pair

    def on_epoch_begin(self) -> None:
        self.order = self.batches.order()


class _InOrder(keras.utils.PyDataset):
    """Batches of `Stored` examples as they stand, the last one smaller: for what takes arrays by itself."""

    def __init__(self, parts: tuple[Any, ...], size: int) -> None:
        super().__init__()
        self.parts, self.size = parts, size

    def __len__(self) -> int:
        return -(-len(keras.tree.flatten(self.parts)[0]) // self.size)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        place = slice(index * self.size, (index + 1) * self.size)
        batch: tuple[Any, ...] = keras.tree.map_structure(lambda part: part[place], self.parts)
        return batch


def _in_order(pair: Pair) -> Any:
    """Batches of `pair` as they stand, the last one smaller."""
    size = prediction_batch(pair[0])
    if keras.backend.backend() != "tensorflow" or not in_memory(pair[0]):
        return _InOrder(pair, size)
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices(pair).batch(size).prefetch(2)


def fit(
    model: keras.Model, data: Data, config: Config, task: Task, callbacks: Sequence[keras.callbacks.Callback] = ()
) -> keras.callbacks.History:
    """Train `model` in place and leave it with the weights of the epoch that `config.keep` names."""
    if keras.backend.backend() == "tensorflow":
        model.jit_compile = compile_with_xla(model)
    model.steps_per_execution = STEPS_PER_EXECUTION
    batches = Batches(data.train, config.batch_size, config.seed, data.examples(config), data.fresh)
    best = config.keep == "best"
    stopping = keras.callbacks.EarlyStopping(
        task.objective if best else "loss",
        mode=task.direction if best else "min",
        patience=config.patience,
        restore_best_weights=best,
    )
    slowing = keras.callbacks.ReduceLROnPlateau(
        task.objective, config.decay, max(1, config.patience // 2), mode=task.direction
    )
    return model.fit(
        batches.dataset(),
        epochs=config.epochs,
        # Known already; said again, because Keras otherwise makes every epoch's iterator twice.
        steps_per_epoch=data.steps(config),
        shuffle=False,
        validation_data=_in_order(data.validation),
        callbacks=[batches, *callbacks, *([slowing] if config.schedule == "plateau" else []), stopping],
        verbose=1 if sys.stdout.isatty() else 2,  # a bar that moves, or in a log file a line an epoch
    )


def _some(pair: Pair) -> Pair:
    """The first examples, no more than are evaluated at a time."""
    some: Pair = keras.tree.map_structure(lambda part: part[: prediction_batch(pair[0])], pair)
    return some


def best_epoch(history: Mapping[str, Sequence[float]], task: Task) -> int:
    """Position, from 0, of the first epoch with the best value of the task's objective: the one that `fit` keeps."""
    values = history[task.objective]
    return int(np.argmax(values) if task.direction == "max" else np.argmin(values))


def compile_with_xla(model: keras.Model) -> bool:
    """Whether XLA makes this network faster on this device: on a CPU, dense and recurrent networks.

    There its convolutions are slow, and where inputs are dropped it draws them anew for every unit that reads them.
    Measured by benchmarks/compilation.py, which on a GPU remains to be run: until then it is on there, Keras's choice.
    """
    import tensorflow as tf

    if any(tensor.dtype == "string" for tensor in model.inputs):
        return False  # XLA knows numbers only
    if tf.config.list_physical_devices("GPU"):
        return all(layer.supports_jit for layer in model.layers)  # LSTM and GRU do not where cuDNN has them
    if any("conv" in type(layer).__name__.lower() for layer in model.layers):
        return False
    first = next((layer for layer in model.layers if layer.weights or isinstance(layer, keras.layers.Dropout)), None)
    return not isinstance(first, keras.layers.Dropout)
