"""Likelihood of data under a restricted Boltzmann machine in nats: exact, estimated, and pseudo-likelihood."""

import itertools
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops
from scipy.special import log_expit, logsumexp

from common.data import Array
from common.nn import boltzmann
from common.nn.rbm import RBM

ENUMERATED = 20
"""Maximum number of hidden units whose states are enumerated."""


@dataclass(frozen=True)
class Estimate:
    """An estimate with its standard error."""

    value: float
    standard_error: float


def log_partition(rbm: RBM) -> float:
    """Return the exact log Z = log sum_v,h exp(-E(v, h)), by enumeration of the states of h.

    Raises:
        ValueError: if there are more hidden units than `ENUMERATED`.
    """
    if rbm.hidden > ENUMERATED:
        raise ValueError(f"{rbm.hidden} hidden units have too many states; use annealed_importance_sampling")
    states = boltzmann.all_states(rbm.hidden)
    total = []
    for hidden in np.array_split(states, max(1, len(states) // 4096)):
        field = _numbers(rbm.visible_field(ops.convert_to_tensor(hidden)))
        total.append(logsumexp(hidden @ _numbers(rbm.intercept_hidden) + _log_visible_states(rbm, field)))
    return float(logsumexp(total))


def annealed_importance_sampling(
    rbm: RBM, start: Array | None = None, steps: int = 1000, chains: int = 100, seed: int = 0
) -> Estimate:
    """Estimate log Z by annealed importance sampling (Salakhutdinov and Murray 2008, section 4.1).

    At inverse temperature beta, the weights and hidden biases are beta times those of `rbm`, and the visible biases are
    beta b + (1 - beta) `start`.

    Args:
        rbm: The machine.
        start: Visible biases (visible,) at beta = 0, best those of `RBM.independent`. Default: zero.
        steps: Number of steps of beta from 0 to 1.
        chains: Number of samples.
        seed: Seed.

    Returns:
        log Z in nats. The standard error is that of the mean importance weight, by the delta method.
    """
    rbm.seed_generator.state.assign(keras.random.SeedGenerator(seed).state)
    own = rbm.intercept_visible
    biases = ops.zeros(own.shape, own.dtype) if start is None else ops.convert_to_tensor(start, own.dtype)
    field = ops.broadcast_to(biases, (chains, *biases.shape))
    log_weights = np.zeros(chains)
    temperatures = np.linspace(0, 1, steps + 1, dtype="float32")
    for low, high in itertools.pairwise(temperatures):
        visible = rbm.sample_visible(field)
        hidden_field = rbm.hidden_field(visible)
        ratio = ops.softplus(high * hidden_field) - ops.softplus(low * hidden_field)
        log_weights += _numbers((high - low) * ops.matmul(visible, own - biases) + ops.sum(ratio, axis=-1))
        hidden = rbm.draw(ops.sigmoid(high * hidden_field))
        field = high * rbm.visible_field(hidden) + (1 - high) * biases
    weights = np.exp(log_weights - log_weights.max())
    base = rbm.hidden * np.log(2) + float(_log_visible_states(rbm, _numbers(biases)[None])[0])
    error = weights.std(ddof=1) / weights.mean() / np.sqrt(chains)
    return Estimate(float(base + log_weights.max() + np.log(weights.mean())), float(error))


def pseudo_likelihood(rbm: RBM, visible: Array, seed: int = 0) -> float:
    """Estimate the mean of sum_i log p(v_i | other units) of Bernoulli examples, from one random i per example.

    As in scikit-learn's `score_samples`, it is the mean of (visible units) * log sigmoid(F(v with v_i flipped) - F(v)).

    Args:
        rbm: The machine.
        visible: Examples (examples, visible) of 0 and 1.
        seed: Seed.
    """
    examples, units = visible.shape
    place = np.arange(examples), np.random.default_rng(seed).integers(units, size=examples)
    flipped = visible.copy()
    flipped[place] = 1 - flipped[place]
    return float(units * log_expit(free_energies(rbm, flipped) - free_energies(rbm, visible)).mean())


def free_energies(rbm: RBM, visible: Array) -> Array:
    """Return the free energies F(v), (examples,), of `visible` (examples, visible), computed in batches."""
    parts = np.array_split(visible, -(-len(visible) // 1000))
    return np.concatenate([_numbers(rbm.free_energy(ops.convert_to_tensor(part, rbm.compute_dtype))) for part in parts])


def _log_visible_states(rbm: RBM, field: Array) -> Array:
    """Return log sum_v exp(v·field), (batch,), over all visible states, for `field` (batch, visible).

    For Gaussian units, return the log of the integral of exp(v·field - |v|² / 2).
    """
    if rbm.visible == "gaussian":
        return (np.square(field) + np.log(2 * np.pi)).sum(axis=-1) / 2
    alone = field.shape[-1] - rbm.labels
    group = logsumexp(field[:, alone:], axis=-1) if rbm.labels else 0.0
    return group - log_expit(-field[:, :alone]).sum(axis=-1)


def _numbers(tensor: Any) -> Array:
    """Convert a tensor to a float64 array of the same shape."""
    return np.asarray(ops.convert_to_numpy(tensor), dtype="float64")
