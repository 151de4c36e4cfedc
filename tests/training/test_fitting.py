"""The order of examples, the way they reach the network, the weights that are kept, and repeatability."""

import dataclasses
import itertools
from typing import Any

import keras
import numpy as np
import pytest

from apps.mnist_mlp import Settings as MnistMlp
from apps.mnist_mlp import build_model
from common import tasks, training
from common.app import App
from common.data import Array, Data, RawData
from common.nn import layers
from common.training.batches import Batches, GatheredBatches, epoch_order, in_order
from tests.conftest import few, load_app


def test_the_order_of_an_epoch_depends_on_seed_and_epoch_alone() -> None:
    order = epoch_order(seed=7, epoch=3, examples=1000, batch_size=64)
    np.testing.assert_array_equal(order, epoch_order(7, 3, 1000, 64))
    orders = [epoch_order(seed, epoch, 1000, 64) for seed, epoch in itertools.product(range(3), range(3))]
    assert len({tuple(order.ravel()) for order in orders}) == 9
    assert order.shape == (15, 64)
    assert len(np.unique(order)) == 960
    assert order.min() >= 0
    assert order.max() < 1000


def test_a_batch_is_at_most_the_training_set() -> None:
    assert sorted(epoch_order(0, 0, examples=15, batch_size=32).ravel()) == list(range(15))


def fed(dataset: object) -> list[tuple[Array, Array]]:
    return [(np.asarray(x), np.asarray(y)) for x, y in dataset]  # type: ignore[attr-defined]


@pytest.mark.parametrize("way", ["tensorflow", "other backends"])
def test_fit_is_fed_every_epoch_in_its_own_order(way: str) -> None:
    x, y = np.arange(100) * 10, np.arange(100)
    batches = Batches((x, y), batch_size=32, seed=5)
    dataset = batches.dataset() if way == "tensorflow" else GatheredBatches(batches)
    assert len(dataset) == 3
    for epoch in (0, 1, 7):
        batches.on_epoch_begin(epoch)
        if way != "tensorflow":
            dataset.on_epoch_begin()
        seen = fed(dataset) if way == "tensorflow" else [dataset[step] for step in range(3)]
        np.testing.assert_array_equal([targets for _, targets in seen], epoch_order(5, epoch, 100, 32))
        np.testing.assert_array_equal([inputs for inputs, _ in seen], epoch_order(5, epoch, 100, 32) * 10)


def test_one_pass_has_all_epochs_from_the_first() -> None:
    x, y = np.arange(100) * 10, np.arange(100)
    dataset = Batches((x, y), batch_size=32, seed=5, epoch=4, step=1).dataset(endless=True)
    seen = fed(dataset.take(6))
    orders = np.concatenate([epoch_order(5, epoch, 100, 32)[1:] for epoch in (4, 5, 6)])
    np.testing.assert_array_equal([targets for _, targets in seen], orders)
    np.testing.assert_array_equal([inputs for inputs, _ in seen], orders * 10)


class Seen(keras.layers.Layer):
    """Passes its input on and remembers every value that it saw in training."""

    def build(self, input_shape: object) -> None:
        self.sum = self.add_weight(shape=(), trainable=False, initializer="zeros", name="sum")

    def call(self, inputs: object, training: bool = False) -> object:
        if training:
            self.sum.assign(self.sum * 3 + keras.ops.sum(inputs))
        return inputs


def test_no_pass_ends_with_a_wait_for_a_thread_that_tunes_it() -> None:
    pair = np.arange(100_000), np.arange(100_000)
    batches = Batches(pair, batch_size=32, seed=5)
    made = Batches(pair, batch_size=32, seed=5, generate_epoch=lambda _: pair)
    several, one = in_order(pair), in_order((pair[0][:32],))
    for dataset in (batches.dataset(), batches.dataset(endless=True), made.dataset(), several, one):
        assert dataset.options().autotune.enabled is False


