"""Activations, losses, initial weights and learning rates against their formulas, in NumPy."""

import keras
import numpy as np
import pytest

from apps.mnist_mlp import Settings as MnistMlp
from apps.mnist_mlp import load_data
from common.config import Activation, Initializer, Loss, Metric, Normalization, Optimizer, Schedule, Split
from common.data import Data, RawData
from common.errors import UserError
from common.metrics.predictions import best_threshold, binary_metrics, classification_metrics, standard_error
from common.metrics.training import build_metric
from common.nn import layers, losses, optimizers
from common.preprocessing import features, splits
from common.preprocessing.features import FillMissing

X = np.linspace(-3, 3, 121, dtype="float32")
EXPONENTIALS = np.exp(X - X.max())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("threshold", (X >= 0).astype("float32")),
        ("sigmoid", 1 / (1 + np.exp(-X))),
        ("tanh", np.tanh(X)),
        ("scaled_tanh", 1.7159 * np.tanh(2 * X / 3)),
        ("relu", np.maximum(X, 0)),
        ("leaky_relu", np.where(X > 0, X, 0.01 * X)),
        ("prelu", np.maximum(X, 0)),  # its slope starts at 0
        ("elu", np.where(X > 0, X, np.exp(X) - 1)),
        ("softmax", EXPONENTIALS / EXPONENTIALS.sum()),
        ("arctan", np.arctan(X)),
        ("sqnl", np.select([X > 2, X >= 0, X >= -2], [1, X - X**2 / 4, X + X**2 / 4], -1)),
    ],
)
def test_activation(name: Activation, expected: np.ndarray) -> None:
    np.testing.assert_allclose(np.asarray(layers.activation(name)(X[None]))[0], expected, atol=1e-6)


def test_prelu_learns_its_slope() -> None:
    layer = layers.activation("prelu")
    layer.build((None, 3))
    assert [weight.shape for weight in layer.trainable_weights] == [(3,)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cross_entropy", -np.log(0.4)),
        ("categorical_cross_entropy", -np.log(0.4)),
        ("binary_cross_entropy", -(np.log(0.4) + 2 * np.log(0.7)) / 3),
        ("summed_squared_error", 0.54),
        ("half_squared_error", 0.27),
        ("squared_error", 0.54 / 3),  # (0.36, 0.09, 0.09), sum 0.54
        ("absolute_error", (0.6 + 0.3 + 0.3) / 3),
        ("hinge", 1 - 0.4 + 0.3),
    ],
)
def test_loss_of_0_4_0_3_0_3_for_the_first_class(name: Loss, expected: float) -> None:
    prediction = np.array([[0.4, 0.3, 0.3]], dtype="float32")
    assert float(losses.build(name)(np.array([0]), prediction)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mean_squared_error", [0.54 / 3, (0.04 + 0.25 + 0.09) / 3]),
        ("mean_absolute_error", [1.2 / 3, 1.0 / 3]),
        ("cosine_proximity", [0.4 / 0.34**0.5, 0.5 / 0.38**0.5]),
        ("binary_accuracy", [2 / 3, 2 / 3]),
        ("categorical_accuracy", [1, 1]),
        ("sparse_categorical_accuracy", [1, 1]),
        ("true_class_probability", [0.4, 0.5]),
    ],
)
def test_metric_of_two_examples_watched_while_training(name: Metric, expected: list[float]) -> None:
    metric = build_metric(name)
    metric = keras.metrics.deserialize(keras.metrics.serialize(metric))
    metric.update_state(np.array([0, 1]), np.array([[0.4, 0.3, 0.3], [0.2, 0.5, 0.3]], dtype="float32"))
    assert float(metric.result()) == pytest.approx(np.mean(expected), abs=1e-6)


def test_percentage_error_and_the_five_likeliest_classes() -> None:
    percentage = build_metric("mean_absolute_percentage_error")
    percentage.update_state(np.array([0]), np.array([[0.4]], dtype="float32"))
    assert float(percentage.result()) == pytest.approx(60)
    top = build_metric("top_5_accuracy")
    top.update_state(np.array([4, 5]), np.linspace(1, 0, 20, dtype="float32").reshape(1, 20).repeat(2, axis=0))
    assert float(top.result()) == 0.5


