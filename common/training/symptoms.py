"""Find faults of a training by rules, from its losses, units and gradients, and give advice on each."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from common.data import Array
from common.metrics import predictions
from common.tasks import Task

HEALTHY = "nothing found wrong"

# Thresholds of the symptoms: rules of thumb, far from the values of the suite's networks when training goes well.
OVERFITTING = 1.1
"""Last validation loss over the best one, and over the training loss."""
UNDERFITTING = 0.8
"""Loss over the loss with the outputs permuted at random among the examples; 1 if nothing is learned."""
DIVERGED = 1.5
"""An epoch's training loss over the loss before training."""
RECOVERED = 0.5
"""Last training loss over the loss before training, up to which a rise in between is no fault."""
JUMP = 0.05
"""Rise of the training loss in an epoch, as a share of the loss before training."""
FEW = 200
"""Number of gradient steps below which a training is too short to find other faults in its loss."""
SETTLED = 0.001
"""Change of the training loss in the last epoch, as a share of its whole fall, up to which few steps are enough."""
IMPROVING = 0.05
"""Fall of the validation loss in the last two epochs, as a share of its lowest value before."""
DEAD = 0.2
"""Share of a layer's ReLU units whose output is 0 for every example."""
VANISHING = 1e-4
"""Relative gradient of a layer (its norm over the norm of the weights) over that of the layer with the largest."""
EXPLODING = 20.0
"""Relative gradient of a layer, for the mean loss of a batch of examples."""


ADVICE = {
    "overfitting": "Use more data or augmentation, dropout or a penalty (`l1`, `l2`), or a smaller network. With "
    "`restore` best, the model has the weights of the best epoch.",
    "underfitting": "Check that the inputs determine the targets; then try a larger network, more epochs, a larger "
    "`learning_rate`, or less dropout and penalty.",
    "learning rate too large": "Try a `learning_rate` that is 3 to 10 times smaller, or a `schedule` of falling ones.",
    "learning rate too small": "Try more epochs, or a `learning_rate` that is 3 to 10 times larger.",
    "dead ReLU units": "Try a smaller `learning_rate`, the initializer he_normal, or leaky_relu.",
    "vanishing gradient": "Try ReLU instead of sigmoid or tanh, batch normalisation, he_normal or xavier as initial "
    "weights, fewer layers, or an LSTM instead of a plain recurrent network.",
    "exploding gradient": "Try a smaller `learning_rate`, smaller initial weights, batch normalisation, or "
    "standardised inputs.",
    "intervals too narrow": "The series may have changed: train on newer data, or try another `transform`.",
    "worse than": "Search for better settings, or use the baseline.",
    "the class": "Train on more examples of this class, or try balanced `class_weights`.",
}
"""Advice by the first words of a finding. Findings that contain their advice are not among them."""


def advice(finding: str) -> str:
    """Return advice for a finding; empty if it has its own, or needs none."""
    return next((text for symptom, text in ADVICE.items() if finding.startswith(symptom)), "")


def overfitting(history: Mapping[str, Sequence[float]]) -> Iterator[str]:
    """Find that the validation loss rose above its best value and the training loss, which kept falling."""
    training, validation = history["loss"], history["val_loss"]
    best = int(np.argmin(validation))
    if validation[-1] > OVERFITTING * max(validation[best], training[-1]) and training[-1] < training[best]:
        yield (
            f"overfitting from epoch {best + 2}: since epoch {best + 1} the validation loss rose from "
            f"{validation[best]:.3g} to {validation[-1]:.3g}, the training loss fell from {training[best]:.3g} "
            f"to {training[-1]:.3g}"
        )


def underfitting(loss: float, permuted: float) -> Iterator[str]:
    """Find that the outputs fit their training examples hardly better than other examples.

    Args:
        loss: Loss on training examples.
        permuted: Loss with the same outputs permuted at random among the examples.
    """
    if loss > UNDERFITTING * permuted:
        yield (
            f"underfitting: the loss on training examples is {loss:.3g}, and with the same outputs in random order "
            f"it would be no more than {permuted:.3g}"
        )


def few_steps(steps: int, losses: Sequence[float]) -> Iterator[str]:
    """Find that training had too few gradient steps in all, and that its loss still fell at the end.

    Args:
        steps: Gradient steps per epoch.
        losses: Training loss of every epoch.
    """
    total = len(losses) * steps
    settled = len(losses) > 2 and abs(losses[-2] - losses[-1]) <= SETTLED * (losses[0] - losses[-1])
    if total < FEW and not settled:
        yield f"few steps: only {total} gradient steps in all; train for more epochs, or in smaller batches"


