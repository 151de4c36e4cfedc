"""The restricted Boltzmann machine against brute force over every state of small ones."""

import itertools
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from common.config import Visible
from common.data import Array
from common.metrics import likelihood
from common.nn import gradients
from common.nn.rbm import RBM

VISIBLE, HIDDEN = 5, 3
STATES = np.array(list(itertools.product([0.0, 1.0], repeat=VISIBLE)), "float32")
HIDDEN_STATES = np.array(list(itertools.product([0.0, 1.0], repeat=HIDDEN)), "float32")


def machine(seed: int = 0, scale: float = 1.0, units: int = VISIBLE, hidden: int = HIDDEN, **options: Any) -> RBM:
    """A machine with random weights and biases."""
    rbm, rng = RBM(hidden, seed=seed, **options), np.random.default_rng(seed)
    rbm.build((None, units))
    for weight in (rbm.components, rbm.intercept_hidden, rbm.intercept_visible):
        weight.assign(rng.normal(0, scale, weight.shape))
    return rbm


def energy(rbm: RBM, visible: Array, hidden: Array) -> Array:
    """E(v, h) of every pair, (visible states, hidden states), as the class's text has it."""
    weights, b, c = (array(weight) for weight in (rbm.components, rbm.intercept_visible, rbm.intercept_hidden))
    pairs = np.einsum("vi,ij,hj->vh", visible, weights, hidden)
    square = (visible**2).sum(1)[:, None] / 2 if rbm.visible == "gaussian" else 0.0
    return square - (visible @ b)[:, None] - (hidden @ c)[None] - pairs


def array(tensor: Any) -> Array:
    return np.asarray(ops.convert_to_numpy(tensor), "float64")


def allowed(labels: int) -> Array:
    """The visible states in which exactly one of the last `labels` units is 1."""
    return STATES[STATES[:, VISIBLE - labels :].sum(1) == 1] if labels else STATES


