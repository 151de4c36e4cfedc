"""Whether XLA compiles the training of a network."""

import keras

from common.nn import layers, recurrent

FEWEST_STEPS = 500
"""Smallest number of steps of a training in which XLA on a CPU saves more time than its compilation takes."""


def benefits_from_xla(model: keras.Model, batch_size: int, steps: int) -> bool:
    """Return whether XLA makes a training on this device faster (benchmarks/compilation.py).

    On a GPU, it does so for every network whose layers support it, as Keras chooses. On a CPU, it does so for dense
    networks and small recurrent ones, if there are enough steps. In XLA's programs for a CPU, convolutions, loops over
    large products, and Keras's noise before the first layer with weights are slow.

    Args:
        model: The network.
        batch_size: Examples per step.
        steps: Steps of the whole training.
    """
    import tensorflow as tf

    if any(tensor.dtype == "string" for tensor in model.inputs):
        return False  # XLA has no strings
    if tf.config.list_physical_devices("GPU"):
        return all(layer.supports_jit for layer in model.layers)  # LSTM and GRU do not: cuDNN runs them
    if steps < FEWEST_STEPS or has_convolution(model):
        return False
    recurrent_layers = [layer for layer in model.layers if isinstance(layer, keras.layers.RNN)]
    if any(batch_size * getattr(layer, "units", 0) > recurrent.XLA_STATES for layer in recurrent_layers):
        return False
    first = next((layer for layer in model.layers if layer.trainable_weights or hasattr(layer, "seed_generator")), None)
    return isinstance(first, layers.Dropout) or not hasattr(first, "seed_generator")


def has_convolution(model: keras.Model) -> bool:
    """Return whether a layer of the network has the kernel of a convolution."""
    return any(
        len(weight.shape) > 3 or hasattr(layer, "kernel_size") for layer in model.layers for weight in layer.weights
    )
