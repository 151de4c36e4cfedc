"""Keras's recurrent layers, which train large batches on two cores of a CPU with TensorFlow."""

import os
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

XLA_STATES = 4096
"""Units times examples of a batch, up to which XLA makes a step faster on a CPU (benchmarks/recurrent.py)."""


class Halves:
    """Mixin for a recurrent layer of Keras that runs over both halves of a large batch at the same time.

    TensorFlow computes the products of a time step, such as (128, 128) x (128, 512), on one core of a CPU, and each
    step waits for the one before. Two loops, each over half of the examples, use two cores. Outputs and gradients are
    those of one loop to float tolerance. Predictions, GPUs, single cores and other backends use one loop.
    """

    units: int
    dropout: float
    recurrent_dropout: float

    def inner_loop(
        self, sequences: Any, initial_state: Sequence[Any], mask: Any, training: bool = False
    ) -> tuple[Any, Any, Sequence[Any]]:
        """Return the last output, all outputs and the last states for sequences (batch, steps, features)."""
        loop = super().inner_loop  # type: ignore[misc]
        examples = sequences.shape[0]
        if not (training and (examples or 0) > 1 and self._gains_from_halves(examples)):
            return loop(sequences, initial_state, mask, training)
        mask = mask[0] if keras.tree.is_nested(mask) else mask
        halves = [
            loop(sequences[half], [state[half] for state in initial_state], mask if mask is None else mask[half], True)
            for half in (slice(examples // 2), slice(examples // 2, None))
        ]
        return keras.tree.map_structure(lambda *parts: ops.concatenate(parts), *halves)

    def _gains_from_halves(self, examples: int) -> bool:
        if keras.backend.backend() != "tensorflow" or self.dropout or self.recurrent_dropout:
            return False  # Keras draws its masks for the whole batch
        import tensorflow as tf

        large = examples * self.units > XLA_STATES
        return large and _cores() > 1 and not tf.config.list_physical_devices("GPU")


def _cores() -> int:
    """Return the number of cores that this process may use: the worker of a search may have a single one."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@keras.saving.register_keras_serializable("common")
class LSTM(Halves, keras.layers.LSTM):
    """Keras's `LSTM` (Hochreiter and Schmidhuber 1997), with `Halves`: (batch, steps, features) -> (batch, units)."""


@keras.saving.register_keras_serializable("common")
class GRU(Halves, keras.layers.GRU):
    """Keras's `GRU` (Cho et al. 2014), with `Halves`: (batch, steps, features) -> (batch, units)."""


SimpleRNN = keras.layers.SimpleRNN  # its step is so short that a second loop gains nothing