@pytest.mark.parametrize("visible", ["bernoulli", "gaussian"])
def test_the_free_energy_is_what_the_sum_over_hidden_states_says(visible: Visible) -> None:
    rbm = machine(visible=visible)
    data = np.random.default_rng(1).normal(size=(7, VISIBLE)) if visible == "gaussian" else STATES
    expected = -np.log(np.exp(-energy(rbm, data, HIDDEN_STATES)).sum(axis=1))
    np.testing.assert_allclose(likelihood.free_energies(rbm, data.astype("float32")), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("labels", [0, 3])
def test_log_partition_is_the_sum_over_every_state(labels: int) -> None:
    rbm = machine(labels=labels)
    expected = np.log(np.exp(-energy(rbm, allowed(labels), HIDDEN_STATES)).sum())
    assert likelihood.log_partition(rbm) == pytest.approx(expected, abs=1e-5)


def test_log_partition_of_gaussian_units_is_the_integral_over_them() -> None:
    rbm = machine(visible="gaussian", units=2)
    axis = np.linspace(-12, 12, 601)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    integral = np.exp(-energy(rbm, grid, HIDDEN_STATES)).sum() * (axis[1] - axis[0]) ** 2
    assert likelihood.log_partition(rbm) == pytest.approx(np.log(integral), abs=1e-4)


def test_log_partition_of_many_hidden_units_is_refused() -> None:
    with pytest.raises(ValueError, match="21 hidden units"):
        likelihood.log_partition(machine(hidden=21))


@pytest.mark.parametrize("labels", [0, 3])
def test_probabilities_are_those_of_the_states(labels: int) -> None:
    rbm = machine(labels=labels)
    visible = allowed(labels)
    joint = np.exp(-energy(rbm, visible, HIDDEN_STATES))
    hidden_given_visible = joint @ HIDDEN_STATES / joint.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(array(rbm.transform(visible)), hidden_given_visible, atol=1e-5)
    visible_given_hidden = joint.T @ visible / joint.sum(axis=0)[:, None]
    np.testing.assert_allclose(array(rbm.mean(rbm.visible_field(HIDDEN_STATES))), visible_given_hidden, atol=1e-5)


@pytest.mark.parametrize("labels", [0, 3])
def test_gibbs_sampling_visits_states_as_often_as_they_are_probable(labels: int) -> None:
    rbm = machine(labels=labels, scale=0.7)
    chains, visible = 200_000, allowed(labels)
    sample = array(rbm.gibbs(ops.convert_to_tensor(np.resize(visible, (chains, VISIBLE))), 30))
    counts = np.unique(sample, axis=0, return_counts=True)[1]
    probability = np.exp(-energy(rbm, visible, HIDDEN_STATES)).sum(axis=1)
    probability /= probability.sum()
    assert abs(counts / chains - probability).max() < 5 * np.sqrt(0.25 / chains)


def test_gibbs_sampling_of_gaussian_units_has_their_moments() -> None:
    rbm = machine(visible="gaussian", units=2, scale=0.5)
    sample = array(rbm.gibbs(ops.zeros((200_000, 2)), 30))
    axis = np.linspace(-9, 9, 301)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    density = np.exp(-energy(rbm, grid, HIDDEN_STATES)).sum(axis=1)
    mean = density @ grid / density.sum()
    np.testing.assert_allclose(sample.mean(axis=0), mean, atol=0.02)
    np.testing.assert_allclose((sample**2).mean(axis=0), density @ grid**2 / density.sum(), atol=0.04)


def log_likelihood_gradient(rbm: RBM, data: Array, states: Array = STATES) -> dict[str, Array]:
    """The exact gradient of the mean log likelihood: <dE/dw> of the model less that of the data.

    `states` are all of the model's visible states, or a fine grid of them.
    """
    weights = np.exp(-energy(rbm, states, HIDDEN_STATES))
    weights /= weights.sum()
    given = np.exp(-energy(rbm, data, HIDDEN_STATES))
    given /= given.sum(axis=1, keepdims=True) * len(data)
    return {
        "components": data.T @ given @ HIDDEN_STATES - states.T @ weights @ HIDDEN_STATES,
        "intercept_visible": data.mean(axis=0) - states.T @ weights.sum(axis=1),
        "intercept_hidden": given.sum(axis=0) @ HIDDEN_STATES - weights.sum(axis=0) @ HIDDEN_STATES,
    }


def trained_gradient(rbm: RBM, data: Array) -> dict[str, Array]:
    """The gradient of what a training step with `data` lowers, whatever the outputs are used for."""
    model = keras.Sequential([keras.Input(data.shape[1:]), rbm])
    found = gradients.by_weight(model, "mean_squared_error")(data, np.zeros((len(data), HIDDEN)))
    return {path.split("/")[-1]: gradient for path, gradient in found.items()}


def test_training_follows_the_log_likelihood_the_better_the_longer_the_chain() -> None:
    """With many copies of each example the sampling error is small beside CD's own, which falls with k."""
    data = STATES[[3, 9, 9, 30, 28]]
    misses = []
    for steps in (1, 3, 40):
        rbm = machine(scale=3.0, gibbs_steps=steps)
        exact = log_likelihood_gradient(rbm, data)
        found = trained_gradient(rbm, np.repeat(data, 40_000, axis=0))
        misses.append(max(abs(found[name] + exact[name]).max() for name in exact))
    assert misses[0] > 2 * misses[1] > 4 * misses[2]
    assert misses[2] < 0.01


def test_training_of_gaussian_units_follows_the_log_likelihood() -> None:
    rbm, data = machine(visible="gaussian", units=2, scale=0.5, gibbs_steps=40), np.array([[1.0, -2.0], [0.5, 0.3]])
    axis = np.linspace(-9, 9, 301)
    exact = log_likelihood_gradient(rbm, data, np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2))
    found = trained_gradient(rbm, np.repeat(data, 100_000, axis=0).astype("float32"))
    for name, gradient in exact.items():
        np.testing.assert_allclose(-found[name], gradient, atol=0.02)


def test_persistent_chains_go_on_where_they_were_and_follow_the_log_likelihood() -> None:
    data = STATES[[3, 9, 9, 30, 28]]
    rbm = machine(scale=0.8, particles=100_000)
    model = keras.Sequential([keras.Input((VISIBLE,)), rbm])
    model.compile(keras.optimizers.SGD(0.0), "mean_squared_error", jit_compile=False)
    for _ in range(40):  # a step that changes no weight moves the particles
        model.train_on_batch(data, np.zeros((len(data), HIDDEN)))
    exact, found = log_likelihood_gradient(rbm, data), trained_gradient(rbm, np.repeat(data, 40_000, axis=0))
    for name, gradient in exact.items():
        np.testing.assert_allclose(-found[name], gradient, atol=0.01)


