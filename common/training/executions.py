"""Many steps in one program, on JAX: the examples stay on the device, and the order of the batches goes in.

Keras runs a program for each step there, and copies its batch to the device first. For a small network, that takes
longer than the step.
"""

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from common.data import Pair
from common.preprocessing import arrays
from common.training.batches import Batches
from common.training.compilation import has_convolution

SMALL_STEP = 2**24
"""Weights of a network times examples of a batch, up to which a loop in a program is faster on a processor."""
ON_PROCESSOR, ON_GPU = 32, 512
"""Steps of a program. After a signal, a training ends with its program."""
SHARE_OF_MEMORY = 0.5
"""Share of a GPU's memory that the examples may take."""


def steps_together(model: keras.Model, batches: Batches) -> int:
    """Return the number of steps of a training on one device that one program makes; 0 if Keras's steps are better.

    On a processor, XLA's large products and recurrent layers are a tenth slower in a loop, and its convolutions are
    several times slower.
    """
    if keras.backend.backend() != "jax" or batches.generate_epoch or not arrays.in_memory(batches.pair):
        return 0
    import jax

    (device, *_) = jax.local_devices()
    if device.platform == "cpu":
        small = model.count_params() * batches.batch_size <= SMALL_STEP
        return ON_PROCESSOR if small and not has_convolution(model) else 0
    size: int = sum(part.nbytes for part in keras.tree.flatten(batches.pair))
    memory: int = (device.memory_stats() or {}).get("bytes_limit", 0)
    return ON_GPU if size <= SHARE_OF_MEMORY * memory else 0


class Orders(keras.utils.PyDataset):
    """The indices of the examples of several batches, which the function of `several_steps` takes.

    Args:
        batches: The batches. As a callback, they know when the training begins.
        steps: Batches per execution.
    """

    def __init__(self, batches: Batches, steps: int) -> None:
        super().__init__()
        self.batches, self.steps = batches, steps
        self.order = batches.order()

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: int) -> Any:
        """Return indices (steps, batch), of which the last execution uses fewer, and the number of steps.

        Before the training begins, Keras builds the metrics from the shapes of a batch: it gets one.
        """
        if not self.batches.begun:
            return keras.tree.map_structure(lambda part: part[self.order[0]], self.batches.pair)
        rows = self.order[index * self.steps : (index + 1) * self.steps]
        return np.resize(rows, (self.steps, self.order.shape[1])).astype("int32"), np.int32(len(rows))

    def on_epoch_begin(self) -> None:
        self.order = self.batches.order()


def several_steps(model: keras.Model, pair: Pair) -> Callable[[Any, Iterator[Any]], tuple[dict[str, Any], Any]]:
    """Return a `train_function` for `fit`, which takes an item of `Orders` where Keras's own takes a batch.

    Args:
        model: A compiled network, whose `train_step` the program repeats.
        pair: Training examples in memory.

    Returns:
        A function of the state of the training and an iterator over `Orders`, which returns the metrics after the last
        step, and the new state.
    """
    import jax

    examples = jax.device_put(pair)

    def step(state: Any, examples: Pair, rows: Any) -> Any:
        return model.train_step(state, keras.tree.map_structure(lambda part: part[rows], examples))

    def execute(state: Any, examples: Pair, order: Any, steps: Any) -> Any:
        logs, _ = jax.eval_shape(step, state, examples, order[0])
        nothing = keras.tree.map_structure(lambda log: jax.numpy.zeros(log.shape, log.dtype), logs)
        return jax.lax.fori_loop(
            0, steps, lambda number, logs_and_state: step(logs_and_state[1], examples, order[number]), (nothing, state)
        )

    program = jax.jit(execute, donate_argnums=0)
    return lambda state, orders: program(state, examples, *next(orders))
