"""Attribute scores to inputs: gradients, integrated gradients, Grad-CAM, and occlusion as a check.

All functions take a network from [x, *context] to scores (examples, outputs). The scores are attributed to `x`
(examples, …); `chosen` (examples,) is the number of the explained score of each example. `context` are further inputs,
such as the mask of padded steps, to which nothing is attributed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
from scipy.stats import spearmanr

from common.data import Array
from common.nn import augmentation, gradients
from common.preprocessing import arrays

NODES = 8
"""Points of the Gauss-Legendre rule per interval of the path."""
AT_ONCE = 32
"""Largest number of examples whose gradients are computed together."""


@dataclass(frozen=True)
class Integrated:
    """Integrated gradients of one example."""

    values: Array
    """Contribution of each number of the input, in the score's unit; of the input's shape."""
    difference: float
    """Score of the input minus score of the baseline, which the values should sum to."""
    steps: int
    """Number of points on the path."""

    @property
    def error(self) -> float:
        """Deviation of the values' sum from the difference, as a share of the difference."""
        return abs(float(self.values.sum()) - self.difference) / max(abs(self.difference), 1e-30)


def scores(network: keras.Model, x: Array, chosen: Array, context: Sequence[Array] = ()) -> Array:
    """Return the chosen score of each example, (examples,)."""
    found: Array = _outputs(network, x, context)[np.arange(len(x)), chosen].astype("float64")
    return found


def _outputs(network: keras.Model, x: Array, context: Sequence[Array] = ()) -> Array:
    """Return all outputs of the network, (examples, outputs)."""
    # A few calls only: compiling the network, as `predict` does, would take longer.
    parts = np.array_split(np.arange(len(x)), -(-len(x) // arrays.prediction_batch(x, augmentation.patches(network))))
    outputs = (network([one[part] for one in (x, *context)], training=False) for part in parts)
    return np.concatenate([keras.ops.convert_to_numpy(output) for output in outputs])


def gradient(network: keras.Model, x: Array, chosen: Array, context: Sequence[Array] = ()) -> Array:
    """Return the gradient of the chosen score of each example by `x`, of its shape; in batches that fit into memory."""
    parts = np.array_split(np.arange(len(x)), -(-len(x) // _batch_size(network, x)))
    return np.concatenate(
        [gradients.by_input(network, x[part], chosen[part], [one[part] for one in context]) for part in parts]
    )


def _batch_size(network: keras.Model, x: Array) -> int:
    """Return the number of examples like those of `x` whose gradients are computed at a time."""
    patches = augmentation.patches(network)
    return max(1, min(AT_ONCE // patches, arrays.prediction_batch(x, patches)))


def saliency(network: keras.Model, x: Array, chosen: Array, context: Sequence[Array] = ()) -> Array:
    """Return the absolute derivative of the score by `x`, of its shape (Simonyan et al. 2014, section 3)."""
    return np.abs(gradient(network, x, chosen, context))


def integrated_gradients(
    network: keras.Model,
    x: Array,
    chosen: int,
    baseline: Array,
    context: Sequence[Array] = (),
    tolerance: float = 0.01,
    most: int = 2048,
) -> Integrated:
    """Return (x - baseline) times the mean gradient on the line between both (Sundararajan et al. 2017, equation 1).

    The mean is a Gauss-Legendre rule in equal intervals, whose number is doubled until the result is accurate.

    Args:
        network: The network.
        slope: Its gradient, from `gradient`.
        x: One example, without the first axis.
        chosen: Number of the explained score.
        baseline: Baseline, of the shape of `x`.
        context: Further inputs of the example, without the first axis.
        tolerance: Largest accepted `Integrated.error`.
        most: Largest number of points.
    """
    ends = np.stack([x, baseline])
    high, low = scores(network, ends, np.full(2, chosen), [np.stack([part, part]) for part in context])
    points, weights = np.polynomial.legendre.leggauss(NODES)
    intervals = 4
    while True:
        path = ((np.arange(intervals)[:, None] + (points + 1) / 2) / intervals).ravel()
        mean = np.zeros(x.shape)
        for part in np.array_split(np.arange(len(path)), -(-len(path) // _batch_size(network, ends))):
            along = path[part].reshape(-1, *[1] * x.ndim)
            rows = (baseline + along * (x - baseline)).astype(x.dtype)
            repeated = [np.repeat(one[None], len(part), axis=0) for one in context]
            slopes = gradients.by_input(network, rows, np.full(len(part), chosen), repeated)
            mean += np.tensordot(np.tile(weights, intervals)[part] / (2 * intervals), slopes.astype("float64"), 1)
        found = Integrated((x - baseline) * mean, high - low, len(path))
        if found.error <= tolerance or 2 * len(path) > most:
            return found
        intervals *= 2


def grad_cam(maps: keras.Model, head: keras.Model, x: Array, chosen: Array) -> Array:
    """Return the positive part of the gradient-weighted sum of feature maps (Selvaraju et al. 2017, equations 1 and 2).

    Args:
        maps: Network from x to feature maps (examples, rows, columns, channels), or (patches, …) for each example, of
            which the first is that of the centre.
        head: Network from the feature maps to scores.
        x: Images.
        chosen: Number of the explained score of each example.

    Returns:
        An array (examples, rows, columns).
    """
    found = []
    for image, score in zip(np.split(x, len(x)), np.split(chosen, len(x)), strict=True):
        patches = _outputs(maps, image)
        weights = gradients.by_input(head, patches, score)[0].mean(axis=(0, 1))
        found.append(np.maximum((weights * patches[0]).sum(axis=-1), 0))
    return np.stack(found)


def occlusion(
    network: keras.Model, x: Array, chosen: Array, baseline: Array, groups: Array, context: Sequence[Array] = ()
) -> Array:
    """Measure the decrease of the score when a group of numbers is replaced by the baseline, without gradients.

    Zeiler and Fergus 2014, section 4.2, with patches that do not overlap.

    Args:
        network: The network.
        x: Examples.
        chosen: Number of the explained score of each example.
        baseline: Baseline, of the shape of `x`.
        groups: Group of each number of an example, from 0, of the shape of one example.
        context: Further inputs.

    Returns:
        An array (examples, groups).
    """
    whole = scores(network, x, chosen, context)
    lost = np.empty((len(x), groups.max() + 1))
    for group in range(lost.shape[1]):
        lost[:, group] = whole - scores(network, np.where(groups == group, baseline, x), chosen, context)
    return lost


def grouped(values: Array, groups: Array) -> Array:
    """Return the sum of `values` (examples, …) over each group of `occlusion`, (examples, groups)."""
    return np.stack([np.bincount(groups.ravel(), weights=one.ravel()) for one in values])


def agreement(first: Array, second: Array) -> float:
    """Return Spearman's rank correlation of two attributions; NaN if one is constant or empty."""
    if not len(first) or np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(spearmanr(first.ravel(), second.ravel()).statistic)


def randomised(network: keras.Model, seed: int = 0) -> keras.Model:
    """Copy `network` and permute the numbers of each weight (Adebayo et al. 2018, section 3).

    If attributions do not change, they do not depend on the learned weights.
    """
    rng = np.random.default_rng(seed)
    copy = keras.models.clone_model(network)
    copy.set_weights([rng.permutation(weight.ravel()).reshape(weight.shape) for weight in network.get_weights()])
    return copy