@pytest.mark.parametrize("name", ["min_max", "standard_score", "none"])
def test_normalisation_by_the_training_examples(name: Normalization) -> None:
    examples = np.random.default_rng(0).integers(3, 200, (50, 4, 4)).astype("uint8")
    x = examples.astype("float64")
    expected = {"min_max": (x - x.min()) / (x.max() - x.min()), "standard_score": (x - x.mean()) / x.std(), "none": x}
    np.testing.assert_allclose(features.normalization(name, examples)(examples), expected[name], atol=1e-5)


@pytest.mark.parametrize("split", ["by_size", "98:1:1", "70:30"])
def test_a_new_split_is_disjoint_complete_and_stratified(split: Split, mnist: RawData) -> None:
    data = splits.split_anew(mnist, split, validation=0.1, seed=0)
    parts = [data.train, data.test] if split == "70:30" else [data.train, data.validation, data.test]
    sizes = [len(labels) for _, labels in parts]
    assert sizes == [round(share * 70_000) for share in splits.shares(split, 70_000) if share]
    for _, labels in parts:
        np.testing.assert_allclose(np.bincount(labels) / len(labels), np.bincount(data.train[1]) / sizes[0], atol=2e-3)
    everything = np.concatenate([inputs for inputs, _ in parts]).reshape(70_000, -1).astype(int)
    published = np.concatenate([mnist.train[0], mnist.test[0]]).reshape(70_000, -1).astype(int)
    key = np.random.default_rng(0).integers(1, 2**40, 784)
    assert sorted(everything @ key) == sorted(published @ key)


def test_a_split_without_validation_cannot_choose_an_epoch() -> None:
    with pytest.raises(UserError, match="`restore` to last"):
        load_data(MnistMlp(split="70:30"))


@pytest.mark.parametrize("name", ["squared_error", "half_squared_error", "hinge"])
def test_loss_survives_saving(name: Loss) -> None:
    loss = losses.build(name)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    y, prediction = np.array([1, 0]), np.array([[0.2, 0.8], [0.6, 0.4]], dtype="float32")
    assert float(again(y, prediction)) == float(loss(y, prediction))


@pytest.mark.parametrize(("name", "deviation"), [("he_normal", (2 / 400) ** 0.5), ("xavier", 0.05), ("normal", 1.0)])
def test_initial_weights(name: Initializer, deviation: float) -> None:
    weights = np.asarray(optimizers.initializer(name)((400, 500)))
    assert weights.std() == pytest.approx(deviation, rel=0.01)
    assert abs(weights.mean()) < 0.01 * deviation


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("constant", [0.1, 0.1, 0.1]),
        ("inverse", [0.1, 0.1 / 1.5, 0.1 / 2]),
        ("exponential", [0.1, 0.1 * 0.5, 0.1 * 0.25]),
        ("k_over_epoch", [0.1 * 0.5, 0.1 * 0.5 / 2, 0.1 * 0.5 / 3]),
        ("one_cycle", [0.1 / 25, 0.1, 0.1 * (1 + np.cos(np.pi / 3)) / 2]),
        ("cosine", [0.1 * (1 + np.cos(np.pi * epoch / 4)) / 2 for epoch in range(3)]),
    ],
)
def test_learning_rate_at_the_start_of_each_epoch(name: Schedule, expected: list[float]) -> None:
    config = MnistMlp(learning_rate=0.1, schedule=name, decay=0.5, epochs=4)
    rate = optimizers.schedule(config, steps_per_epoch=10)
    rates = [rate if isinstance(rate, float) else float(rate(10 * epoch)) for epoch in range(3)]
    np.testing.assert_allclose(rates, expected, rtol=1e-6)
    if name not in ("constant", "cosine", "one_cycle"):
        assert float(rate(9)) == pytest.approx(expected[0])  # type: ignore[operator]


@pytest.mark.parametrize(
    ("name", "expected", "momentum"),
    [
        ("sgd", keras.optimizers.SGD, 0.0),
        ("momentum", keras.optimizers.SGD, 0.5),
        ("rmsprop", keras.optimizers.RMSprop, 0.0),
        ("adam", keras.optimizers.Adam, None),
    ],
)
def test_optimizer_gets_the_settings(
    name: Optimizer, expected: type[keras.optimizers.Optimizer], momentum: float | None
) -> None:
    pair = (np.zeros((40, 1)), np.zeros(40))
    data = Data("toy", "0", pair, pair, pair, kind="table")
    config = MnistMlp(
        optimizer=name, momentum=0.5, learning_rate=0.1, schedule="exponential", decay=0.5, batch_size=10
    )  # fmt: skip
    optimizer = optimizers.build(config, data, clip=3.0)
    assert type(optimizer) is expected
    settings = optimizer.get_config()
    assert settings.get("momentum") == momentum
    assert settings["global_clipnorm"] == 3.0
    assert float(optimizer.learning_rate) == pytest.approx(0.1)
    optimizer.iterations.assign(4)  # the second epoch begins
    assert float(optimizer.learning_rate) == pytest.approx(0.05)


