"""The one path from settings to a trained, evaluated, recorded model."""

import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from common import tracking
from common.app import App, Array, Config, Data, Pair
from common.diagnosis import Diagnosis
from common.tasks import Trained

STEPS_PER_EXECUTION = 32
"""Batches that run in one call from Python."""

PREDICTION_BATCH = 1000
"""Examples that are evaluated at a time."""


@dataclass(frozen=True)
class Result:
    """A finished run: what was measured on how many test examples, and the version if a model was registered."""

    data: str
    metrics: dict[str, float]
    test_examples: int
    run_id: str | None = None
    version: tracking.Version | None = None
    verdicts: list[str] | None = None
    """What is wrong with a training run, in words."""


def train(app: App, config: Config) -> Result:
    """Train the app's network, evaluate it once on the test set, record it, draw it and register it.

    Raises:
        UserError: where the data cannot be had or the store cannot be written.
    """
    data = app.load_data(config)
    with tracking.run(app, "train", config, data) as run:
        model, history, measured, verdicts = _fit_and_measure(app, config, data, run)
        predictions = model.predict(data.test[0], batch_size=PREDICTION_BATCH, verbose=0)
        measured |= _prefixed("test", app.task.measure(data.test[1], predictions))
        run.log_metrics(measured, step=len(history["loss"]))
        for name, figure in app.task.pictures(Trained(model, data, history, int(measured["best_epoch"]), predictions)):
            run.log_figure(figure, name)
        version = run.log_model(model, measured)
    return Result(data.name, measured, len(data.test[1]), run.id, version, verdicts)


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
    diagnosis = Diagnosis(model, data.train)
    wall, cpu = time.perf_counter(), cpu_seconds()
    history = fit(model, data, config, [tracking.EpochLogger(run)]).history
    wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
    best = int(np.argmin(history["val_loss"]))
    examples = len(history["loss"]) * data.steps(config.batch_size) * min(config.batch_size, len(data.train[1]))
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


def baseline(app: App, config: Config) -> Result:
    """Fit the app's classical baseline on the same split and record it in the same experiment.

    Raises:
        UserError: as `train`.
    """
    data = app.load_data(config)
    estimator = app.baseline(config, data)
    with tracking.run(app, "baseline", config, data) as run:
        wall, cpu = time.perf_counter(), cpu_seconds()
        estimator.fit(*data.train)
        wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
        measured = {
            **_prefixed("best_val", _measure(app, estimator, data.validation)),
            **_prefixed("test", _measure(app, estimator, data.test)),
            "train_seconds": wall,
            "train_cpu_seconds": cpu,
        }
        run.log_metrics(measured)
    return Result(data.name, measured, len(data.test[1]), run.id)


def _measure(app: App, estimator: Any, part: Pair) -> dict[str, float]:
    inputs, targets = part
    return app.task.measure(targets, app.task.predict(estimator, inputs))


def _prefixed(prefix: str, figures: Mapping[str, float]) -> dict[str, float]:
    return {f"{prefix}_{name}": value for name, value in figures.items()}


def evaluate(app: App, which: str | None) -> tuple[str, Result]:
    """Measure the saved model that `which` names, as `tracking.load` reads it, on the test set; gives its label too.

    Raises:
        UserError: where there is no such model, or its data cannot be had.
    """
    saved = tracking.load(app.name, which)
    data = app.load_data(app.config.restore(saved.settings))
    predictions = saved.model.predict(data.test[0], batch_size=PREDICTION_BATCH, verbose=0)
    measured = _prefixed("test", app.task.measure(data.test[1], predictions))
    return saved.label, Result(data.name, measured, len(data.test[1]))


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

    def __init__(self, pair: Pair, batch_size: int, seed: int, fresh: Callable[[int], Pair] | None = None) -> None:
        super().__init__()
        self.pair, self.batch_size, self.seed, self.fresh, self.epoch = pair, batch_size, seed, fresh, 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.epoch = epoch
        if self.fresh:
            self.pair = self.fresh(epoch)

    def order(self) -> Array:
        """The order of the epoch that runs."""
        return epoch_order(self.seed, self.epoch, len(self.pair[1]), self.batch_size)

    def dataset(self) -> Any:
        """What `fit` iterates once an epoch: a `tf.data.Dataset` on TensorFlow, a `PyDataset` elsewhere.

        TensorFlow's is the fastest way in that keeps the order (benchmarks/input_pipeline.py); it keeps the examples.
        """
        if keras.backend.backend() != "tensorflow" or self.fresh:
            return _GatheredBatches(self)
        import tensorflow as tf

        pair = keras.tree.map_structure(tf.constant, self.pair)
        steps, batch = self.order().shape

        def rows(_: Any) -> Any:
            order = tf.ensure_shape(tf.numpy_function(self.order, [], tf.int64), (steps, batch))
            return tf.data.Dataset.from_tensor_slices(order)

        def gather(indices: Any) -> Any:
            return keras.tree.map_structure(lambda part: tf.gather(part, indices), pair)

        dataset = tf.data.Dataset.range(1).flat_map(rows).map(gather).prefetch(2)
        return dataset.apply(tf.data.experimental.assert_cardinality(steps))


class _GatheredBatches(keras.utils.PyDataset):
    """The same batches for the backends without tf.data, and for examples that are made."""

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


def fit(
    model: keras.Model, data: Data, config: Config, callbacks: Sequence[keras.callbacks.Callback] = ()
) -> keras.callbacks.History:
    """Train `model` in place and leave it with the weights of its best epoch by validation loss."""
    if keras.backend.backend() == "tensorflow":
        model.jit_compile = compile_with_xla(model)
    model.steps_per_execution = STEPS_PER_EXECUTION
    batches = Batches(data.train, config.batch_size, config.seed, data.fresh)
    stopping = keras.callbacks.EarlyStopping("val_loss", patience=config.patience, restore_best_weights=True)
    return model.fit(
        batches.dataset(),
        epochs=config.epochs,
        shuffle=False,
        validation_data=data.validation,
        validation_batch_size=PREDICTION_BATCH,
        callbacks=[batches, *callbacks, stopping],
        verbose=1 if sys.stdout.isatty() else 2,  # a bar that moves, or in a log file a line an epoch
    )


def compile_with_xla(model: keras.Model) -> bool:
    """Whether XLA makes this network faster on this device: on a GPU but for cuDNN's layers, on a CPU but for some.

    There it helps dense layers and, most where steps are many and small, recurrent ones. Its convolutions are slow, and
    where inputs are dropped it draws them anew for every unit that reads them. Measured by benchmarks/compilation.py.
    """
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        return all(layer.supports_jit for layer in model.layers)  # LSTM and GRU do not where cuDNN has them
    if any("conv" in type(layer).__name__.lower() for layer in model.layers):
        return False
    first = next((layer for layer in model.layers if layer.weights or isinstance(layer, keras.layers.Dropout)), None)
    return not isinstance(first, keras.layers.Dropout)
