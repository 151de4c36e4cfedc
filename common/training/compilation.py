"""Whether XLA compiles the training of a network."""

import keras

from common.nn import recurrent


def benefits_from_xla(model: keras.Model, batch_size: int) -> bool:
    """Return whether XLA makes a step on a batch of this size faster on this device (benchmarks/compilation.py).

    On a GPU, every network whose layers support it, as Keras chooses. On a CPU, dense networks and small recurrent
    ones. XLA's convolutions and its loops over large products are slow there, and so is its random noise before the
    first layer with weights, which it draws again for every unit that reads it.
    """
    import tensorflow as tf

    if any(tensor.dtype == "string" for tensor in model.inputs):
        return False  # XLA has no strings
    if tf.config.list_physical_devices("GPU"):
        return all(layer.supports_jit for layer in model.layers)  # LSTM and GRU do not: cuDNN runs them
    if has_convolution(model):
        return False
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.RNN)]
    if any(batch_size * getattr(layer, "units", 0) > recurrent.XLA_STATES for layer in layers):
        return False
    first = next((layer for layer in model.layers if layer.trainable_weights or hasattr(layer, "seed_generator")), None)
    return not hasattr(first, "seed_generator")


def has_convolution(model: keras.Model) -> bool:
    """Return whether a layer of the network has the kernel of a convolution."""
    return any(
        len(weight.shape) > 3 or hasattr(layer, "kernel_size") for layer in model.layers for weight in layer.weights
    )
