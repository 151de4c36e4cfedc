"""Restricted Boltzmann machines, layers that learn without labels (Smolensky 1986; Hinton 2002).

Names are those of scikit-learn and of Hinton 2012, "A practical guide to training restricted Boltzmann machines".
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
    """A restricted Boltzmann machine: p(v, h) = exp(-E(v, h)) / Z of visible units v and hidden units h.

    bernoulli: E = -b·v - c·h - v W h with v in {0, 1}. gaussian: E = |v|² / 2 - b·v - c·h - v W h with real v, so v
    given h is normal with mean b + W h and variance 1.

    (batch, visible) -> p(h = 1 | v), (batch, hidden). In training, the layer adds a loss with the gradient of the mean
    F(data) - F(sample), where F is the free energy. The sample comes from Gibbs sampling that starts at the data
    (contrastive divergence, CD-k, Hinton 2002) or at persistent particles (Tieleman 2008). The loss of later layers
    does not change the machine.

    Args:
        hidden: Number of hidden units.
        visible: Type of the visible units. A bernoulli input between 0 and 1 is the probability of 1.
        labels: Number of visible units at the end that form a softmax group, in which exactly one is 1.
        gibbs_steps: Steps of block Gibbs sampling, k.
        particles: Number of persistent particles; 0 for contrastive divergence.
        sparsity_target: Target of the share of examples for which a hidden unit is 1 (Hinton 2012, section 11).
        sparsity_cost: Weight of the cross-entropy between this target and the real share.
        regularizer: Keras regularizer of the weights.
        seed: Seed of the initial weights and of sampling.
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
        _read_before_assigning()
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
            # Add only the gradient: the value does not measure progress.
            self.add_loss(loss - ops.stop_gradient(loss))
        # Later layers do not train the machine. Outside training, attribution needs the gradient.
        return ops.stop_gradient(hidden) if training else hidden

    @property
    def kernel(self) -> Any:
        """The weights (visible, hidden), under the name that Keras's layers use."""
        return self.components

    def independent(self, mean: Any) -> Any:
        """Return the visible biases (visible,) with which the units have this `mean` (visible,) without weights."""
        if self.visible == "gaussian":
            return mean
        share = ops.clip(mean, 1e-3, 1 - 1e-3)
        return ops.log(share) - ops.log(1 - share)

    def contrastive_divergence(self, data: Any) -> Any:
        """Return a loss whose gradient is that of the mean F(data) - F(sample). Updates the particles.

        Without particles, the expected visible units of the first Gibbs step become `reconstruction` (batch, visible).
        """
        field = self.visible_field(self.draw(self.transform(self.fantasies if self.particles else data)))
        if not self.particles:
            self.reconstruction = self.mean(field)
        sample = ops.stop_gradient(self.gibbs(self.sample_visible(field), self.gibbs_steps - 1))
        if self.particles:
            self.fantasies.assign(sample)
        return self.mean_energy(data) - self.mean_energy(sample)

    def mean_energy(self, visible: Any) -> Any:
        """Return the mean of E(v, p) over `visible` (batch, visible), where p = p(h = 1 | v), without |v|² / 2.

        p counts as constant, so the gradient is that of the mean free energy, whose logarithms are not needed.
        """
        field = self.hidden_field(visible)
        on = ops.stop_gradient(ops.sigmoid(field))
        return -ops.mean(ops.matmul(visible, self.intercept_visible) + ops.sum(on * field, axis=-1))

    def density(self, hidden: Any) -> Any:
        """Return the cross-entropy of the sparsity target with the batch mean of `hidden` (batch, hidden)."""
        share = ops.clip(ops.mean(hidden, axis=0), 1e-7, 1 - 1e-7)
        target = self.sparsity_target
        return -ops.sum(target * ops.log(share) + (1 - target) * ops.log(1 - share))

    def free_energy(self, visible: Any) -> Any:
        """Return F(v) = -log sum_h exp(-E(v, h)), (batch,), of `visible` (batch, visible); p(v) = exp(-F(v)) / Z."""
        energy = -ops.matmul(visible, self.intercept_visible)
        if self.visible == "gaussian":
            energy += ops.sum(ops.square(visible), axis=-1) / 2
        return energy - ops.sum(ops.softplus(self.hidden_field(visible)), axis=-1)

    def hidden_field(self, visible: Any) -> Any:
        """Return c + v W, (batch, hidden), of `visible` (batch, visible)."""
        return ops.matmul(visible, self.components) + self.intercept_hidden

    def visible_field(self, hidden: Any) -> Any:
        """Return b + h W', (batch, visible), of `hidden` (batch, hidden)."""
        return ops.matmul(hidden, ops.transpose(self.components)) + self.intercept_visible

    def transform(self, visible: Any) -> Any:
        """Return p(h = 1 | v), (batch, hidden), of `visible` (batch, visible)."""
        return ops.sigmoid(self.hidden_field(visible))

    def reconstruct(self, visible: Any) -> Any:
        """Return the expected visible units given the expected hidden units of `visible`; both (batch, visible)."""
        return self.mean(self.visible_field(self.transform(visible)))

    def mean(self, field: Any) -> Any:
        """Return the expected visible units (batch, visible), given their `field` (batch, visible)."""
        if self.visible == "gaussian":
            return field
        if not self.labels:
            return ops.sigmoid(field)
        return ops.concatenate([ops.sigmoid(field[:, : -self.labels]), ops.softmax(field[:, -self.labels :])], axis=-1)

    def sample_visible(self, field: Any) -> Any:
        """Draw visible units (batch, visible), given their `field` (batch, visible)."""
        if self.visible == "gaussian":
            return field + keras.random.normal(ops.shape(field), dtype=field.dtype, seed=self.seed_generator)
        if not self.labels:
            return self.draw(ops.sigmoid(field))
        label = keras.random.categorical(field[:, -self.labels :], 1, seed=self.seed_generator)[:, 0]
        pixels = self.draw(ops.sigmoid(field[:, : -self.labels]))
        return ops.concatenate([pixels, ops.one_hot(label, self.labels, dtype=field.dtype)], axis=-1)

    def binarize(self, visible: Any) -> Any:
        """Draw Bernoulli units from their probabilities `visible` (batch, visible); return Gaussian units unchanged."""
        return visible if self.visible == "gaussian" else self.draw(visible)

    def draw(self, probability: Any) -> Any:
        """Draw 1 with this `probability`, else 0, with the same shape."""
        drawn = keras.random.uniform(ops.shape(probability), dtype=probability.dtype, seed=self.seed_generator)
        return ops.cast(drawn < probability, self.compute_dtype)

    def gibbs(self, visible: Any, steps: int = 1) -> Any:
        """Return `visible` (batch, visible) after `steps` of block Gibbs sampling: hidden units, then visible units."""
        for _ in range(steps):
            visible = self.sample_visible(self.visible_field(self.draw(self.transform(visible))))
        return visible

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

    It is the mean squared difference between visible units and their reconstruction (Hinton 2012, section 4). Training
    with contrastive divergence takes the reconstruction from its first Gibbs step, `evaluate` from the expected hidden
    units, whose error is smaller. On JAX, metrics are updated where the loss is computed, not in layers.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.reconstruction_error = keras.metrics.Mean("reconstruction_error")

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        visible = x
        for layer in self.layers:
            if isinstance(layer, RBM):
                chain = training and not layer.particles
                difference = visible - (layer.reconstruction if chain else layer.reconstruct(visible))
                self.reconstruction_error.update_state(ops.mean(ops.square(difference), axis=-1))
                break
            visible = layer(visible)
        return super().compute_loss(x, y, y_pred, sample_weight, training)


def visible_units(model: keras.Sequential, layer: str, inputs: Array) -> Array:
    """Return the output (examples, visible) of the layers of `model` before `layer`, given `inputs` (examples, …)."""
    for before in itertools.takewhile(lambda other: other.name != layer, model.layers):
        inputs = before(inputs)
    return np.asarray(ops.convert_to_numpy(inputs))


def _read_before_assigning() -> None:
    """Let each training step read the variables of a machine before it assigns them, on TensorFlow.

    The dependency optimizer of TensorFlow 2.21 drops this order where a gradient does not need the value that is read.
    In some steps, the layers after a machine, which do not train it, then got the hidden units of the next step.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.optimizer.set_experimental_options({"dependency_optimization": False})
