"""The Boltzmann machine (Ackley, Hinton and Sejnowski 1985). Backend-neutral: only `keras.ops`.

Its units are 0 or 1: first the visible units v, then the hidden units h. A state s = (v, h) has the energy
E(s) = -1/2 s'Ws - b's, where W is symmetric with a zero diagonal, and the probability exp(-E(s)) / Z.

The parameters are centred (Montavon and Müller 2012, "Deep Boltzmann Machines and the Centering Trick"): the trained
weights are W and a = b + Wc, where c is approximately the mean of each unit. Up to a constant, E(s) =
-1/2 (s - c)'W(s - c) - a's. A step of a weight then does not change the mean of its units, and training ends in a poor
optimum less often.
"""

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from common.data import Array

CHUNK = 1024
"""Number of visible states whose hidden states are summed at a time, so that they fit into a processor's cache."""
Blocks = tuple[int, int, int]
"""Blocks of units without connections, each drawn at once: first unit, units per block, number of blocks."""


def all_states(units: int) -> Array:
    """Return every state of `units` units, (2^units, units), in binary order: the first unit is the highest digit."""
    digits = np.arange(units)[::-1]
    return ((np.arange(2**units)[:, None] >> digits) & 1).astype("float32")


def all_pairs(units: int) -> list[tuple[int, int]]:
    """Return every pair of units: the connections of the general machine."""
    return [(first, second) for first in range(units) for second in range(first + 1, units)]