def test_probabilities_are_drawn_in_training_and_taken_as_they_are_afterwards() -> None:
    rbm = machine()
    grey = np.full((50_000, VISIBLE), 0.3, "float32")
    drawn = array(rbm.binarize(grey))
    assert set(np.unique(drawn)) == {0.0, 1.0}
    assert drawn.mean() == pytest.approx(0.3, abs=0.01)
    np.testing.assert_allclose(array(rbm(grey[:1])), array(rbm.transform(grey[:1])))


def test_what_follows_does_not_change_the_machine() -> None:
    rbm = machine()
    inputs = keras.Input((VISIBLE,))
    model = keras.Sequential([inputs, rbm, keras.layers.Dense(1, kernel_initializer="ones")])
    many = np.repeat(STATES[:8], 20_000, axis=0)

    def gradient(target: float) -> Array:
        targets = np.full((len(many), 1), target)
        return gradients.by_weight(model, "mean_squared_error")(many, targets)[rbm.components.path]

    np.testing.assert_allclose(gradient(0.0), gradient(1000.0), atol=0.02)


def test_the_sparsity_target_is_approached() -> None:
    rng = np.random.default_rng(0)
    data = (rng.random((500, VISIBLE)) < 0.5).astype("float32")
    shares = []
    for cost in (0.0, 5.0):
        rbm = machine(scale=0.1, sparsity_target=0.1, sparsity_cost=cost)
        model = keras.Sequential([keras.Input((VISIBLE,)), rbm])
        model.compile(keras.optimizers.SGD(0.1), "mean_squared_error", jit_compile=False)
        model.fit(data, np.zeros((500, HIDDEN)), epochs=30, batch_size=50, verbose=0)
        shares.append(array(rbm.transform(data)).mean())
    assert shares[0] > 0.3
    assert shares[1] == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("visible", "labels"), [("bernoulli", 0), ("bernoulli", 3), ("gaussian", 0)])
def test_annealing_is_within_three_standard_errors_of_the_exact_log_partition(
    visible: Visible, labels: int, seed: int
) -> None:
    rbm = machine(seed=seed, units=12, hidden=8, visible=visible, labels=labels, scale=0.6)
    start = np.random.default_rng(seed).normal(size=12) if seed else None
    estimate = likelihood.annealed_importance_sampling(rbm, start, steps=100, chains=1000, seed=seed)
    assert abs(estimate.value - likelihood.log_partition(rbm)) < 3 * estimate.standard_error
    assert estimate.standard_error < 0.1


@pytest.mark.parametrize("seed", range(3))
def test_annealing_in_two_steps_has_no_bias_either(seed: int) -> None:
    """However few the steps, the mean importance weight is the ratio, if each step leaves its own machine as it is."""
    rbm = machine(seed=seed, units=6, hidden=4, scale=1.0)
    estimate = likelihood.annealed_importance_sampling(rbm, steps=2, chains=100_000, seed=seed)
    assert abs(estimate.value - likelihood.log_partition(rbm)) < 3 * estimate.standard_error
    assert estimate.standard_error < 0.02


def test_pseudo_likelihood_is_the_sum_of_each_units_own() -> None:
    rbm = machine()
    probability = np.exp(-energy(rbm, STATES, HIDDEN_STATES)).sum(axis=1)
    index = {tuple(state): row for row, state in enumerate(STATES)}
    example = STATES[11]
    expected = 0.0
    for unit in range(VISIBLE):
        other = example.copy()
        other[unit] = 1 - other[unit]
        own, flipped = probability[index[tuple(example)]], probability[index[tuple(other)]]
        expected += np.log(own / (own + flipped))
    estimate = likelihood.pseudo_likelihood(rbm, np.repeat(example[None], 100_000, axis=0))
    assert estimate == pytest.approx(expected, abs=0.02)


def test_a_saved_machine_keeps_its_particles_and_settings(tmp_path: Any) -> None:
    rbm = machine(particles=4, gibbs_steps=2, sparsity_cost=0.5, regularizer=keras.regularizers.L2(0.1))
    model = keras.Sequential([keras.Input((VISIBLE,)), rbm])
    rbm.fantasies.assign(STATES[5:9])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras").layers[-1]
    assert loaded.get_config() == rbm.get_config()
    np.testing.assert_array_equal(array(loaded.fantasies), STATES[5:9])
    np.testing.assert_array_equal(array(loaded(STATES)), array(rbm(STATES)))
