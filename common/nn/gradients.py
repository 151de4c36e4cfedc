"""Gradients on any backend: Keras computes them in training steps only, so one is made that keeps them."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from common.data import Array, Inputs


class Keep(keras.optimizers.Optimizer):
    """After one step every weight holds its own gradient."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        self.assign(variable, ops.cast(gradient, variable.dtype))


def by_weight(model: keras.Model, inputs: Inputs, targets: Array, loss: Any) -> dict[str, Array]:
    """The gradient of `loss` over these examples by each trainable weight of `model`, by the weight's path.

    Dropout and the like act as they do in training. `model` stays as it is.
    """
    before = [ops.copy(variable) for variable in model.variables]
    # A network of the same layers: the model keeps the optimiser and the functions that it is trained and asked with.
    probe = keras.Model(model.inputs, model.outputs[0])
    try:
        gradients = _step(probe, keras.tree.flatten(inputs), targets, loss)
    finally:
        for variable, value in zip(model.variables, before, strict=True):
            variable.assign(value)
    return dict(zip([weight.path for weight in model.trainable_variables], gradients, strict=True))


def by_state(memory: keras.layers.RNN, head: keras.layers.Layer, sequences: Array) -> Array:
    """The gradient of the output by the states before each step, (examples, steps, states).

    The output is what `head` makes of the last output of the recurrent layer `memory` for `sequences` (examples, steps,
    features). Both stay as they are.
    """
    examples, _, features = sequences.shape
    cell, answer = (type(layer).from_config(layer.get_config()) for layer in (memory.cell, head))
    inputs = keras.Input(batch_shape=sequences.shape)
    nudges = _Nudges(sum(keras.tree.flatten(cell.state_size)))
    probe = keras.Model(inputs, answer(keras.layers.RNN(_NudgedCell(cell, features))(nudges(inputs))))
    for copy, original in ((cell, memory.cell), (answer, head)):
        copy.set_weights(original.get_weights())
        copy.trainable = False
    # Keras takes the mean over the examples; their number makes it a sum, whose gradient is each example's own.
    (gradient,) = _step(probe, sequences, np.zeros((examples, 1)), lambda _, output: examples * output)
    return gradient


class ByInput:
    """The gradient of a chosen output of `network` by its first input, always so many examples at a time.

    `network` takes [inputs, *context] and gives (examples, outputs); it acts as in prediction. Its weights are frozen.
    """

    def __init__(self, network: keras.Model, examples: int, inputs: Array, context: Sequence[Array] = ()) -> None:
        """Inputs and context may have any number of examples: what counts is the shape of one."""
        network.trainable = False
        self.examples, self.outputs = examples, network.output_shape[-1]
        self.held = _Held(network, (examples, *inputs.shape[1:]))
        picked = keras.Input(batch_shape=(examples, self.outputs))
        given = [keras.Input(batch_shape=(examples, *part.shape[1:]), dtype=str(part.dtype)) for part in context]
        self.probe = keras.Model([picked, *given], self.held([picked, *given]))
        # Keras takes the mean over the examples; their number makes it a sum, whose gradient is each example's own.
        _compile(self.probe, lambda _, output: examples * output)

    def __call__(self, inputs: Array, chosen: Array, context: Sequence[Array] = ()) -> Array:
        """As `inputs` (examples, …): the gradient of each example's output number `chosen` (examples,) by it."""
        found = []
        for start in range(0, len(inputs), self.examples):
            # What fills up the last batch is an example that is there.
            rows = np.minimum(np.arange(start, start + self.examples), len(inputs) - 1)
            self.held.values.assign(inputs[rows])
            picked = np.eye(self.outputs, dtype="float32")[chosen[rows]]
            self.probe.train_on_batch([picked, *(part[rows] for part in context)], np.zeros((self.examples, 1)))
            found.append(np.array(ops.convert_to_numpy(self.held.values)))
        return np.concatenate(found)[: len(inputs)]


def _compile(probe: keras.Model, loss: Any) -> None:
    """Make a training step of `probe` overwrite its trainable weights with their gradients."""
    # Few steps: compiling them would take longer, and TensorFlow warns where that is done again and again.
    probe.compile(Keep(learning_rate=1.0), loss, run_eagerly=True)


def _step(probe: keras.Model, inputs: Any, targets: Array, loss: Any) -> list[Array]:
    """Overwrite the trainable weights of `probe` with their gradients, and give those."""
    _compile(probe, loss)
    probe.train_on_batch(inputs, targets)
    return [ops.convert_to_numpy(weight) for weight in probe.trainable_variables]


class _Held(keras.layers.Layer):
    """Has a network's first input as a weight, and gives the sum of its outputs, each times what is picked of it."""

    def __init__(self, network: keras.Model, shape: Sequence[int]) -> None:
        super().__init__()
        self.network, self.shape = network, shape

    def build(self, _input_shape: Any) -> None:
        self.values = self.add_weight(shape=self.shape, initializer="zeros")

    def call(self, inputs: Any) -> Any:
        picked, *context = inputs
        outputs = self.network([self.values, *context], training=False)
        return ops.sum(outputs * ops.cast(picked, outputs.dtype), axis=-1, keepdims=True)


class _Nudges(keras.layers.Layer):
    """Appends a weight of its own, zero, to every step of every sequence: what will be added to the state there."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def build(self, input_shape: Sequence[int]) -> None:
        self.nudges = self.add_weight(shape=(*input_shape[:2], self.width), initializer="zeros")

    def call(self, inputs: Any) -> Any:
        return ops.concatenate([inputs, self.nudges], axis=-1)


class _NudgedCell(keras.layers.Layer):
    """A recurrent cell that first adds the last features of its input to its states."""

    def __init__(self, cell: Any, features: int) -> None:
        super().__init__()
        self.cell, self.features, self.state_size = cell, features, cell.state_size

    def build(self, input_shape: Sequence[int]) -> None:
        self.cell.build((input_shape[0], self.features))

    def call(self, inputs: Any, states: Sequence[Any], training: bool = False) -> Any:
        sizes = np.cumsum([self.features, *(state.shape[-1] for state in states[:-1])])
        inputs, *nudges = ops.split(inputs, sizes.tolist(), axis=-1)
        return self.cell(inputs, [state + nudge for state, nudge in zip(states, nudges, strict=True)])
