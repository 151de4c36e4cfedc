"""Time the operations of a step of `lstm_mnist` in each library.

    python -m benchmarks.operations

A step multiplies 128 states by 128 x 512 weights, forward, and 128 x 512 gradients by the transposed weights, backward.
Most of its other time is in hyperbolic tangents and sigmoids. PyTorch is in requirements-benchmark.txt.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import tensorflow as tf
import torch
import tyro

from benchmarks import measure

EXAMPLES, UNITS, GATES = 128, 128, 512


def main(rounds: int = 5, repeats: int = 2000) -> None:
    """Measure the libraries alternately.

    Args:
        rounds: Runs of each. The medians are printed.
        repeats: Times that a run repeats the operation.
    """
    rng = np.random.default_rng(0)
    gates = rng.normal(size=(EXAMPLES, GATES)).astype("float32")
    weights = np.linalg.qr(rng.normal(size=(GATES, UNITS)))[0].T.astype("float32")
    on_jax, on_torch = jax.numpy.asarray(weights), torch.from_numpy(weights)
    products = {
        "PyTorch": in_torch(lambda states: states @ on_torch @ on_torch.T, gates[:, :UNITS], repeats),
        "TensorFlow": in_tensorflow(
            lambda states: tf.matmul(tf.matmul(states, weights), weights, transpose_b=True), gates[:, :UNITS], repeats
        ),
        "JAX": in_jax(lambda states: states @ on_jax @ on_jax.T, gates[:, :UNITS], repeats),
    }
    tangents = {
        "PyTorch": in_torch(torch.tanh, gates, repeats),
        "TensorFlow": in_tensorflow(tf.tanh, gates, repeats),
        "JAX": in_jax(jax.numpy.tanh, gates, repeats),
    }
    measure.compare(f"{repeats} times (128, 128) x (128, 512) x (512, 128)", products, rounds)
    measure.compare(f"{repeats} times tanh of (128, 512)", tangents, rounds)


def in_torch(step: Callable[[Any], Any], start: Any, repeats: int) -> Callable[[], None]:
    """Return a function that repeats `step` in PyTorch, first on `start` and then on each result."""

    def run() -> None:
        value = torch.from_numpy(start.copy())
        for _ in range(repeats):
            value = step(value)

    run()
    return run


def in_tensorflow(step: Callable[[Any], Any], start: Any, repeats: int) -> Callable[[], None]:
    """Return a function that repeats `step` as `in_torch` does, in a compiled loop of TensorFlow."""

    @tf.function
    def program(value: Any) -> Any:
        return tf.while_loop(lambda _: True, lambda value: [step(value)], [value], maximum_iterations=repeats)

    def run() -> None:
        program(tf.constant(start))

    run()
    return run


def in_jax(step: Callable[[Any], Any], start: Any, repeats: int) -> Callable[[], None]:
    """Return a function that repeats `step` as `in_torch` does, in a compiled loop of JAX."""
    program = jax.jit(lambda value: jax.lax.fori_loop(0, repeats, lambda _, value: step(value), value))

    def run() -> None:
        jax.block_until_ready(program(start))

    run()
    return run


if __name__ == "__main__":
    tyro.cli(main)
