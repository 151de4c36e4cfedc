"""Restricted Boltzmann machines, layers that learn from their input alone (Smolensky 1986; Hinton 2002).

`RBM` models binary or real vectors, `SoftmaxRBM` ratings. Names are scikit-learn's and those of Hinton 2012, "A
practical guide to training restricted Boltzmann machines".
"""

import itertools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from common.config import Visible
from common.data import Array


@keras.saving.register_keras_serializable("common")
class RBM(keras.layers.Layer):
    """Visible units v and hidden units h with the probability p(v, h) = exp(-E(v, h)) / Z.

    bernoulli: E = -b·v - c·h - v W h, and v in {0, 1}; a visible value between is taken for the probability of 1. Of
    these, the last `labels` units are a group of which exactly one is 1. gaussian: E = |v|² / 2 - b·v - c·h - v W h,
    where v is normal around b + W h with variance 1.

    Takes (batch, visible) and gives p(h = 1 | v), (batch, hidden). In training it lowers the difference of the free
    energies of the data and of a sample that `gibbs_steps` of block Gibbs sampling lead to: from the data, which is
    contrastive divergence, CD-k (Hinton 2002), or from where the `particles` that it keeps were left, which is
    persistent contrastive divergence (Tieleman 2008). `sparsity_cost` weighs the cross-entropy between the share of
    examples that each hidden unit is on for and `sparsity_target` (Hinton 2012, section 11). What is made of its
    outputs does not change it.
    """

    def __init__(
        self,
        hidden: int,
        visible: Visible = "bernoulli",
        labels: int = 0,
        gibbs_steps: int = 1,
        particles: int = 0,
        sparsity_target: float = 0.1,
        sparsity_cost: float = 0.0,
        regularizer: Any = None,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.hidden, self.visible, self.labels = hidden, visible, labels
        self.gibbs_steps, self.particles = gibbs_steps, particles
        self.sparsity_target, self.sparsity_cost = sparsity_target, sparsity_cost
        self.regularizer = keras.regularizers.get(regularizer)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, input_shape: Sequence[int | None]) -> None:
        units = input_shape[-1] or 0
        small = keras.initializers.RandomNormal(stddev=0.01, seed=self.seed)
        self.components = self.add_weight((units, self.hidden), small, regularizer=self.regularizer, name="components")
        self.intercept_hidden = self.add_weight((self.hidden,), "zeros", name="intercept_hidden")
        self.intercept_visible = self.add_weight((units,), "zeros", name="intercept_visible")
        if self.particles:
            shape = (self.particles, units)
            self.fantasies = self.add_weight(shape, "zeros", trainable=False, name="fantasies")

    def call(self, visible: Any, training: bool = False) -> Any:
        hidden = self.transform(visible)
        if training:
            loss = self.contrastive_divergence(self.binarize(visible))
            if self.sparsity_cost:
                loss += self.sparsity_cost * self.density(hidden)
            # Its gradient alone: this difference is no measure of progress, and the loss stays that of what follows.
            self.add_loss(loss - ops.stop_gradient(loss))
        # What follows does not teach the machine; once it is trained, its gradient explains what it says.
        return ops.stop_gradient(hidden) if training else hidden

    @property
    def kernel(self) -> Any:
        """The weights by the name that Keras's layers have for them."""
        return self.components

    def independent(self, mean: Any) -> Any:
        """The visible biases, (visible,), that give the visible units their `mean` (visible,) without hidden units."""
        if self.visible == "gaussian":
            return mean
        share = ops.clip(mean, 1e-3, 1 - 1e-3)
        return ops.log(share) - ops.log(1 - share)

    def contrastive_divergence(self, data: Any) -> Any:
        """The mean free energy of `data` (batch, visible) less that of a sample of the model's; moves the fantasies."""
        sample = ops.stop_gradient(self.gibbs(self.fantasies if self.particles else data, self.gibbs_steps))
        if self.particles:
            self.fantasies.assign(sample)
        return ops.mean(self.free_energy(data)) - ops.mean(self.free_energy(sample))

    def density(self, hidden: Any) -> Any:
        """Cross-entropy of the mean of each of `hidden` (batch, hidden) with the sparsity target, summed over units."""
        share = ops.clip(ops.mean(hidden, axis=0), 1e-7, 1 - 1e-7)
        target = self.sparsity_target
        return -ops.sum(target * ops.log(share) + (1 - target) * ops.log(1 - share))

    def free_energy(self, visible: Any) -> Any:
        """F(v) = -log sum_h exp(-E(v, h)), (batch,), of `visible` (batch, visible); p(v) = exp(-F(v)) / Z."""
        energy = -ops.matmul(visible, self.intercept_visible)
        if self.visible == "gaussian":
            energy += ops.sum(ops.square(visible), axis=-1) / 2
        return energy - ops.sum(ops.softplus(self.hidden_field(visible)), axis=-1)

    def hidden_field(self, visible: Any) -> Any:
        """What each hidden unit receives, (batch, hidden)."""
        return ops.matmul(visible, self.components) + self.intercept_hidden

    def visible_field(self, hidden: Any) -> Any:
        """What each visible unit receives, (batch, visible)."""
        return ops.matmul(hidden, ops.transpose(self.components)) + self.intercept_visible

    def transform(self, visible: Any) -> Any:
        """p(h = 1 | v), (batch, hidden)."""
        return ops.sigmoid(self.hidden_field(visible))

    def reconstruct(self, visible: Any) -> Any:
        """The expected visible units given the expected hidden ones given `visible`; all (batch, visible)."""
        return self.mean(self.visible_field(self.transform(visible)))

    def mean(self, field: Any) -> Any:
        """The expected visible units that receive `field`, (batch, visible)."""
        if self.visible == "gaussian":
            return field
        if not self.labels:
            return ops.sigmoid(field)
        return ops.concatenate([ops.sigmoid(field[:, : -self.labels]), ops.softmax(field[:, -self.labels :])], axis=-1)

    def sample_visible(self, field: Any) -> Any:
        """Visible units that receive `field`, drawn, (batch, visible)."""
        if self.visible == "gaussian":
            return field + keras.random.normal(ops.shape(field), dtype=field.dtype, seed=self.seed_generator)
        if not self.labels:
            return self.draw(ops.sigmoid(field))
        label = keras.random.categorical(field[:, -self.labels :], 1, seed=self.seed_generator)[:, 0]
        pixels = self.draw(ops.sigmoid(field[:, : -self.labels]))
        return ops.concatenate([pixels, ops.one_hot(label, self.labels, dtype=field.dtype)], axis=-1)

    def binarize(self, visible: Any) -> Any:
        """Bernoulli units drawn where they are given as probabilities; Gaussian ones as they are."""
        return visible if self.visible == "gaussian" else self.draw(visible)

    def draw(self, probability: Any) -> Any:
        """1 with this probability, else 0."""
        drawn = keras.random.uniform(ops.shape(probability), dtype=probability.dtype, seed=self.seed_generator)
        return ops.cast(drawn < probability, self.compute_dtype)

    def gibbs(self, visible: Any, steps: int = 1) -> Any:
        """Where so many `steps` of block Gibbs sampling, all hidden units and then all visible ones, lead `visible`."""
        for _ in range(steps):
            visible = self.sample_visible(self.visible_field(self.draw(self.transform(visible))))
        return visible

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return input_shape[0], self.hidden

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "hidden": self.hidden,
            "visible": self.visible,
            "labels": self.labels,
            "gibbs_steps": self.gibbs_steps,
            "particles": self.particles,
            "sparsity_target": self.sparsity_target,
            "sparsity_cost": self.sparsity_cost,
            "regularizer": keras.regularizers.serialize(self.regularizer),
            "seed": self.seed,
        }


@keras.saving.register_keras_serializable("common")
class RBMSequential(keras.Sequential):
    """Layers in a row, an RBM among them, whose reconstruction error `fit` and `evaluate` report.

    It is the mean squared difference between visible units and their reconstruction (Hinton 2012, section 4). On JAX,
    metrics are updated where the loss is computed, not in layers.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.reconstruction_error = keras.metrics.Mean("reconstruction_error")

    def compute_loss(self, x: Any = None, *args: Any, **kwargs: Any) -> Any:
        visible = x
        for layer in self.layers:
            if isinstance(layer, RBM):
                difference = visible - layer.reconstruct(visible)
                self.reconstruction_error.update_state(ops.mean(ops.square(difference), axis=-1))
                break
            visible = layer(visible)
        return super().compute_loss(x, *args, **kwargs)


def visible_units(model: keras.Sequential, layer: str, inputs: Array) -> Array:
    """Return what the layers of `model` before the one called `layer` make of `inputs`, (examples, visible)."""
    for before in itertools.takewhile(lambda one: one.name != layer, model.layers):
        inputs = before(inputs)
    return np.asarray(ops.convert_to_numpy(inputs))


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

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return tuple(input_shape)

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
