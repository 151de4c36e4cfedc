"""Diagnose a training run: findings in words, with the numbers that support them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from common.data import Array, Inputs
from common.nn import augmentation, gradients
from common.nn.programs import compiled
from common.preprocessing import arrays
from common.training import symptoms
from common.training.batches import InOrder

EXAMPLES = 64
"""Training examples to judge a network by."""
BATCH = 32
"""Examples in memory at once. The gradient is that of the first batch."""
OUTPUTS = ""
"""Name of the network's outputs among those of its probe."""


class Diagnosis:
    """Measurements of a network before training (when this is created) and after it (by `findings`).

    Args:
        model: The compiled network, not trained yet.
        inputs: Some training examples.
        targets: Their targets.
    """

    def __init__(self, model: keras.Model, inputs: Inputs, targets: Array) -> None:
        self.model, self.inputs, self.targets = model, inputs, targets
        self.size = min(BATCH, arrays.prediction_batch(inputs))
        self.measure = measurement(model)
        self.gradients = gradients.by_weight(model, model.loss)
        self.initial_loss, _ = self._measure(targets)
        self.early = symptoms.gradients(self._relative_gradients(), "before training")

    def findings(self, history: Mapping[str, Sequence[float]], steps: int = symptoms.FEW, epochs: int = 0) -> list[str]:
        """Return one line per symptom; none if nothing is wrong.

        Args:
            history: Metrics of every epoch, by name.
            steps: Gradient steps per epoch.
            epochs: Number of epochs after which training had to end; 0 if others may follow.
        """
        losses, validation = history["loss"], history.get("val_loss", [])
        best_is_early = len(validation) > 0 and int(np.argmin(validation)) < len(validation) // 2
        enough = len(validation) > 0 and epochs > len(losses)  # the last ones did not improve it
        few = [] if enough else [*symptoms.few_steps(steps, losses)]
        slow = not (few or best_is_early)
        found = [*few, *symptoms.learning_rate(losses, self.initial_loss, slow, validation)]
        if "val_loss" in history:
            found += symptoms.overfitting(history)
            if not found and epochs == len(history["loss"]):
                found += symptoms.still_improving(history["val_loss"])
        loss, largest = self._measure(self.targets)
        if np.isfinite(loss):
            order = np.random.default_rng(0).permutation(len(self.targets))
            permuted, _ = self._measure(self.targets[order.argsort()])  # outputs in this order, for the targets
            found += symptoms.underfitting(loss, permuted)
            for layer, units in largest.items():
                found += symptoms.dead_units(layer, units, len(self.targets))
            late = symptoms.gradients(self._relative_gradients(), "after training")
            early = [line for layer, line in self.early.items() if layer in late]  # others are healthy now
            return [*found, *late.values(), *early]
        return [*found, *self.early.values()]

    def _measure(self, targets: Array) -> tuple[float, dict[str, Array]]:
        """Return the loss with these targets, and for each layer of ReLU units the largest output of each unit."""
        total, largest = 0.0, dict[str, Array]()
        batches = InOrder((self.inputs, targets), self.size)
        for inputs, expected in map(batches.__getitem__, range(len(batches))):
            loss, found = self.measure(keras.tree.flatten(inputs), expected)
            total += len(expected) * float(loss)
            found = keras.tree.map_structure(ops.convert_to_numpy, found)
            largest = {layer: np.maximum(units, largest.get(layer, units)) for layer, units in found.items()}
        return total / len(targets), largest

    def _relative_gradients(self) -> dict[str, float]:
        """Return for each layer the norm of its gradient over that of its weights, without biases, which start at 0.

        Weights that are small on purpose, as of a layer that corrects another forecast, count as if their variance were
        1 / fan-in: else the gradients of all other layers would seem to vanish.
        """
        inputs, targets = arrays.first((self.inputs, self.targets), self.size)
        found = self.gradients(inputs, targets)
        relative = {}
        for layer in self.model.layers:
            kernels = [weight for weight in layer.trainable_weights if len(weight.shape) > 1]
            gradient_length = length([found[kernel.path] for kernel in kernels])
            if weight_length := length([ops.convert_to_numpy(kernel) for kernel in kernels]):
                usual = sum(kernel.shape[-1] for kernel in kernels) ** 0.5
                relative[layer.name] = gradient_length / max(weight_length, usual)
        return relative


def measurement(model: keras.Model) -> Callable[..., Any]:
    """Return a function of inputs and targets that returns the loss and the largest output of each ReLU unit."""
    network, plain = probe(model), keras.Model(model.inputs, model.outputs[0])
    plain.compile(loss=model.loss)  # and none of the metrics that `compute_loss` of `model` may update

    def measure(inputs: Sequence[Any], targets: Any) -> tuple[Any, dict[str, Any]]:
        found = network(inputs, training=False)
        return plain.compute_loss(None, targets, found.pop(OUTPUTS)), found

    return compiled(measure, network)


def probe(model: keras.Model) -> keras.Model:
    """Return a network of the layers of `model` that also gives the largest output of each ReLU unit.

    It takes one patch of each image, the centre, where `model` averages its predictions over several.

    Returns:
        A network with the outputs by name: `OUTPUTS`, and for each layer of ReLU units an array (units,).
    """
    largest = {}

    def call(layer: keras.layers.Layer, *arguments: Any, **options: Any) -> Any:
        match layer:
            case augmentation.Crops():
                return augmentation.Crops(layer.size, corners=False, reflections=False)(*arguments)
            case augmentation.CropMean():
                return arguments[0]
        outputs = layer(*arguments, **options)
        if is_relu(layer):
            largest[layer.name] = ops.max(outputs, axis=range(len(outputs.shape) - 1))
        return outputs

    functional = keras.Model(model.inputs, model.outputs)
    copy = keras.models.clone_model(functional, clone_function=lambda layer: layer, call_function=call)
    return keras.Model(copy.inputs, {OUTPUTS: copy.outputs[0], **largest})


def length(arrays: Sequence[Array]) -> float:
    """Return the Euclidean norm of all numbers in `arrays` as one vector."""
    return sum(float(np.sum(np.square(array, dtype="float64"))) for array in arrays) ** 0.5


def is_relu(layer: keras.layers.Layer) -> bool:
    """Return whether the outputs of `layer` are rectified."""
    return isinstance(layer, keras.layers.ReLU) or getattr(layer, "activation", None) is keras.activations.relu
