"""Restricted Boltzmann machines of ratings (Salakhutdinov, Mnih and Hinton 2007)."""

from collections.abc import Sequence
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

PRECISION = 4.0
"""Initial precision of the prior of a user's offset."""
ROUNDS = 3
"""Rounds of Newton steps for Gaussian hidden units."""


@keras.saving.register_keras_serializable("common")
class SoftmaxRBM(keras.layers.Layer):
    """A restricted Boltzmann machine of ratings (Salakhutdinov, Mnih and Hinton 2007).

    Ratings (batch, items), 0 for no rating -> the expected rating of every item (batch, items). An item has a softmax
    unit of K levels, v_i in {0, 1}^K. A user's machine has the units of the items that the user rated; all users share
    the hidden units h_j in {0, 1} (section 2). With weights W, biases b and c, and sums over rated items,

        E(v, h) = -sum_ik b_ik v_ik - sum_j c_j h_j - sum_ijk v_ik W_ikj h_j                        (equation 3)
        F(v) = -log sum_h exp -E(v, h) = -sum_ik b_ik v_ik - sum_j log(1 + exp(c_j + sum_ik v_ik W_ikj))

    The output is the mean field of equation 9: p_j = p(h_j = 1 | v), then softmax over k of b_ik + sum_j W_ikj p_j. In
    training, the layer adds a loss with the value 0 and the gradient of the mean F(data) - F(sample), where the sample
    comes from Gibbs sampling that starts at the data (Hinton 2002).

    Args:
        levels: Levels of the rating scale.
        hidden: Number of hidden units.
        gibbs_steps: Steps of Gibbs sampling.
        weight_decay: Twice the weight of sum W² in the loss.
        seed: Seed of the initial weights and of sampling.
    """

    def __init__(
        self,
        levels: Sequence[float],
        hidden: int,
        gibbs_steps: int = 1,
        weight_decay: float = 0.0,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.levels, self.hidden, self.gibbs_steps, self.weight_decay = list(levels), hidden, gibbs_steps, weight_decay
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, input_shape: Sequence[int | None]) -> None:
        items, levels = input_shape[-1], len(self.levels)
        small = keras.initializers.RandomNormal(stddev=0.01, seed=self.seed)
        self.kernel = self.add_weight(shape=(items, levels, self.hidden), initializer=small, name="kernel")
        self.visible_bias = self.add_weight(shape=(items, levels), initializer="zeros", name="visible_bias")
        self.hidden_bias = self.add_weight(shape=(self.hidden,), initializer="zeros", name="hidden_bias")

    def call(self, inputs: Any, training: bool = False) -> Any:
        data = self.units(inputs)
        if training:
            sample = ops.stop_gradient(self.sample(data))
            divergence = ops.mean(self.free_energy(data) - self.free_energy(sample))
            learned = divergence + self.weight_decay / 2 * ops.sum(ops.square(self.kernel))
            self.add_loss(learned - ops.stop_gradient(learned))
        levels = ops.softmax(self.visible_input(ops.sigmoid(self.hidden_input(data))))
        return ops.sum(levels * ops.convert_to_tensor(self.levels, levels.dtype), axis=-1)

    def units(self, ratings: Any) -> Any:
        """Convert `ratings` (batch, items) to visible units (batch, items, K), all 0 for an item without a rating."""
        levels = ops.convert_to_tensor(self.levels, ratings.dtype)
        return ops.cast(ops.equal(ratings[..., None], levels), self.compute_dtype)

    def hidden_input(self, visible: Any) -> Any:
        """Return c_j + sum_ik v_ik W_ikj, (batch, hidden), for `visible` (batch, items, K)."""
        return self.hidden_bias + ops.tensordot(visible, self.kernel, axes=[[1, 2], [0, 1]])

    def visible_input(self, hidden: Any) -> Any:
        """Return b_ik + sum_j W_ikj h_j, (batch, items, K), for `hidden` (batch, hidden)."""
        return self.visible_bias + ops.tensordot(hidden, self.kernel, axes=[[1], [2]])

    def free_energy(self, visible: Any) -> Any:
        """Return F(v), (batch,), for `visible` (batch, items, K)."""
        biases = ops.sum(visible * self.visible_bias, axis=(1, 2))
        return -biases - ops.sum(ops.softplus(self.hidden_input(visible)), axis=-1)

    def sample(self, visible: Any) -> Any:
        """Return `visible` (batch, items, K) after Gibbs sampling. Items without a rating stay 0."""
        rated = ops.sum(visible, axis=-1, keepdims=True)
        for _ in range(self.gibbs_steps):
            probabilities = ops.sigmoid(self.hidden_input(visible))
            draws = keras.random.uniform(ops.shape(probabilities), dtype=self.compute_dtype, seed=self.seed_generator)
            hidden = ops.cast(draws < probabilities, self.compute_dtype)
            logits = ops.reshape(self.visible_input(hidden), (-1, len(self.levels)))
            drawn = keras.random.categorical(logits, 1, seed=self.seed_generator)
            drawn = ops.one_hot(ops.squeeze(drawn, -1), len(self.levels), dtype=self.compute_dtype)
            visible = rated * ops.reshape(drawn, ops.shape(visible))
        return visible


