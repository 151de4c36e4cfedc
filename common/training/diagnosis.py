"""What is wrong with a training run, in plain words, with the numbers that it is judged by."""

from collections.abc import Iterator, Mapping, Sequence

import keras
import numpy as np
from keras import ops

from common.data import Array, Inputs
from common.nn import gradients

HEALTHY = "nothing found wrong"


# Where a symptom begins. Rules of thumb, each far from what the suite's own networks show when they are well.
OVERFITTING = 1.1
"""Last validation loss over the best one, and over the training loss."""
UNDERFITTING = 0.8
"""Loss over what it would be if the answers were dealt to the examples at random; 1 where nothing is learned."""
DIVERGED = 1.5
"""An epoch's training loss over the loss before training."""
JUMP = 0.05
"""Rise of the training loss in an epoch, as a share of the loss before training."""
DEAD = 0.2
"""Share of a layer's ReLU units that are 0 for every example."""
VANISHING = 1e-4
"""Relative gradient of a layer, its length over the weights' length, as a share of the largest layer's."""
EXPLODING = 10.0
"""Relative gradient of a layer."""


class Diagnosis:
    """Looks at a network before training, when it is made, and after it, when it is asked for its findings."""

    def __init__(self, model: keras.Model, inputs: Inputs, targets: Array) -> None:
        """Look at `model` and at what it makes of some training examples."""
        self.model, self.inputs, self.targets = model, inputs, targets
        self.relus = [layer for layer in model.layers if is_relu(layer)]
        # Beside the model, which keeps the functions that it is trained and asked with.
        self.answering = keras.Model(model.inputs, [*model.outputs, *(layer.output for layer in self.relus)])
        self.initial_loss = self._loss(self._answers()[0])
        self.early = gradient(self._relative_gradients(), "before training")

    def findings(self, history: Mapping[str, Sequence[float]]) -> list[str]:
        """What is wrong, a line a symptom with the numbers it is judged by; or one line that nothing is."""
        found = [*learning_rate(history["loss"], self.initial_loss)]
        if "val_loss" in history:
            found += overfitting(history)
        answers, *activities = self._answers()
        loss = self._loss(answers)
        if np.isfinite(loss):
            found += underfitting(loss, self._loss(np.random.default_rng(0).permutation(answers)))
            for layer, activity in zip(self.relus, activities, strict=True):
                found += dead_units(layer.name, activity)
            found += gradient(self._relative_gradients(), "after it")
        return [*found, *self.early] or [HEALTHY]

    def _answers(self) -> list[Array]:
        """The outputs for the sample, and those of each layer of ReLU units."""
        # Called, not predicted with: a call also drops what layers added to the loss in the last step of training.
        inputs = [ops.convert_to_tensor(part) for part in keras.tree.flatten(self.inputs)]
        return [ops.convert_to_numpy(answer) for answer in keras.tree.flatten(self.answering(inputs, training=False))]

    def _loss(self, answers: Array) -> float:
        return float(self.model.compute_loss(self.inputs, self.targets, answers))

    def _relative_gradients(self) -> dict[str, float]:
        """For each layer the length of its gradient over that of its weights; biases, zero at first, are left out."""
        found = gradients.by_weight(self.model, self.inputs, self.targets, self.model.loss)
        relative = {}
        for layer in self.model.layers:
            kernels = [weight for weight in layer.trainable_weights if len(weight.shape) > 1]
            gradient_length = length([found[kernel.path] for kernel in kernels])
            if weight_length := length([ops.convert_to_numpy(kernel) for kernel in kernels]):
                relative[layer.name] = gradient_length / weight_length
        return relative


def length(arrays: Sequence[Array]) -> float:
    """The Euclidean length of all numbers in `arrays` seen as one vector."""
    return sum(float(np.sum(np.square(array, dtype="float64"))) for array in arrays) ** 0.5


