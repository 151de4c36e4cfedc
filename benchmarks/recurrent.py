"""Time a training step of recurrent layers in one loop, in halves and with XLA; `common.nn.recurrent` rests on this.

    python -m benchmarks.recurrent

On TensorFlow and a CPU.
"""

from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
import tensorflow as tf
import tyro

from benchmarks import measure
from common.nn import recurrent

import keras  # isort: skip - deferred by `common`

SIZES = ((32, 32), (64, 64), (32, 128), (128, 64), (128, 128), (256, 128))
"""Units and examples of a batch."""
STEPS, FEATURES = 28, 28


def main(rounds: int = 5, repeats: int = 50) -> None:
    """Measure the three programs alternately, for each layer and size.

    Args:
        rounds: Runs of each. The medians are printed.
        repeats: Training steps of a run.
    """
    for kind in (recurrent.LSTM, recurrent.GRU):
        for units, examples in SIZES:
            contestants = {
                "one loop": trainer(kind(units), examples, repeats, halves=False),
                "halves": trainer(kind(units), examples, repeats, halves=True),
                "one loop, XLA": trainer(kind(units), examples, repeats, halves=False, xla=True),
            }
            title = f"{repeats} steps of {kind.__name__}, {units} units, batches of {examples}"
            measure.compare(f"{title}, {units * examples} states", contestants, rounds)


def trainer(
    layer: keras.layers.RNN, examples: int, repeats: int, halves: bool, xla: bool = False
) -> Callable[[], None]:
    """Return a function that computes the gradients of a batch `repeats` times; it is compiled already."""
    x = np.random.default_rng(0).normal(size=(examples, STEPS, FEATURES)).astype("float32")
    layer.build(x.shape)

    @tf.function(jit_compile=xla)
    def step() -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(layer(x, training=True)))
        return tape.gradient(loss, layer.trainable_variables)

    with mock.patch("common.nn.recurrent.XLA_STATES", 0 if halves else np.inf):
        step()

    def run() -> None:
        for _ in range(repeats):
            step()

    return run


if __name__ == "__main__":
    tyro.cli(main)
