"""Exact gradients of a network outside `fit`, by its weights, its inputs or its states, on every backend of Keras."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from common.data import Array, Inputs


def by_weight(model: keras.Model, inputs: Inputs, targets: Array, loss: Any) -> dict[str, Array]:
    """Compute the gradient of a loss by each trainable weight, by the weight's path.

    Layers act as in training: dropout drops, and losses that layers add count. Nothing in `model` changes, neither its
    weights nor the states of its random generators.

    Args:
        model: A network with one output.
        inputs: Examples, (examples, …).
        targets: Their targets, (examples, …).
        loss: A loss as `compile` takes it; its mean over the examples counts.

    Returns:
        For each weight's path an array of the weight's shape.
    """
    # A network of the same layers: `model` keeps the loss that it is compiled with.
    probe = keras.Model(model.inputs, model.outputs[0])
    probe.compile(loss=loss)
    examples = [ops.convert_to_tensor(part) for part in keras.tree.flatten(inputs)]
    expected = ops.convert_to_tensor(targets)
    weights = probe.trainable_variables

    def total_loss(values: Sequence[Any]) -> Any:
        # The scope gives the weights these values, and drops all that the call assigns.
        with keras.StatelessScope(list(zip(weights, values, strict=True)), collect_losses=True):
            return probe.compute_loss(examples, expected, probe(examples, training=True))

    gradients = _gradients(total_loss, [weight.value for weight in weights])
    return dict(zip([weight.path for weight in weights], gradients, strict=True))


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
    match keras.backend.backend():
        case "tensorflow":
            import tensorflow as tf

            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(values)
                result = function(values)
            found = tape.gradient(result, values, unconnected_gradients="zero")
        case "jax":
            import jax

            found = jax.grad(function)(values)
        case "torch":
            import torch

            values = [value.detach().clone().requires_grad_() for value in values]
            found = torch.autograd.grad(function(values), values, allow_unused=True, materialize_grads=True)
        case backend:
            raise NotImplementedError(f"gradients on the backend {backend}")
    return [np.array(ops.convert_to_numpy(gradient)) for gradient in found]