@keras.saving.register_keras_serializable("common")
class ConditionalRBM(keras.layers.Layer):
    """A machine of ratings that is conditional on the rated items and on the user's own level of ratings.

    Ratings (batch, items), 0 for no rating -> the expected rating of every item (batch, items). As in `SoftmaxRBM`, an
    item has a softmax unit of K levels; items without a rating take no part, and users share the hidden units h_j in
    {0, 1}. With the levels s_k in standard deviations from the mean of all ratings, item biases a_i, biases b_k and c_j
    and weights W_ij,

        p(level k of item i | h) ~ exp(b_k + s_k (a_i + t + sum_j W_ij (h_j - sigmoid(c_j))))
        p(h_j = 1 | v) = sigmoid(c_j + sum_i (s(v_i) - m_i) W_ij)

    The weights are factored over the levels: a hidden unit moves an item along the scale. m_i is the mean of s without
    hidden units. Its subtraction is the conditional form of Salakhutdinov, Mnih and Hinton (2007, section 4), in which
    the rated items change the input of the hidden units, with the weights -m_i W_ij; such a centred machine learns
    faster (Montavon and Müller 2012). t is the user's offset: one Newton step from 0 to its most probable value given
    the user's ratings and a normal prior with a learned precision.

    Gaussian hidden units (Welling, Rosen-Zvi and Hinton 2004) are real numbers with a normal prior of variance 1, in
    the place of h_j - sigmoid(c_j). `ROUNDS` rounds of Newton steps lead from 0 to about their most probable values,
    and that of t. With the variance u_i of s without hidden units, and x_i = s(v_i) - m_i - u_i (t + sum_j W_ij h_j),
    the steps are first

        h_j <- h_j + (sum_i x_i W_ij - h_j) / (1 + sum_i u_i W_ij²)

    for all units, then the same for t.

    In training, each rating is left out with the probability `left_out`, and the layer adds a loss with the value 0 and
    the gradient of the mean of -log p of the levels that were left out, given the mean field of the others
    (multi-prediction training, Goodfellow et al. 2013). Few ratings need it: contrastive divergence models the ratings
    that a user gave, not those that are missing.

    Args:
        levels: Levels of the rating scale.
        mean: Mean of all ratings.
        deviation: Standard deviation of all ratings.
        hidden: Number of hidden units.
        left_out: Probability that training leaves out a rating.
        kernel_penalty: Weight of sum W² / 2 in the loss.
        bias_penalty: Weight of sum a² / 2 in the loss.
        seed: Seed of the initial weights and of the ratings that are left out.
        units: Whether the hidden units are in {0, 1} or real numbers.
    """

    def __init__(
        self,
        levels: Sequence[float],
        mean: float,
        deviation: float,
        hidden: int,
        left_out: float = 0.2,
        kernel_penalty: float = 0.0,
        bias_penalty: float = 0.0,
        seed: int = 0,
        units: Literal["binary", "gaussian"] = "binary",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.levels, self.mean, self.deviation, self.hidden = list(levels), mean, deviation, hidden
        self.units = units
        self.left_out, self.kernel_penalty, self.bias_penalty = left_out, kernel_penalty, bias_penalty
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, input_shape: Sequence[int | None]) -> None:
        items = input_shape[-1]
        small = keras.initializers.RandomNormal(stddev=0.01, seed=self.seed)
        self.kernel = self.add_weight(shape=(items, self.hidden), initializer=small, name="kernel")
        self.item_bias = self.add_weight(shape=(items,), initializer="zeros", name="item_bias")
        self.level_bias = self.add_weight(shape=(len(self.levels),), initializer="zeros", name="level_bias")
        if self.units == "binary":
            self.hidden_bias = self.add_weight(shape=(self.hidden,), initializer="zeros", name="hidden_bias")
        self.log_precision = self.add_weight(
            shape=(), initializer=keras.initializers.Constant(np.log(PRECISION)), name="log_precision"
        )

    def call(self, inputs: Any, training: bool = False) -> Any:
        rated = ops.cast(inputs > 0, self.compute_dtype)
        known = rated
        if training:
            drawn = keras.random.uniform(ops.shape(rated), dtype=self.compute_dtype, seed=self.seed_generator)
            known = rated * ops.cast(drawn >= self.left_out, self.compute_dtype)
        field = self.field(inputs, known)
        logits = self.logits(field)
        partition = ops.logsumexp(logits, axis=-1)
        levels = ops.convert_to_tensor(self.levels, logits.dtype)
        if training:
            above = ops.cast(inputs, levels.dtype)[..., None] > levels[:-1]
            level = ops.sum(ops.cast(above, "int32"), axis=-1)  # of no rating 0, which takes no part
            score = (ops.cast(inputs, self.compute_dtype) - self.mean) / self.deviation
            errors = partition - ops.take(self.level_bias, level) - score * field
            missing = rated - known
            loss = ops.sum(missing * errors) / ops.maximum(ops.sum(missing), 1)
            loss += self.kernel_penalty / 2 * ops.sum(ops.square(self.kernel))
            loss += self.bias_penalty / 2 * ops.sum(ops.square(self.item_bias))
            self.add_loss(loss - ops.stop_gradient(loss))
        return ops.sum(ops.exp(logits - partition[..., None]) * levels, axis=-1)

    def field(self, ratings: Any, known: Any) -> Any:
        """Return a_i + t + the sum over hidden units, (batch, items), with the means of the units given known ratings.

        Args:
            ratings: Ratings (batch, items).
            known: 1 for the ratings that are used, else 0, (batch, items).
        """
        scores = (ops.cast(ratings, self.compute_dtype) - self.mean) / self.deviation
        mean, variance = self.moments(self.item_bias)
        errors, variance = known * (scores - mean), known * variance
        total, kernel = ops.sum(errors, axis=-1, keepdims=True), ops.transpose(self.kernel)
        certainty = ops.exp(self.log_precision) + ops.sum(variance, axis=-1, keepdims=True)
        offset = total / certainty
        if self.units == "binary":
            field = ops.matmul(errors - variance * offset, self.kernel)
            hidden = ops.sigmoid(field + self.hidden_bias) - ops.sigmoid(self.hidden_bias)
            return self.item_bias + offset + ops.matmul(hidden, kernel)
        hidden = moved = 0.0
        curvature = 1 + ops.matmul(variance, ops.square(self.kernel))
        for _ in range(ROUNDS):
            slope = ops.matmul(errors - variance * (offset + moved), self.kernel) - hidden
            hidden = hidden + slope / curvature
            moved = ops.matmul(hidden, kernel)
            offset = (total - ops.sum(variance * moved, axis=-1, keepdims=True)) / certainty
        return self.item_bias + offset + moved

    def logits(self, field: Any) -> Any:
        """Return b_k + s_k times the `field` (…), (…, K)."""
        scores = (np.array(self.levels) - self.mean) / self.deviation
        return self.level_bias + field[..., None] * ops.convert_to_tensor(scores, field.dtype)

    def moments(self, field: Any) -> tuple[Any, Any]:
        """Return the mean and the variance of s, each (…), given the `field` (…)."""
        scores = ops.convert_to_tensor((np.array(self.levels) - self.mean) / self.deviation, self.compute_dtype)
        shares = ops.softmax(self.logits(field))
        mean = ops.sum(shares * scores, axis=-1)
        return mean, ops.sum(shares * ops.square(scores), axis=-1) - ops.square(mean)


@keras.saving.register_keras_serializable("common")
def squared_error(y_true: Any, y_pred: Any) -> Any:
    """Return the mean of (y_true - y_pred)² over the ratings in `y_true` (batch, items), without a gradient."""
    rated = ops.cast(y_true > 0, y_pred.dtype)
    total = ops.sum(rated * ops.square(y_true - ops.stop_gradient(y_pred)))
    return total / ops.maximum(ops.sum(rated), 1)
