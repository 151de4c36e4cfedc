"""Recurrent layers in halves against Keras's own, on TensorFlow."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from common.data import Array
from common.nn import recurrent

RANDOM = np.random.default_rng(0)
UNITS = 40
SMALL, ODD = recurrent.XLA_STATES // UNITS, recurrent.XLA_STATES // UNITS + 1
"""The largest batch in one loop, and the smallest one in halves, which is odd."""


def outputs_and_gradients(layer: keras.layers.Layer, x: Array, mask: Array | None) -> tuple[list[Array], int]:
    """Return outputs, states and gradients of a training step, and the number of loops in its program."""

    @tf.function
    def step() -> list[Any]:
        with tf.GradientTape() as tape:
            outputs = keras.tree.flatten(layer(x, mask=mask, training=True))
            loss = sum(tf.reduce_sum(tf.square(output)) for output in outputs)
        return [*outputs, *tape.gradient(loss, layer.trainable_variables)]

    operations = step.get_concrete_function().graph.get_operations()
    return [tensor.numpy() for tensor in step()], sum("While" in operation.type for operation in operations)


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.nn.recurrent._cores", lambda: 2)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
@pytest.mark.parametrize("examples", [SMALL, ODD])
@pytest.mark.parametrize("masked", [False, True])
def test_halves_give_the_outputs_and_gradients_of_one_loop(kind: str, examples: int, masked: bool) -> None:
    assert ODD % 2
    x = RANDOM.normal(size=(examples, 6, 5)).astype("float32")
    mask = RANDOM.random((examples, 6)) < 0.7 if masked else None
    options = {"return_sequences": True, "return_state": True, "go_backwards": True}
    plain, halves = (getattr(module, kind)(UNITS, **options) for module in (keras.layers, recurrent))
    for layer in (plain, halves):
        layer.build(x.shape)
    halves.set_weights(plain.get_weights())
    expected, loops = outputs_and_gradients(plain, x, mask)
    found, loops_in_halves = outputs_and_gradients(halves, x, mask)
    assert (loops, loops_in_halves) == (2, 2 if examples == SMALL else 4)  # forward and backward
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5 * max(1, abs(other).max()), rtol=0)


def test_a_single_core_runs_one_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.nn.recurrent._cores", lambda: 1)
    _, loops = outputs_and_gradients(recurrent.LSTM(UNITS), np.ones((ODD, 6, 5), "float32"), None)
    assert loops == 2


def test_dropout_of_units_is_that_of_one_loop() -> None:
    """Keras draws one mask for all steps and the whole batch."""
    x = np.ones((256, 4, 5), "float32")

    def outputs(module: Any) -> Any:
        keras.utils.set_random_seed(0)
        return module.LSTM(UNITS, dropout=0.5, recurrent_dropout=0.5, seed=1)(x, training=True)

    np.testing.assert_allclose(outputs(recurrent), outputs(keras.layers), atol=1e-6)
