"""The one path from settings to a trained, evaluated, recorded model."""

import resource
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from common import tracking
from common.app import App, Array, Config, Data, Pair
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


def train(app: App, config: Config) -> Result:
    """Train the app's network, evaluate it once on the test set, record it, draw it and register it.

    Raises:
        UserError: where the data cannot be had or the store cannot be written.
    """
    data = app.load_data(config)
    with tracking.run(app, "train", config, data) as run:
        model, history, measured = _fit_and_measure(app, config, data, run)
        predictions = model.predict(data.test[0], batch_size=PREDICTION_BATCH, verbose=0)
        measured |= _prefixed("test", app.task.measure(data.test[1], predictions))
        run.log_metrics(measured, step=len(history["loss"]))
        for name, figure in app.task.pictures(Trained(model, data, history, int(measured["best_epoch"]), predictions)):
            run.log_figure(figure, name)
        version = run.log_model(model, measured)
    return Result(data.name, measured, len(data.test[1]), run.id, version)


def trial(app: App, config: Config, data: Data) -> dict[str, float]:
    """Train the app's network as one trial of a search: recorded, but neither tested, drawn nor registered.

    Gives what was measured; a search goes by the best epoch's value of the task's objective.
    """
    with tracking.run(app, "trial", config, data) as run:
        _, history, measured = _fit_and_measure(app, config, data, run)
        run.log_metrics(measured, step=len(history["loss"]))
    return measured


def _fit_and_measure(
    app: App, config: Config, data: Data, run: tracking.Run
) -> tuple[keras.Model, dict[str, list[float]], dict[str, float]]:
    """Build and train the network; give it with the weights of its best epoch, the curves, and the run's figures."""
    keras.utils.set_random_seed(config.seed)
    model = app.build_model(config, data)
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
    return model, history, measured


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
    """Feeds `fit` with the training set in `epoch_order`; as a callback it learns which epoch begins."""

    def __init__(self, pair: Pair, batch_size: int, seed: int) -> None:
        super().__init__()
        self.pair, self.batch_size, self.seed, self.epoch = pair, batch_size, seed, 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.epoch = epoch

    def order(self) -> Array:
        """The order of the epoch that runs."""
        return epoch_order(self.seed, self.epoch, len(self.pair[1]), self.batch_size)

    def dataset(self) -> Any:
        """What `fit` iterates once an epoch: a `tf.data.Dataset` on TensorFlow, a `PyDataset` elsewhere.

        TensorFlow's is the fastest way in that keeps the order (benchmarks/input_pipeline.py).
        """
        if keras.backend.backend() != "tensorflow":
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


def fit(
    model: keras.Model, data: Data, config: Config, callbacks: Sequence[keras.callbacks.Callback] = ()
) -> keras.callbacks.History:
    """Train `model` in place and leave it with the weights of its best epoch by validation loss."""
    if keras.backend.backend() == "tensorflow":
        model.jit_compile = compile_with_xla(model)
    model.steps_per_execution = STEPS_PER_EXECUTION
    batches = Batches(data.train, config.batch_size, config.seed)
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
    """Whether XLA makes this network faster on this device: on a GPU always, on a CPU dense networks only.

    Never a network that reads strings, which XLA has not. On a CPU its convolutions are slow, and where inputs are
    dropped it draws them anew for every unit that reads them.
    Measured by benchmarks/compilation.py.
    """
    import tensorflow as tf

    if any(tensor.dtype == "string" for tensor in model.inputs):
        return False
    if tf.config.list_physical_devices("GPU"):
        return True
    if any("conv" in type(layer).__name__.lower() for layer in model.layers):
        return False
    first = next((layer for layer in model.layers if layer.weights or isinstance(layer, keras.layers.Dropout)), None)
    return not isinstance(first, keras.layers.Dropout)
