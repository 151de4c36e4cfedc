"""The numbers that a beginner can work out by hand, from the code that trains the networks. Read it top to bottom."""

import keras
import numpy as np
import pytest

from apps.mnist_mlp import Settings as MnistMlp
from apps.mnist_mlp import build_model
from common.config import Split
from common.data import RawData
from common.nn import losses
from common.preprocessing import splits
from tests.conftest import few


def one_weight() -> keras.Model:
    """y = w x with w = 5, and the loss (y - target)² / 2 lowered by gradient descent at learning rate 0.1."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.compile(keras.optimizers.SGD(0.1), losses.half_squared_error)
    model.set_weights([np.array([[5.0]])])
    return model


X, TARGET = np.array([[2.0]]), np.array([[6.0]])


def test_one_weight_predicts_10_loses_8_and_steps_to_4_2() -> None:
    model = one_weight()
    assert float(model(X)[0, 0]) == 10  # 5 * 2
    assert model.train_on_batch(X, TARGET) == 8  # (10 - 6)² / 2
    # The gradient is (w x - target) x = (10 - 6) 2 = 8, and the step 0.1 * 8.
    assert model.get_weights()[0].item() == pytest.approx(5 - 0.1 * 8)


def test_one_weight_converges_to_3() -> None:
    model = one_weight()
    for _ in range(40):
        model.train_on_batch(X, TARGET)
    assert model.get_weights()[0].item() == pytest.approx(3)  # 3 * 2 = 6


def test_a_prediction_of_0_3_for_1_is_0_7_away() -> None:
    # The mean of the inputs 0.6, 0.4 and 0.2, weighed by 1/4, 1/4 and 1/4, is 0.3.
    neuron = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, use_bias=False)])
    neuron.set_weights([np.full((3, 1), 0.25)])
    prediction = neuron(np.array([[0.6, 0.4, 0.2]]))
    assert float(prediction[0, 0]) == pytest.approx(0.3)
    assert float(keras.losses.mean_absolute_error(np.array([1.0]), prediction[0])) == pytest.approx(0.7)


@pytest.mark.parametrize(("error", "squared"), [(0.01, 0.0001), (100.0, 10_000.0)])
def test_squaring_makes_small_errors_smaller_and_large_ones_larger(error: float, squared: float) -> None:
    assert float(losses.summed_squared_error(np.array([error]), np.array([0.0]))) == pytest.approx(squared)


def test_the_squared_errors_of_three_classes_sum_to_0_54() -> None:
    label, prediction = np.array([0]), np.array([[0.4, 0.3, 0.3]], dtype="float32")  # 0.36 + 0.09 + 0.09
    assert float(losses.build("summed_squared_error")(label, prediction)) == pytest.approx(0.54)
    assert float(losses.build("half_squared_error")(label, prediction)) == pytest.approx(0.27)
    assert float(losses.build("squared_error")(label, prediction)) == pytest.approx(0.18)


def test_a_picture_of_mnist_is_784_inputs_and_10_outputs(mnist: RawData) -> None:
    assert mnist.train[0][0].shape == (28, 28)
    first, *_, last = (
        layer for layer in build_model(MnistMlp(), few(mnist)).layers if isinstance(layer, keras.layers.Dense)
    )
    assert first.kernel.shape[0] == 28 * 28 == 784
    assert last.units == 10


@pytest.mark.parametrize(
    ("split", "examples", "parts"),
    [
        ("70:30", 1000, (700, 0, 300)),
        ("60:20:20", 1000, (600, 200, 200)),
        ("by_size", 70_000, (42_000, 14_000, 14_000)),
        ("by_size", 1_000_000, (980_000, 10_000, 10_000)),
        ("by_size", 4_000_000, (3_980_000, 10_000, 10_000)),
    ],
)
def test_the_more_examples_the_smaller_the_share_for_validation_and_test(
    split: Split, examples: int, parts: tuple[int, int, int]
) -> None:
    assert np.round(np.array(splits.shares(split, examples)) * examples).tolist() == list(parts)