def test_classification_metrics_and_wilsons_interval() -> None:
    labels = np.repeat([0, 1], [90, 110])
    probabilities = np.tile([[0.2, 0.6]], (200, 1))  # always the second class; rows need not sum to one
    measured = classification_metrics(labels, probabilities, probabilities.argmax(axis=1))
    assert measured["accuracy"] == 0.55
    assert measured["error"] == 0.45
    z, n, p = 1.959964, 200, 0.45
    centre, half = (p + z * z / (2 * n)), z * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    assert measured["error_low"] == pytest.approx((centre - half) / (1 + z * z / n), abs=1e-6)
    assert measured["error_high"] == pytest.approx((centre + half) / (1 + z * z / n), abs=1e-6)
    assert measured["macro_f1"] == pytest.approx((0 + 2 * 110 / (2 * 110 + 90)) / 2)
    assert measured["cross_entropy"] == pytest.approx(-(90 * np.log(0.25) + 110 * np.log(0.75)) / 200, abs=1e-6)


def test_metrics_of_the_second_of_two_classes_at_a_threshold() -> None:
    labels, probabilities = np.array([0, 0, 0, 1, 1]), np.array([0.1, 0.2, 0.4, 0.3, 0.9])
    measured = binary_metrics(labels, probabilities, 0.25)
    assert measured["precision"] == pytest.approx(2 / 3)
    assert measured["recall"] == 1
    assert measured["f1"] == pytest.approx(0.8)
    assert measured["roc_auc"] == pytest.approx(5 / 6)
    assert measured["brier"] == pytest.approx((0.01 + 0.04 + 0.16 + 0.49 + 0.01) / 5)


def test_standard_error_of_the_area_under_the_roc_curve_is_that_of_simulated_samples() -> None:
    """Scores are exponential with means of 1 and 3, as Hanley and McNeil assume, so the area is 3 / 4."""
    labels = np.repeat([0, 1], [60, 40])
    scores = np.random.default_rng(0).exponential(1 + 2 * labels, (2000, 100))
    areas = (scores[:, 60:, None] > scores[:, None, :60]).mean(axis=(1, 2))
    assert np.mean(areas) == pytest.approx(0.75, abs=0.005)
    assert standard_error("roc_auc", 0.75, labels) == pytest.approx(np.std(areas), rel=0.05)


def test_the_best_threshold_is_in_the_middle_of_the_gap_with_the_best_f1() -> None:
    labels, probabilities = np.array([0, 0, 0, 1, 1]), np.array([0.1, 0.2, 0.4, 0.3, 0.9])
    assert best_threshold(labels, probabilities) == pytest.approx(0.25)  # F1 0.8, of 0.35 and 0.65 only 2/3
    assert best_threshold(np.array([0, 1]), np.array([0.1, 0.2])) == pytest.approx(0.15)
    assert best_threshold(np.array([0, 1]), np.array([0.1, 0.8])) == 0.5


def test_soft_threshold_and_the_penalty_whose_step_it_takes() -> None:
    w = keras.Variable([-3.0, -0.5, 0.0, 0.2, 2.0])
    np.testing.assert_allclose(np.asarray(losses.SoftThreshold(0.5)(w)), [-2.5, 0, 0, 0, 1.5])
    assert float(losses.ProximalL1L2(2.0, 0.1)(w)) == pytest.approx(2 * 5.7 + 0.1 * (9 + 0.25 + 0.04 + 4), rel=1e-6)


def test_missing_numbers_are_filled_and_flagged() -> None:
    layer = FillMissing([5.0, 7.0], [1])
    again = FillMissing.from_config(layer.get_config())
    filled = np.asarray(again(np.array([[np.nan, np.nan], [1, 2]], dtype="float32")))
    np.testing.assert_array_equal(filled, [[5, 7, 1], [1, 2, 0]])