def overfitting(history: Mapping[str, Sequence[float]]) -> Iterator[str]:
    """Whether validation grew worse after its best epoch, and than training, which went on to grow better."""
    training, validation = history["loss"], history["val_loss"]
    best = int(np.argmin(validation))
    if validation[-1] > OVERFITTING * max(validation[best], training[-1]) and training[-1] < training[best]:
        yield (
            f"overfitting from epoch {best + 2}: since epoch {best + 1} the validation loss rose from "
            f"{validation[best]:.3g} to {validation[-1]:.3g}, the training loss fell from {training[best]:.3g} "
            f"to {training[-1]:.3g}"
        )


def underfitting(loss: float, dealt: float) -> Iterator[str]:
    """Whether the answers fit the training examples they are given for hardly better than any others."""
    if loss > UNDERFITTING * dealt:
        yield (
            f"underfitting: the loss on training examples is {loss:.3g}, and with the same answers dealt out at random "
            f"it would be no more than {dealt:.3g}"
        )


def learning_rate(losses: Sequence[float], initial: float) -> Iterator[str]:
    """Whether the training loss of the epochs, `initial` before them, blows up or jumps; or sinks as slowly as ever.

    Steady progress takes less and less off the loss. A rate is too small where the second half of the epochs took two
    fifths or more of what came off since the first, and no epoch three times their mean, as one does that leaves a
    plateau.
    """
    curve = np.array([initial, *losses])
    falls = -np.diff(losses)
    jumps = int((falls < -JUMP * initial).sum())
    late = falls[len(falls) // 2 :].sum()
    if not np.isfinite(curve).all():
        epoch = int(np.flatnonzero(~np.isfinite(curve))[0])
        yield f"learning rate too large: the training loss was {curve[epoch]} in epoch {epoch}"
    elif curve.max() > DIVERGED * initial:
        epoch = int(curve.argmax())
        yield f"learning rate too large: the loss, at first {initial:.3g}, was {max(losses):.3g} in epoch {epoch}"
    elif jumps > max(1, len(losses) / 5):
        yield (
            f"learning rate too large: in {jumps} of {len(losses)} epochs the training loss rose by more than "
            f"{JUMP * initial:.2g}"
        )
    elif len(falls) >= 3 and late > 0.4 * falls.sum() > 0 and falls.max() < 3 * falls.mean():
        yield (
            f"learning rate too small, or too few epochs: of the fall of the training loss from {losses[0]:.4g} to "
            f"{losses[-1]:.4g} the second half of the epochs took {100 * late / falls.sum():.0f} %"
        )


def dead_units(layer: str, activity: Array) -> Iterator[str]:
    """Whether a layer has many ReLU units, or maps, that are 0 for every example, and so learn nothing any more.

    `activity` (examples, …, units) is what the layer puts out.
    """
    dead = (activity.reshape(-1, activity.shape[-1]) <= 0).all(axis=0)
    if dead.mean() > DEAD:
        yield f"dead ReLU units: {dead.sum()} of {dead.size} in {layer} are 0 for all of {len(activity):,} examples"


def is_relu(layer: keras.layers.Layer) -> bool:
    """Whether `layer` puts out rectified sums."""
    return isinstance(layer, keras.layers.ReLU) or getattr(layer, "activation", None) is keras.activations.relu


def gradient(relative: Mapping[str, float], when: str) -> list[str]:
    """Which of several layers have a gradient that is lost beside another's, or larger than the weights themselves."""
    largest = max(relative.values(), default=0.0)
    found = []
    for layer, value in relative.items():
        if len(relative) > 1 and value > EXPLODING:
            found.append(f"exploding gradient in {layer} {when}: {value:.2g} times as long as the weights")
        elif value < VANISHING * largest:
            found.append(
                f"vanishing gradient in {layer} {when}: {value:.2g} times as long as the weights, "
                f"in the layer with the largest {largest:.2g}"
            )
    return found
