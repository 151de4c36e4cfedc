"""A restricted Boltzmann machine over ratings (Salakhutdinov, Mnih and Hinton 2007). Backend-neutral."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("common")
class SoftmaxRBM(keras.layers.Layer):
    """Ratings (batch, items), 0 where there is none, to the expected rating of every item (batch, items).

    An item has a softmax unit of K levels, v_i in {0, 1}^K, and every user's machine has those of the items that the
    user rated and the same hidden units h_j in {0, 1} (section 2). With weights W, biases b and c, and sums over rated
    items alone,

        E(v, h) = -sum_ik b_ik v_ik - sum_j c_j h_j - sum_ijk v_ik W_ikj h_j                        (equation 3)
        F(v) = -log sum_h exp -E(v, h) = -sum_ik b_ik v_ik - sum_j log(1 + exp(c_j + sum_ik v_ik W_ikj))

    While it is trained it adds a loss whose gradient is that of contrastive divergence: of mean F(data) - F(sample),
    where the sample comes of `gibbs_steps` rounds of Gibbs sampling from the data (Hinton 2002), and of half the
    `weight_decay` times sum W². Its value says nothing about the fit, so it is taken off: the loss that it adds is 0.

    What it answers is equation 9's mean field: p_j = p(h_j = 1 | v), and softmax over k of b_ik + sum_j W_ikj p_j.
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
        """The visible units (batch, items, K) of `ratings` (batch, items): all 0 where an item is not rated."""
        levels = ops.convert_to_tensor(self.levels, ratings.dtype)
        return ops.cast(ops.equal(ratings[..., None], levels), self.compute_dtype)

    def hidden_input(self, visible: Any) -> Any:
        """c_j + sum_ik v_ik W_ikj, (batch, hidden), for `visible` (batch, items, K)."""
        return self.hidden_bias + ops.tensordot(visible, self.kernel, axes=[[1, 2], [0, 1]])

    def visible_input(self, hidden: Any) -> Any:
        """b_ik + sum_j W_ikj h_j, (batch, items, K), for `hidden` (batch, hidden)."""
        return self.visible_bias + ops.tensordot(hidden, self.kernel, axes=[[1], [2]])

    def free_energy(self, visible: Any) -> Any:
        """F(v), (batch,), for `visible` (batch, items, K)."""
        biases = ops.sum(visible * self.visible_bias, axis=(1, 2))
        return -biases - ops.sum(ops.softplus(self.hidden_input(visible)), axis=-1)

    def sample(self, visible: Any) -> Any:
        """`visible` (batch, items, K) after the rounds of Gibbs sampling; who has not rated an item still has not."""
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

    def get_config(self) -> dict[str, Any]:
        settings = {name: getattr(self, name) for name in ("levels", "hidden", "gibbs_steps", "weight_decay", "seed")}
        return super().get_config() | settings


@keras.saving.register_keras_serializable("common")
def squared_error(y_true: Any, y_pred: Any) -> Any:
    """The mean of (y_true - y_pred)² over the ratings in `y_true`, which is 0 where there is none. It is only watched.

    Nothing is learned from it: its gradient is zero.
    """
    rated = ops.cast(y_true > 0, y_pred.dtype)
    total = ops.sum(rated * ops.square(y_true - ops.stop_gradient(y_pred)))
    return total / ops.maximum(ops.sum(rated), 1)


@keras.saving.register_keras_serializable("common")
class RatingError(keras.metrics.RootMeanSquaredError):
    """Root mean square error over the ratings in `y_true`, which is 0 where there is none."""

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        super().update_state(y_true, y_pred, ops.cast(y_true > 0, self.dtype))
