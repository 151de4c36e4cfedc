"""What of an input an answer is due to: gradients, integrated gradients, Grad-CAM, and occlusion as their check.

Pure functions of a network that takes [x, *context] and gives scores (examples, outputs). `x` (examples, …) is what the
scores are attributed to, `chosen` (examples,) numbers the score of each example that is explained, and `context` is
what else the network is told, such as the mask of padded steps: it counts as given.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
from scipy.stats import spearmanr

from common.data import Array
from common.nn.gradients import ByInput
from common.preprocessing import arrays

NODES = 8
"""Points of the Gauss-Legendre rule in each interval of the path."""
AT_ONCE = 32
"""Examples whose gradients are computed at a time, at most."""


@dataclass(frozen=True)
class Integrated:
    """Integrated gradients of one example."""

    values: Array
    """What each number of the input adds to the score, in the score's unit; of the input's shape."""
    difference: float
    """The score of the input, less that of the baseline: what the values are to sum to."""
    steps: int
    """Points of the path at which the gradient was taken."""

    @property
    def error(self) -> float:
        """How far the values' sum is from the difference, as a share of it."""
        return abs(float(self.values.sum()) - self.difference) / max(abs(self.difference), 1e-30)


def scores(network: keras.Model, x: Array, chosen: Array, context: Sequence[Array] = ()) -> Array:
    """The chosen score of each example, (examples,)."""
    found: Array = _answers(network, x, context)[np.arange(len(x)), chosen].astype("float64")
    return found


def _answers(network: keras.Model, x: Array, context: Sequence[Array] = ()) -> Array:
    """All outputs of the network."""
    # It is asked a few times only: compiling it, as `predict` does, would take longer.
    parts = np.array_split(np.arange(len(x)), -(-len(x) // arrays.prediction_batch(x)))
    asked = (network([one[part] for one in (x, *context)], training=False) for part in parts)
    return np.concatenate([keras.ops.convert_to_numpy(answer) for answer in asked])


def gradient(network: keras.Model, x: Array, context: Sequence[Array] = ()) -> ByInput:
    """The gradient by `x`, as many examples at a time as fit into memory; it serves for all inputs of this shape."""
    return ByInput(network, min(AT_ONCE, arrays.prediction_batch(x)), x, context)


def saliency(slope: ByInput, x: Array, chosen: Array, context: Sequence[Array] = ()) -> Array:
    """The absolute derivative of the score by each number of `x`, of its shape (Simonyan et al. 2014, section 3)."""
    return np.abs(slope(x, chosen, context))


def integrated_gradients(
    network: keras.Model,
    slope: ByInput,
    x: Array,
    chosen: int,
    baseline: Array,
    context: Sequence[Array] = (),
    tolerance: float = 0.01,
    most: int = 512,
) -> Integrated:
    """(x - baseline) times the mean gradient on the straight line from it (Sundararajan et al. 2017, equation 1).

    Of one example: `x`, `baseline` and each of `context` are without the first axis. The mean is a Gauss-Legendre rule
    of eight points in each of equal intervals. There are twice as many until the values sum to the difference of the
    scores within `tolerance`, a share of it, or `most` points are taken.
    """
    ends = np.stack([x, baseline])
    high, low = scores(network, ends, np.full(2, chosen), [np.stack([part, part]) for part in context])
    points, weights = np.polynomial.legendre.leggauss(NODES)
    intervals = 4
    while True:
        path = ((np.arange(intervals)[:, None] + (points + 1) / 2) / intervals).ravel()
        mean = np.zeros(x.shape)
        for part in np.array_split(np.arange(len(path)), -(-len(path) // slope.examples)):
            along = path[part].reshape(-1, *[1] * x.ndim)
            rows = (baseline + along * (x - baseline)).astype("float32")
            given = [np.repeat(one[None], len(part), axis=0) for one in context]
            slopes = slope(rows, np.full(len(part), chosen), given)
            mean += np.tensordot(np.tile(weights, intervals)[part] / (2 * intervals), slopes.astype("float64"), 1)
        found = Integrated((x - baseline) * mean, high - low, len(path))
        if found.error <= tolerance or 2 * len(path) > most:
            return found
        intervals *= 2


def grad_cam(maps: keras.Model, head: keras.Model, x: Array, chosen: Array) -> Array | None:
    """Where a convolution's maps speak for the score (Selvaraju et al. 2017, equations 1 and 2), (examples, rows, …).

    `maps` gives the feature maps (examples, rows, columns, channels) of x, `head` the scores of those. Each map weighs
    as much as the mean of the score's gradient by it; of the weighted sum what is above zero counts. None where there
    are several maps an example, as of crops.
    """
    found = _answers(maps, x)
    if len(found) != len(x):
        return None
    weights = gradient(head, found)(found, chosen).mean(axis=(1, 2), keepdims=True)
    return np.maximum((weights * found).sum(axis=-1), 0)


def occlusion(
    network: keras.Model, x: Array, chosen: Array, baseline: Array, groups: Array, context: Sequence[Array] = ()
) -> Array:
    """What the score loses when a group of numbers takes the baseline's value, (examples, groups).

    `groups` has the shape of one example and numbers the group of each of its numbers, from 0 (Zeiler and Fergus 2014,
    section 4.2, with patches that do not overlap). No gradient takes part.
    """
    whole = scores(network, x, chosen, context)
    lost = np.empty((len(x), groups.max() + 1))
    for group in range(lost.shape[1]):
        lost[:, group] = whole - scores(network, np.where(groups == group, baseline, x), chosen, context)
    return lost


def grouped(values: Array, groups: Array) -> Array:
    """The sum of `values` (examples, …) over each group, as in `occlusion`, (examples, groups)."""
    return np.stack([np.bincount(groups.ravel(), weights=one.ravel()) for one in values])


def agreement(first: Array, second: Array) -> float:
    """Spearman's rank correlation of two attributions; NaN where one is the same everywhere or there is nothing."""
    if not len(first) or np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(spearmanr(first.ravel(), second.ravel()).statistic)


def randomised(network: keras.Model, seed: int = 0) -> keras.Model:
    """A copy of `network` in which the numbers of each weight have changed places (Adebayo et al. 2018, section 3).

    A map that stays the same for it says nothing of what the network has learned.
    """
    rng = np.random.default_rng(seed)
    copy = keras.models.clone_model(network)
    copy.set_weights([rng.permutation(weight.ravel()).reshape(weight.shape) for weight in network.get_weights()])
    return copy
