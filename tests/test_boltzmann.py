"""The Boltzmann machine against a count of all states: energy, likelihood, gradient, samples, and what these cost."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from scipy import stats

from apps import boltzmann as app_file
from apps.boltzmann import Settings as Boltzmann
from apps.boltzmann import app
from benchmarks.mixing import CHAINS, autocorrelation, autocorrelation_time, correlation_times, cost, run_chains
from common import training
from common.data import Array, SavedModel
from common.errors import UserError
from common.nn import boltzmann, gradients
from common.nn.rbm import RBM

VISIBLE, HIDDEN = 3, 2
UNITS = VISIBLE + HIDDEN
RESTRICTED = [(first, second) for first, second in boltzmann.all_pairs(UNITS) if first < VISIBLE <= second]
PATTERNS = np.array([[0, 0, 1], [1, 1, 0], [1, 1, 1]], "float32")
MEANS = [0.7, 0.2, 0.4]
CENTRE = np.array([*MEANS, 0.5, 0.5])


def array(tensor: Any) -> Array:
    return np.asarray(keras.ops.convert_to_numpy(tensor), "float64")


def machine(pairs: Sequence[tuple[int, int]] | None = None, **settings: int) -> boltzmann.BoltzmannMachine:
    """A small one with large weights."""
    made = boltzmann.BoltzmannMachine(
        HIDDEN, boltzmann.all_pairs(UNITS) if pairs is None else pairs, MEANS, seed=0, **settings
    )
    made.build((None, VISIBLE))
    rng = np.random.default_rng(2)
    made.couplings.assign(rng.normal(scale=1.5, size=len(made.pairs)))
    made.centred_bias.assign(rng.normal(size=UNITS))
    return made


def parameters(made: boltzmann.BoltzmannMachine) -> tuple[Array, Array]:
    """W, put together from the pairs here, and a."""
    matrix = np.zeros((UNITS, UNITS))
    for (first, second), coupling in zip(made.pairs, array(made.couplings), strict=True):
        matrix[first, second] = matrix[second, first] = coupling
    return matrix, array(made.centred_bias)


def probabilities(matrix: Array, bias: Array) -> Array:
    """That of every state, by a loop over states and pairs."""
    states = boltzmann.all_states(UNITS)
    energies = [
        -sum(matrix[i, j] * (s - CENTRE)[i] * (s - CENTRE)[j] for i in range(UNITS) for j in range(i)) - bias @ s
        for s in states
    ]
    weights = np.exp(-np.array(energies))
    return weights / weights.sum()


def log_likelihood(matrix: Array, bias: Array) -> float:
    """Of `PATTERNS`, their mean."""
    by_visible = probabilities(matrix, bias).reshape(-1, 2**HIDDEN).sum(axis=1)
    return float(np.mean([np.log(by_visible[int("".join(str(int(v)) for v in p), 2)]) for p in PATTERNS]))


def counts(states: Array) -> Array:
    """How often each state is among `states`."""
    return np.bincount((states @ 2 ** np.arange(UNITS)[::-1]).astype(int), minlength=2**UNITS)


def network(made: boltzmann.BoltzmannMachine) -> keras.Sequential:
    model = keras.Sequential([keras.Input((VISIBLE,)), made])
    model.compile("sgd", boltzmann.negative_log_likelihood)
    return model


def test_the_weights_are_symmetric_with_a_zero_diagonal_and_the_energy_is_the_sum_over_pairs() -> None:
    made = machine()
    matrix, bias = parameters(made)
    np.testing.assert_allclose(made.parameters()[0], matrix, rtol=1e-6)
    energies = array(made.energy(boltzmann.all_states(UNITS)))
    expected = -np.log(probabilities(matrix, bias))
    np.testing.assert_allclose(energies - energies[0], expected - expected[0], atol=1e-5)
    assert energies[0] == 0


@pytest.mark.parametrize("pairs", [boltzmann.all_pairs(UNITS), RESTRICTED])
def test_conditional_probabilities_multiply_to_that_of_the_pattern(pairs: list[tuple[int, int]]) -> None:
    made = machine(pairs)
    patterns = boltzmann.all_states(VISIBLE)
    given = array(network(made)(patterns))
    product = np.where(patterns == 1, given, 1 - given).prod(axis=1)
    exact = probabilities(*parameters(made)).reshape(-1, 2**HIDDEN).sum(axis=1)
    np.testing.assert_allclose(product, exact, rtol=1e-5)
    np.testing.assert_allclose(np.exp(made.log_weights()) / np.exp(made.log_weights()).sum(), exact, rtol=1e-5)
    loss = boltzmann.negative_log_likelihood(PATTERNS, network(made)(PATTERNS))
    assert np.mean(loss) == pytest.approx(-log_likelihood(*parameters(made)), rel=1e-5)


def test_missing_units_are_marginalised() -> None:
    made = machine()
    joint = probabilities(*parameters(made)).reshape(2, 2, 2, -1).sum(axis=-1)
    first, second, third = array(made(np.array([[1, np.nan, np.nan]], "float32")))[0]
    assert first == pytest.approx(joint[1].sum(), rel=1e-5)
    assert second == pytest.approx(joint[1, 1].sum() / joint[1].sum(), rel=1e-5)
    assert third == pytest.approx(joint[1, :, 1].sum() / joint[1].sum(), rel=1e-5)


def test_training_gradient_matches_finite_differences_of_the_likelihood() -> None:
    """The two-phase rule with 30,000 samples a phase, against finite differences of the counted likelihood."""
    made = machine(chains=30_000, sweeps=30)
    model, many = network(made), np.tile(PATTERNS, (10_000, 1))
    found = gradients.by_weight(model, boltzmann.negative_log_likelihood)(many, many)
    matrix, bias = parameters(made)
    step = 1e-4

    def slope(matrix_step: Array, bias_step: Array) -> float:
        above, below = (log_likelihood(matrix + sign * matrix_step, bias + sign * bias_step) for sign in (1, -1))
        return (above - below) / (2 * step)

    for place, (first, second) in enumerate(made.pairs):
        towards = np.zeros((UNITS, UNITS))
        towards[first, second] = towards[second, first] = step
        expected = slope(towards, np.zeros(UNITS))
        assert found[made.couplings.path][place] == pytest.approx(-expected, abs=0.02)  # 5 standard errors
    for unit in range(UNITS):
        expected = slope(np.zeros((UNITS, UNITS)), step * np.eye(UNITS)[unit])
        assert found[made.centred_bias.path][unit] == pytest.approx(-expected, abs=0.02)
    assert max(abs(found[made.couplings.path])) > 0.1


@pytest.mark.parametrize("pairs", [boltzmann.all_pairs(UNITS), RESTRICTED])
def test_gibbs_sampling_converges_to_the_exact_distribution(pairs: list[tuple[int, int]]) -> None:
    made = machine(pairs)
    exact = probabilities(*parameters(made))
    noise = np.random.default_rng(0).random((60, 20_000, UNITS), dtype="float32")
    reached = array(made.gibbs(np.zeros((20_000, UNITS), "float32"), noise))
    assert stats.chisquare(counts(reached), 20_000 * exact).pvalue > 1e-3
    drawn = made.sample(20_000, np.random.default_rng(1))
    assert stats.chisquare(counts(drawn), 20_000 * exact).pvalue > 1e-3


def test_clamped_gibbs_samples_hidden_units_given_the_visible() -> None:
    made = machine()
    clamped = np.tile(np.array([1, 0, 1, 0, 0], "float32"), (20_000, 1))
    noise = np.random.default_rng(0).random((40, 20_000, UNITS), dtype="float32")
    reached = array(made.gibbs(clamped, noise, first=VISIBLE))
    given = probabilities(*parameters(made)).reshape(-1, 2**HIDDEN)[0b101]
    found = counts(reached).reshape(-1, 2**HIDDEN)[0b101]
    assert found.sum() == 20_000
    assert stats.chisquare(found, 20_000 * given / given.sum()).pvalue > 1e-3


def test_block_sampling_equals_sampling_unit_by_unit() -> None:
    """Against a loop over the units one by one, with the same noise."""
    general, restricted = machine(), machine(RESTRICTED)
    assert general.blocks() == [(0, 1, UNITS)]
    assert restricted.blocks() == [(0, VISIBLE, 1), (VISIBLE, HIDDEN, 1)]
    noise = np.random.default_rng(0).random((4, 50, UNITS), dtype="float32")
    for made in (general, restricted):
        matrix, bias = parameters(made)
        states = np.zeros((50, UNITS))
        for uniform in noise:
            for unit in range(UNITS):
                states[:, unit] = uniform[:, unit] < 1 / (1 + np.exp(-(states - CENTRE) @ matrix[unit] - bias[unit]))
        np.testing.assert_array_equal(made.gibbs(np.zeros((50, UNITS), "float32"), noise), states)


def test_the_restricted_machine_equals_the_rbm() -> None:
    made, rbm = machine(RESTRICTED), RBM(HIDDEN)
    rbm.build((None, VISIBLE))
    matrix, bias = map(array, made.parameters())
    rbm.components.assign(matrix[:VISIBLE, VISIBLE:])
    rbm.intercept_visible.assign(bias[:VISIBLE])
    rbm.intercept_hidden.assign(bias[VISIBLE:])
    np.testing.assert_allclose(made.log_weights(), -array(rbm.free_energy(boltzmann.all_states(VISIBLE))), atol=1e-5)


def test_free_chains_advance_only_in_training_and_are_saved(tmp_path: Path) -> None:
    made = machine(chains=50)
    model = network(made)
    model.evaluate(PATTERNS, PATTERNS, verbose=0)
    assert not array(made.free).any()
    model.train_on_batch(PATTERNS, PATTERNS)
    first = array(made.free)
    assert 0 < first.mean() < 1
    model.train_on_batch(PATTERNS, PATTERNS)
    assert (array(made.free) != first).any()
    model.save(tmp_path / "machine.keras")
    again = keras.saving.load_model(tmp_path / "machine.keras")
    np.testing.assert_array_equal(array(again.layers[-1].free), array(made.free))
    np.testing.assert_array_equal(again.predict(PATTERNS, verbose=0), model.predict(PATTERNS, verbose=0))


def test_the_autocorrelation_time_of_a_coin_that_is_seldom_turned() -> None:
    """Turned with probability q it has rho(t) = (1 - 2q)^t, and so tau = (1 - q) / q."""
    rng, q = np.random.default_rng(0), 0.1
    turns = rng.random((4000, 100)) < q
    turns[0] = rng.random(100) < 0.5
    coins = np.cumsum(turns, axis=0) % 2
    rho = autocorrelation(coins, 0.5, 0.25)
    np.testing.assert_allclose(rho[:10], (1 - 2 * q) ** np.arange(10), atol=0.02)
    assert autocorrelation_time(rho) == pytest.approx((1 - q) / q, rel=0.1)
    assert np.isnan(autocorrelation_time(rho[:20]))


def test_autocorrelation_times_match_the_transition_matrix() -> None:
    made = machine()
    matrix, bias = parameters(made)
    states, exact = boltzmann.all_states(UNITS), probabilities(matrix, bias)
    sweep = np.eye(2**UNITS)
    for unit in range(UNITS):
        on = 1 / (1 + np.exp(-(states - CENTRE) @ matrix[unit] - bias[unit]))
        move, bit = np.zeros((2**UNITS, 2**UNITS)), 1 << (UNITS - 1 - unit)
        for state in range(2**UNITS):
            move[state, state | bit], move[state, state & ~bit] = on[state], 1 - on[state]
        sweep = sweep @ move
    expected = []
    for first in range(VISIBLE):
        for second in range(first, VISIBLE):
            product = states[:, first] * states[:, second]
            centred = product - exact @ product
            later, total = centred, 0.0
            for _ in range(1000):
                later = sweep @ later
                total += float(exact @ (centred * later))
            expected.append(1 + 2 * total / float(exact @ centred**2))
    begin = made.sample(CHAINS, np.random.default_rng(0))
    visited, microseconds = run_chains(made, begin, 3000)
    found = list(correlation_times(made, visited))
    np.testing.assert_allclose(found, expected, rtol=0.1)
    assert max(expected) > 2
    assert 0 < microseconds < 1000


def test_chains_that_are_too_short_for_a_slow_machine_go_on_longer() -> None:
    made = machine()
    made.couplings.assign(4 * made.couplings)
    assert np.isnan(cost(made, [50])["sweeps a sample"])
    assert cost(made, [50, 8000])["sweeps a sample"] == cost(made, [8000])["sweeps a sample"] > 100


def test_the_patterns_are_those_of_the_papers() -> None:
    bars, encoder = (app.load_data(Boltzmann(data=data)) for data in ("bars", "encoder"))
    images = bars.test[0].reshape(-1, 4, 4)
    assert len(np.unique(bars.test[0], axis=0)) == len(images) == 30
    for image in images:
        assert (image == image[:, :1]).all() or (image == image[:1]).all()
    np.testing.assert_array_equal(encoder.test[0][:, :4], encoder.test[0][:, 4:])
    assert (encoder.test[0].sum(axis=1) == 2).all()
    assert len(encoder.test[0]) == 4
    _, shown = np.unique(bars.train[0], axis=0, return_counts=True)
    assert set(shown) == {50}


def test_baseline_likelihood_matches_the_closed_form() -> None:
    """Every pixel of bars and stripes is on in half of them: 16 bits, of which log2 30 would do."""
    data = app.load_data(Boltzmann())
    assert app.baseline
    estimator = app.baseline(Boltzmann(), data).fit(*data.train)
    figures = app.task.score(data.test[1], app.task.predict(estimator, data.test[0]))
    assert figures["log_likelihood"] == pytest.approx(-16 * np.log(2))
    assert figures["best_possible"] == pytest.approx(-np.log(30))
    assert figures["divergence"] == pytest.approx(16 * np.log(2) - np.log(30))


def test_along_matches_exact_enumeration() -> None:
    config = Boltzmann(data="encoder", hidden=3)
    machine = app.build_model(config, app.load_data(config)).get_layer("machine")
    rng = np.random.default_rng(0)
    for weight in machine.trainable_weights:
        weight.assign(rng.normal(size=weight.shape))
    patterns = rng.integers(0, 2, (20, 8)).astype("float32")
    found = np.asarray(keras.ops.convert_to_numpy(machine.along(patterns)))
    np.testing.assert_allclose(found, keras.ops.convert_to_numpy(machine(patterns)), rtol=1e-5)
    probability = np.where(patterns > 0.5, found, 1 - found).prod(axis=1)
    index = (patterns @ 2 ** np.arange(8)[::-1]).astype(int)
    np.testing.assert_allclose(probability, machine.probabilities()[index], rtol=1e-4)


def test_the_encoder_finds_four_codes_for_its_two_hidden_units() -> None:
    """With seed 0: by the exact likelihood it ends 0.06 nat from the data's entropy, and seed 1, too.

    The likelihood has local optima, in which patterns share a code: seed 2 ends in one, at 0.89 nat.
    """
    config = Boltzmann(data="encoder", hidden=2, seed=0)
    data = app.load_data(config)
    keras.utils.set_random_seed(config.seed)
    model = app.build_model(config, data)
    training.fit(model, data, config, app.task)
    made = model.get_layer("machine")
    table = app_file.codes(made, data.test[0])
    matrix = array(made.parameters()[0])
    np.testing.assert_array_equal(matrix, matrix.T)
    assert not np.diag(matrix).any()
    assert not matrix[:4, 4:8].any()  # the groups know of each other through the hidden units alone
    assert sorted(table["hidden"]) == ["00", "01", "10", "11"]
    assert table["probability"].min() > 0.99
    figures = app.task.score(data.test[1], training.predict(model, data.test[0]))
    assert figures["divergence"] < 0.15
    half = data.test[0].copy()
    half[:, 4:] = np.nan
    completed = training.predict(model, half)[:, 4:]
    np.testing.assert_array_equal(completed.argmax(axis=1), range(4))


def test_patterns_are_read(tmp_path: Path) -> None:
    saved = SavedModel(model=None, label="", data="bars_and_stripes", kind="vector", outputs=tuple("abc"), settings={})
    np.save(tmp_path / "several.npy", PATTERNS.astype(bool))
    np.save(tmp_path / "one.npy", np.array([0, np.nan, 1]))
    examples = app.read_inputs([str(tmp_path / "several.npy"), str(tmp_path / "one.npy")], saved)
    names, read = examples.names, examples.inputs
    assert [Path(name).name for name in names] == ["several.npy[0]", "several.npy[1]", "several.npy[2]", "one.npy"]
    np.testing.assert_array_equal(read, [*PATTERNS, [0, np.nan, 1]])
    for wrong, words in (
        (np.zeros((2, 4)), r"\(examples, 3\)"),
        (np.array([["a", "b", "c"]]), r"\(examples, 3\)"),
        (np.array([0, 0.5, 1]), "other than 0, 1 and nan"),
    ):
        np.save(tmp_path / "x.npy", wrong)
        with pytest.raises(UserError, match=f"x.npy: .*{words}"):
            app.read_inputs([str(tmp_path / "x.npy")], saved)