@keras.saving.register_keras_serializable("common")
class BoltzmannMachine(keras.layers.Layer):
    """A small Boltzmann machine with any connections. Exact values enumerate all of its states.

    The two-phase rule is dw_ij = <(s_i - c_i)(s_j - c_j)> with the visible units clamped to data, minus the same of
    free chains. Gibbs sampling estimates both means. In training, the layer adds a loss with this gradient and the
    value 0. Compile with `negative_log_likelihood`, which has the value and no gradient.

    Patterns (batch, visible) of 0, 1 and NaN for an unknown unit -> the exact probability (batch, visible) that each
    unit is 1 given the known units before it. Their product is the probability of a complete pattern.

    Args:
        hidden: Number of hidden units.
        pairs: Connected units, the lower one first. The visible units come first.
        means: Mean of each visible unit in the data, its part of c. A hidden unit's is 1/2.
        chains: Number of free chains, which continue from step to step as non-trainable weights.
        sweeps: Number of Gibbs sweeps in each phase of a step.
        seed: Seed of the initial weights and of sampling.
    """

    def __init__(
        self,
        hidden: int,
        pairs: Sequence[Sequence[int]],
        means: Sequence[float],
        chains: int = 100,
        sweeps: int = 5,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.hidden, self.chains, self.sweeps, self.seed = hidden, chains, sweeps, seed
        self.pairs, self.means = [tuple(pair) for pair in pairs], [float(mean) for mean in means]
        self.seed_generator = keras.random.SeedGenerator(seed)  # for sampling only

    def build(self, input_shape: Sequence[int | None]) -> None:
        self.visible = input_shape[-1] or 0
        self.units = self.visible + self.hidden
        self.centre = np.array(self.means + self.hidden * [0.5], "float32")
        slight = keras.initializers.RandomNormal(stddev=0.01, seed=self.seed)
        self.couplings = self.add_weight(shape=(len(self.pairs),), initializer=slight, name="couplings")
        self.centred_bias = self.add_weight(shape=(self.units,), initializer="zeros", name="centred_bias")
        self.free = self.add_weight(shape=(self.chains, self.units), initializer="zeros", trainable=False, name="free")
        # Index of each entry of W in the couplings followed by a zero. One number per pair keeps W symmetric.
        self.places = np.full((self.units, self.units), len(self.pairs))
        for place, (first, second) in enumerate(self.pairs):
            self.places[first, second] = self.places[second, first] = place
        self.joined = self.places < len(self.pairs)

    @functools.cached_property
    def visible_states(self) -> Array:
        """All states of the visible units, (2^visible, visible)."""
        return all_states(self.visible)

    @functools.cached_property
    def hidden_states(self) -> Array:
        """All states of the hidden units, (2^hidden, hidden)."""
        return all_states(self.hidden)

    def parameters(self) -> tuple[Any, Any]:
        """Return the weights W, (units, units), and the biases b = a - Wc, (units,)."""
        matrix = ops.take(ops.append(self.couplings, ops.zeros((1,), self.compute_dtype)), self.places)
        return matrix, self.centred_bias - ops.matmul(matrix, ops.cast(self.centre, self.compute_dtype))

    def energy(self, states: Any) -> Any:
        """Return the energies E(s), (n,), of `states` (n, units)."""
        return -_agreement(states, *self.parameters())

    def blocks(self, first: int = 0) -> list[Blocks]:
        """Return the units from `first` on in the largest blocks that their connections and their order allow.

        A block is one unit in the general machine, and one layer in a restricted machine.
        """
        found: list[list[int]] = []  # first unit, units
        for unit in range(first, self.units):
            if found and not self.joined[unit, found[-1][0] : unit].any():
                found[-1][1] += 1
            else:
                found.append([unit, 1])
        alike = [list(group) for _, group in itertools.groupby(found, key=lambda block: block[1])]
        return [(group[0][0], group[0][1], len(group)) for group in alike]

    def gibbs(self, states: Any, noise: Any, first: int = 0) -> Any:
        """Run Gibbs sampling: p(s_i = 1 | others) = sigmoid(sum_j w_ij s_j + b_i).

        Args:
            states: Initial states (n, units).
            noise: Uniform numbers in [0, 1), (sweeps, n, units).
            first: First unit to draw.

        Returns:
            The states (n, units) after the sweeps.
        """
        matrix, bias = self.parameters()
        bias, blocks = bias[:, None], self.blocks(first)
        noise = ops.transpose(noise, (0, 2, 1))  # one unit per row, because rows are contiguous in memory

        def sweep(index: Any, states: Any) -> Any:
            for start, size, count in blocks:

                def draw(block: Any, states: Any, start: int = start, size: int = size) -> Any:
                    def own(rows: Any) -> Any:
                        return ops.slice(rows, (start + block * size, 0), (size, rows.shape[1]))

                    probability = ops.sigmoid(ops.matmul(own(matrix), states) + own(bias))
                    on = ops.cast(own(noise[index]) < probability, states.dtype)
                    return ops.slice_update(states, (start + block * size, 0), on)

                states = ops.fori_loop(0, count, draw, states)
            return states

        return ops.transpose(ops.fori_loop(0, noise.shape[0], sweep, ops.transpose(states)))

    def contrast(self, patterns: Any) -> Any:
        """Return the mean energy with the visible units clamped to `patterns` (batch, visible), minus the chains'.

        Updates the free chains. The gradient with respect to the weights is the negative two-phase rule.
        """
        examples = ops.shape(patterns)[0]
        clamped = ops.concatenate([patterns, ops.zeros((examples, self.hidden), patterns.dtype)], axis=1)
        clamped = self.gibbs(clamped, self._noise(examples), self.visible)
        free = self.gibbs(self.free, self._noise(self.chains))
        self.free.assign(free)
        # Only the energies have a gradient, not the samples.
        clamped, free = ops.stop_gradient(clamped), ops.stop_gradient(free)
        return ops.mean(self.energy(clamped)) - ops.mean(self.energy(free))

    def _noise(self, rows: int) -> Any:
        """Draw uniform numbers (sweeps, rows, units) in [0, 1)."""
        shape = (self.sweeps, rows, self.units)
        return keras.random.uniform(shape, dtype=self.compute_dtype, seed=self.seed_generator)

    def log_weights(self) -> Any:
        """Return log sum_h exp(-E(v, h)) for every visible state, (2^visible,), in the order of `all_states`.

        Their logsumexp is log Z. The cost is 2^units.
        """
        (matrix, bias), visible = self.parameters(), self.visible
        within = _agreement(self.hidden_states, matrix[visible:, visible:], bias[visible:])
        fields = ops.matmul(self.visible_states, matrix[:visible, visible:])

        def sum_hidden(fields: Any) -> Any:
            return ops.logsumexp(ops.matmul(fields, self.hidden_states.T) + within, axis=1)

        summed = ops.map(sum_hidden, ops.reshape(fields, (-1, min(CHUNK, 2**visible), self.hidden)))
        return _agreement(self.visible_states, matrix[:visible, :visible], bias[:visible]) + ops.reshape(summed, (-1,))

    def probabilities(self) -> Array:
        """Return the probability of every visible state, (2^visible,), in the order of `all_states`."""
        log_weights = np.asarray(ops.convert_to_numpy(self.log_weights()), "float64")
        weights = np.exp(log_weights - log_weights.max())
        return weights / weights.sum()

    def sample(self, count: int, rng: np.random.Generator) -> Array:
        """Draw `count` independent states (count, units) from the exact distribution."""
        parts = *self.parameters(), self.log_weights()
        matrix, bias, log_weights = (np.asarray(ops.convert_to_numpy(part), "float64") for part in parts)
        # The argmax of log weights plus Gumbel noise is a sample in proportion to the weights.
        drawn = [(log_weights + rng.gumbel(size=len(log_weights))).argmax() for _ in range(count)]
        visible = self.visible_states[drawn]
        within = self.hidden_states * (0.5 * self.hidden_states @ matrix[self.visible :, self.visible :])
        fields = visible @ matrix[: self.visible, self.visible :] + bias[self.visible :]
        weights = within.sum(axis=1) + fields @ self.hidden_states.T
        hidden = self.hidden_states[(weights + rng.gumbel(size=weights.shape)).argmax(axis=1)]
        return np.concatenate([visible, hidden], axis=1)

    def call(self, inputs: Any, training: bool = False) -> Any:
        if training:
            contrast = self.contrast(inputs)
            self.add_loss(contrast - ops.stop_gradient(contrast))
            return self.along(inputs)
        # For each row, the log weights of the states that agree with the known units before `unit`.
        agreeing = ops.stop_gradient(self.log_weights())[None]
        probabilities = []
        for unit in range(self.visible):
            state = inputs[:, unit : unit + 1]
            off, on = ops.split(agreeing, 2, axis=1)
            largest = ops.max(agreeing, axis=1, keepdims=True)
            weight_off, weight_on = (ops.sum(ops.exp(half - largest), axis=1, keepdims=True) for half in (off, on))
            probabilities.append(ops.broadcast_to(weight_on / (weight_on + weight_off), ops.shape(state)))
            agreeing = ops.where(ops.isnan(state), ops.logaddexp(off, on), ops.where(state > 0.5, on, off))
        return ops.concatenate(probabilities, axis=1)

    def along(self, patterns: Any) -> Any:
        """Return the output of `call` for `patterns` (batch, visible) without unknown units, at a lower cost.

        The sums over the states that start with the same units are computed once for all patterns.
        """
        sums = [ops.stop_gradient(self.log_weights())]
        while len(sums) < self.visible:
            pairs = ops.reshape(sums[0], (-1, 2))
            sums.insert(0, ops.logaddexp(pairs[:, 0], pairs[:, 1]))
        states = ops.cast(patterns > 0.5, "int32")
        prefix, probabilities = ops.zeros_like(states[:, 0]), []
        for unit, weights in enumerate(sums):  # by the state of this unit and those before it
            off, on = ops.take(weights, 2 * prefix), ops.take(weights, 2 * prefix + 1)
            probabilities.append(ops.sigmoid(on - off))
            prefix = 2 * prefix + states[:, unit]
        return ops.stack(probabilities, axis=1)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return tuple(input_shape)  # Keras would trace the sums over all states for it


def _agreement(states: Any, matrix: Any, bias: Any) -> Any:
    """Return 1/2 s'Ws + b's, (n,), of every row s of `states` (n, units)."""
    return ops.sum(states * (0.5 * ops.matmul(states, matrix) + bias), axis=1)


@keras.saving.register_keras_serializable("common")
def negative_log_likelihood(patterns: Any, probabilities: Any) -> Any:
    """Return -log p, (batch,), in nats, of `patterns` (batch, units), given the layer's output (batch, units)."""
    units = probabilities.shape[-1]
    return units * keras.losses.binary_crossentropy(patterns, probabilities)
