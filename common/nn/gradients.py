"""Exact gradients of a network outside `fit`, by its weights, its inputs or its states, on every backend of Keras."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from common.data import Array, Inputs
from common.nn.programs import compiled


def by_weight(model: keras.Model, loss: Any) -> Callable[[Inputs, Array], dict[str, Array]]:
    """Return a function that computes the gradient of a loss by each trainable weight.

    Layers act as in training: dropout drops, and losses that layers add count. Nothing in `model` changes, neither its
    weights nor the states of its random generators.

    Args:
        model: A network with one output.
        loss: A loss as `compile` takes it; its mean over the examples counts.

    Returns:
        A function of inputs and targets, each (examples, …), that returns for each weight's path an array of the
        weight's shape. JAX compiles it once for all its calls.
    """
    # A network of the same layers: `model` keeps the loss that it is compiled with.
    probe = keras.Model(model.inputs, model.outputs[0])
    probe.compile(loss=loss)
    weights, others = probe.trainable_variables, probe.non_trainable_variables

    def total_loss(values: Sequence[Any], examples: Sequence[Any], expected: Any) -> Any:
        # The scope gives the variables these values, and drops all that the call assigns.
        state = [*zip(weights, values, strict=True), *((other, other.value) for other in others)]
        with keras.StatelessScope(state, collect_losses=True):
            return probe.compute_loss(examples, expected, probe(examples, training=True))

    def gradient(examples: Sequence[Any], expected: Any) -> Any:
        return _gradient(total_loss)([weight.value for weight in weights], examples, expected)

    program = compiled(gradient, probe)

    def compute(inputs: Inputs, targets: Array) -> dict[str, Array]:
        found = _arrays(program(keras.tree.flatten(inputs), targets))
        return dict(zip([weight.path for weight in weights], found, strict=True))

    return compute


def by_input(network: keras.Model, inputs: Array, chosen: Array, context: Sequence[Array] = ()) -> Array:
    """Compute the gradient of one output of each example by the example's first input.

    Args:
        network: Takes [inputs, *context] and gives (examples, outputs); it acts as in prediction.
        inputs: Real numbers, (examples, …).
        chosen: The number of each example's output, (examples,).
        context: Further inputs, each (examples, …).

    Returns:
        An array of the shape of `inputs`.
    """
    given = [ops.convert_to_tensor(part) for part in context]
    picked = np.eye(network.output_shape[-1])[chosen]

    def chosen_outputs(values: Sequence[Any]) -> Any:
        outputs = network([*values, *given], training=False)
        return ops.sum(outputs * ops.cast(picked, outputs.dtype))

    return _gradients(chosen_outputs, [ops.convert_to_tensor(inputs, network.inputs[0].dtype)])[0]


def by_state(memory: keras.layers.RNN, head: keras.layers.Layer, sequences: Array) -> Array:
    """Compute the gradient of a recurrent network's output by the states before each step.

    Args:
        memory: A recurrent layer.
        head: Makes the output, (examples, 1), of the last output of `memory`.
        sequences: (examples, steps, features), without padding.

    Returns:
        (examples, steps, states); where a cell has several states, they stand side by side.
    """
    cell, (examples, steps, _) = memory.cell, sequences.shape

    def output(nudges: Sequence[Any]) -> Any:
        states = cell.get_initial_state(examples)
        for step in range(steps):
            nudged = [state + nudge[:, step] for state, nudge in zip(states, nudges, strict=True)]
            found, states = cell(sequences[:, step], nudged)
        return ops.sum(head(found))

    # The gradient by what is added to a state is that by the state.
    zeros = [ops.zeros((examples, steps, width)) for width in keras.tree.flatten(cell.state_size)]
    return np.concatenate(_gradients(output, zeros), axis=-1)


def _gradients(function: Callable[[Sequence[Any]], Any], values: list[Any]) -> list[Array]:
    """Compute the gradient of the number that `function` makes of tensors by each of them, zeros where none counts."""
    return _arrays(_gradient(function)(values))


def _arrays(tensors: Sequence[Any]) -> list[Array]:
    return [np.array(ops.convert_to_numpy(tensor)) for tensor in tensors]


def _gradient(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that computes the gradients of a number by the tensors of the first argument."""
    match keras.backend.backend():
        case "tensorflow":
            import tensorflow as tf

            def gradient(values: list[Any], *more: Any) -> Any:
                with tf.GradientTape(watch_accessed_variables=False) as tape:
                    tape.watch(values)
                    result = function(values, *more)
                return tape.gradient(result, values, unconnected_gradients="zero")

        case "jax":
            import jax

            gradient = jax.grad(function)
        case "torch":
            import torch

            def gradient(values: list[Any], *more: Any) -> Any:
                values = [value.detach().clone().requires_grad_() for value in values]
                return torch.autograd.grad(function(values, *more), values, allow_unused=True, materialize_grads=True)

        case backend:
            raise NotImplementedError(f"gradients on the backend {backend}")
    return gradient