def test_examples_that_are_made_are_made_anew_for_every_epoch() -> None:
    """Each epoch's sum of inputs tells which examples it saw; Keras asks its callbacks and its data in this order."""

    def generate_epoch(epoch: int) -> tuple[Array, Array]:
        made = np.full((96, 1), 10.0**epoch, dtype="float32")
        return made, made

    model = keras.Sequential([keras.Input((1,)), Seen(), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.optimizer.learning_rate = 1e-9
    pair = generate_epoch(0)
    config = MnistMlp(batch_size=32, epochs=3, patience=10)
    training.fit(
        model, Data("n", "", pair, pair, pair, kind="vector", generate_epoch=generate_epoch), config, tasks.Regression()
    )
    expected = 0.0
    for epoch in range(3):
        for _ in range(3):
            expected = expected * 3 + 32 * 10.0**epoch
    assert float(model.layers[0].sum) == pytest.approx(expected)


def test_fit_itself_runs_whole_epochs_in_that_order(mnist: RawData) -> None:
    data, config = few(mnist, train=100), MnistMlp(batch_size=40, epochs=3, seed=2)
    numbered = np.arange(100, dtype="float32")[:, None]
    model = keras.Sequential([keras.Input((1,)), Seen(), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.optimizer.learning_rate = 1e-6  # just enough for every epoch to be the best so far
    pairs = (numbered, numbered)
    training.fit(model, type(data)("n", "", pairs, pairs, pairs, kind="vector"), config, tasks.Regression())
    expected = np.float32(0)
    for epoch in range(3):
        for batch in epoch_order(2, epoch, 100, 40):
            expected = np.float32(expected * 3 + batch.sum())
    assert float(model.layers[0].sum) == pytest.approx(expected)


@pytest.mark.parametrize("task", [tasks.Classification(), tasks.Regression()])
def test_the_weights_of_the_best_epoch_by_the_tasks_objective_are_kept(task: tasks.Task, mnist: RawData) -> None:
    data = few(mnist, train=256)
    config = MnistMlp(hidden=(32,), epochs=40, patience=3, learning_rate=0.3, schedule="constant", dropout=0.0)
    keras.utils.set_random_seed(0)
    model = build_model(config, data)
    history = training.fit(model, data, config, task)
    values = history[task.monitor]
    best = values.index({"min": min, "max": max}[task.mode](values))
    assert training.best_epoch(history, task) == best
    assert len(values) == best + 1 + 3 < 40  # stopped early, after three epochs without a better one
    measured = model.evaluate(*data.validation, batch_size=512, verbose=0, return_dict=True)
    assert measured[task.monitor.removeprefix("val_")] == pytest.approx(values[best], rel=1e-5)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("mnist_mlp", {"hidden": (32, 32), "dropout": 0.3}),
        ("lenet5", {"variant": "1998", "distortions": True}),
        ("lenet5", {"distortions": True}),
    ],
)
def test_one_seed_gives_the_same_numbers_twice_and_another_others(
    name: str, settings: dict[str, object], mnist: RawData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("common.training.compilation.FEWEST_STEPS", 1)
    app, data = load_app(name), few(mnist, train=256)

    def weights(seed: int) -> Array:
        config = app.settings(epochs=2, seed=seed, **settings)  # type: ignore[arg-type]
        keras.utils.set_random_seed(config.seed)
        model = app.build_model(config, data)
        training.fit(model, data, config, app.task)
        return np.concatenate([np.ravel(weight) for weight in model.get_weights()])

    first = weights(0)
    np.testing.assert_array_equal(weights(0), first)
    assert not np.allclose(weights(1), first)


def test_on_a_cpu_dense_and_small_recurrent_networks_are_compiled_with_xla() -> None:
    recurrent = keras.Sequential([keras.Input((5, 4)), keras.layers.LSTM(32), keras.layers.Dense(2)])
    dense = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    convolution = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Conv2D(2, 3)])
    dropped = keras.Sequential([keras.Input((4,)), keras.layers.Dropout(0.5), keras.layers.Dense(2)])
    table = keras.Sequential([keras.Input((4, 4, 1)), layers.TableConv2D([[0]], 3)])
    own = keras.Sequential([keras.Input((4,)), layers.Dropout(0.5), keras.layers.Dense(2)])
    assert training.benefits_from_xla(dense, batch_size=512, steps=1000)
    assert training.benefits_from_xla(own, batch_size=512, steps=1000)
    assert training.benefits_from_xla(recurrent, batch_size=128, steps=1000)
    assert not training.benefits_from_xla(recurrent, batch_size=512, steps=1000)
    assert not training.benefits_from_xla(dense, batch_size=512, steps=100)
    others = dropped, convolution, table
    assert not any(training.benefits_from_xla(model, batch_size=4, steps=1000) for model in others)


def test_on_a_cpu_a_network_that_is_trained_with_xla_predicts_without_it(mnist: RawData) -> None:
    data, config, compiled = few(mnist, train=64), MnistMlp(hidden=(8,), batch_size=1, epochs=8), list[bool]()
    model = build_model(config, data)
    noting = keras.callbacks.LambdaCallback(on_epoch_begin=lambda *_: compiled.append(model.jit_compile))
    training.fit(model, data, config, load_app("mnist_mlp").task, training.FitOptions(callbacks=[noting]))
    assert compiled == [True] * 8
    assert not model.jit_compile


def test_the_step_is_traced_once(mnist: RawData, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trace takes longer than the whole training of a small network."""
    app, data, config = load_app("mnist_mlp"), few(mnist, train=512), MnistMlp(epochs=2, hidden=(8,), batch_size=128)
    model, traced = training.build(app, config, data), list[object]()
    step = model.train_step

    def noted(batch: object) -> object:
        traced.append(batch)
        return step(batch)

    monkeypatch.setattr(model, "train_step", noted)
    training.fit(model, data, config, app.task)
    assert len(traced) == 1


def test_mixed_precision_computes_in_16_bits_and_answers_in_32(mnist: RawData) -> None:
    app, data = load_app("mnist_mlp"), few(mnist, train=512)
    config = MnistMlp(epochs=3, hidden=(64,), precision="mixed_bfloat16")
    model = training.build(app, config, data)
    assert model.layers[-2].compute_dtype == "bfloat16"
    assert all(weight.dtype == "float32" for weight in model.trainable_weights)
    training.fit(model, data, config, app.task)
    probabilities = training.predict(model, data.test[0])
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert keras.config.dtype_policy().name == "float32"  # of networks that are built later


@pytest.mark.usefixtures("store")
def test_a_network_learns_real_digits_and_is_measured_once_on_the_test_set(tiny_app: App) -> None:
    reads = []
    model_of = tiny_app.build_model

    def build(config: MnistMlp, data: object) -> keras.Model:
        model = model_of(config, data)  # type: ignore[arg-type]
        predict = model.predict

        def counted(inputs: Any, **options: object) -> Array:
            reads.append(len(inputs) if isinstance(inputs, np.ndarray) else sum(len(batch) for (batch,) in inputs))
            return predict(inputs, **options)

        model.predict = counted
        return model

    app = dataclasses.replace(tiny_app, build_model=build)
    result = training.train(app, MnistMlp(hidden=(64,), epochs=8, batch_size=64, dropout=0.0, input_dropout=0.0))
    assert result.metrics["test_accuracy"] > 0.8
    assert reads.count(512) == 1
