"""Diagnose a training run: findings in words, with the numbers that support them."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from common.data import Array, Inputs
from common.nn import augmentation, gradients
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
        self.probe = probe(model)
        self.initial_loss, _, _ = self._predict()
        self.early = symptoms.gradients(self._relative_gradients(), "before training")

    def findings(self, history: Mapping[str, Sequence[float]], steps: int = symptoms.FEW, epochs: int = 0) -> list[str]:
        """Return one line per symptom; none if nothing is wrong.

        Args:
            history: Metrics of every epoch, by name.
            steps: Gradient steps per epoch.
            epochs: Number of epochs after which training had to end; 0 if others may follow.
        """
        few = [*symptoms.few_steps(steps, history["loss"])]
        validation = history.get("val_loss", [])
        best_is_early = len(validation) > 0 and int(np.argmin(validation)) < len(validation) // 2
        found = [*few, *symptoms.learning_rate(history["loss"], self.initial_loss, slow=not (few or best_is_early))]
        if "val_loss" in history:
            found += symptoms.overfitting(history)
            if not found and epochs == len(history["loss"]):
                found += symptoms.still_improving(history["val_loss"])
        loss, outputs, largest = self._predict()
        if np.isfinite(loss):
            permuted = np.random.default_rng(0).permutation(outputs)
            found += symptoms.underfitting(loss, float(self.model.compute_loss(self.inputs, self.targets, permuted)))
            for layer, units in largest.items():
                found += symptoms.dead_units(layer, units, len(self.targets))
            late = symptoms.gradients(self._relative_gradients(), "after training")
            early = [line for layer, line in self.early.items() if layer in late]  # others are healthy now
            return [*found, *late.values(), *early]
        return [*found, *self.early.values()]

    def _predict(self) -> tuple[float, Array, dict[str, Array]]:
        """Return the loss, the outputs, and for each layer of ReLU units the largest output of each unit."""
        total, outputs, largest = 0.0, [], dict[str, Array]()
        batches = InOrder((self.inputs, self.targets), self.size)
        for inputs, targets in map(batches.__getitem__, range(len(batches))):
            # A call, unlike `predict`, also drops the losses that layers added in the last training step.
            found = self.probe([ops.convert_to_tensor(part) for part in keras.tree.flatten(inputs)], training=False)
            found = keras.tree.map_structure(ops.convert_to_numpy, found)
            outputs.append(found.pop(OUTPUTS))
            total += len(targets) * float(self.model.compute_loss(inputs, targets, outputs[-1]))
            largest = {layer: np.maximum(units, largest.get(layer, units)) for layer, units in found.items()}
        return total / len(self.targets), np.concatenate(outputs), largest

    def _relative_gradients(self) -> dict[str, float]:
        """Return for each layer the norm of its gradient over that of its weights, without biases, which start at 0."""
        inputs, targets = arrays.first((self.inputs, self.targets), self.size)
        found = gradients.by_weight(self.model, inputs, targets, self.model.loss)
        relative = {}
        for layer in self.model.layers:
            kernels = [weight for weight in layer.trainable_weights if len(weight.shape) > 1]
            gradient_length = length([found[kernel.path] for kernel in kernels])
            if weight_length := length([ops.convert_to_numpy(kernel) for kernel in kernels]):
                relative[layer.name] = gradient_length / weight_length
        return relative


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