def still_improving(losses: Sequence[float]) -> Iterator[str]:
    """Find that the validation loss still fell when training ended."""
    earlier = min(losses[:-2], default=0.0)
    if losses[-1] == min(losses) and losses[-1] < (1 - IMPROVING) * earlier:
        yield (
            f"still improving when training ended: in the last two epochs the validation loss fell from {earlier:.3g} "
            f"to {losses[-1]:.3g}; train for more epochs"
        )


def learning_rate(
    losses: Sequence[float], initial: float, slow: bool = True, validation: Sequence[float] = ()
) -> Iterator[str]:
    """Find that the training loss diverges, jumps, or still falls as fast as at the start.

    The loss normally falls more and more slowly. The rate is too small if the second half of the epochs has more than
    two fifths of the whole fall, and no epoch three times the mean fall, as an epoch that leaves a plateau has.

    Args:
        losses: Training loss of every epoch, which is finite.
        initial: Training loss before the first epoch.
        slow: Whether a slow fall is a fault: not after few steps, which explain it, and not if the validation loss has
            not fallen since the first half of the epochs.
        validation: Validation loss of every epoch. It has neither dropout nor other batches in each epoch, so a jump
            that it does not show is noise of these.
    """
    curve = np.array([initial, *losses])
    falls = -np.diff(losses)
    jumps = int((falls < -JUMP * initial).sum())
    if len(validation):
        jumps = min(jumps, int((np.abs(np.diff(validation)) > JUMP / 2 * initial).sum()))
    late = falls[len(falls) // 2 :].sum()
    if curve.max() > DIVERGED * initial and losses[-1] > RECOVERED * initial:
        epoch = int(curve.argmax())
        yield f"learning rate too large: the loss, at first {initial:.3g}, was {max(losses):.3g} in epoch {epoch}"
    elif jumps > max(1, len(losses) / 5):
        yield (
            f"learning rate too large: in {jumps} of {len(losses)} epochs the training loss rose by more than "
            f"{JUMP * initial:.2g}"
        )
    elif slow and len(falls) >= 3 and late > 0.4 * falls.sum() > 0 and falls.max() < 3 * falls.mean():
        yield (
            f"learning rate too small, or too few epochs: of the fall of the training loss from {losses[0]:.4g} to "
            f"{losses[-1]:.4g} the second half of the epochs took {100 * late / falls.sum():.0f} %"
        )


def worse_than(
    baselines: Mapping[str, float], task: Task, metrics: Mapping[str, float], targets: Array
) -> Iterator[str]:
    """Find that a baseline is better than the network on the test set.

    Args:
        baselines: Value of the metric of the task's `comparison` for each baseline, by name.
        task: The task.
        metrics: Metrics of the network, by name.
        targets: Test targets.
    """
    metric, own = task.comparison(metrics)
    best = max if task.metric_mode == "max" else min
    for name, value in baselines.items():
        if f"{value:.4g}" != f"{own:.4g}" and best(value, own) == value:
            line = f"worse than the {name}: {metric} {own:.4g} on the test set, the {name} has {value:.4g}"
            small = abs(value - own) < predictions.standard_error(metric, own, targets)
            yield f"{line}; the difference is below the standard error of {len(targets):,} examples" if small else line


def dead_units(layer: str, largest: Array, examples: int) -> Iterator[str]:
    """Find that many ReLU units, or maps, of a layer are 0 for every example, so that they stop learning.

    Args:
        layer: Name of the layer.
        largest: Largest output of each unit (units,).
        examples: Number of examples.
    """
    dead = largest <= 0
    if dead.mean() > DEAD:
        yield f"dead ReLU units: {dead.sum()} of {dead.size} in {layer} are 0 for all of {examples:,} examples"


def gradients(relative: Mapping[str, float], when: str) -> dict[str, str]:
    """Find layers with a gradient far smaller than another layer's, or far larger than their weights.

    Args:
        relative: Relative gradient of each layer, by name.
        when: Words for the time of the measurement.

    Returns:
        A finding by the name of its layer.
    """
    largest = max(relative.values(), default=0.0)
    found = {}
    for layer, value in relative.items():
        if len(relative) > 1 and value > EXPLODING:
            found[layer] = f"exploding gradient in {layer} {when}: {value:.2g} times as long as the weights"
        elif value < VANISHING * largest:
            found[layer] = (
                f"vanishing gradient in {layer} {when}: {value:.2g} times as long as the weights, "
                f"in the layer with the largest {largest:.2g}"
            )
    return found
