"""The machine over ratings against brute force over all its states, and the recommender as a person asks it."""

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import keras
import numpy as np
import pandas as pd
import pytest

from apps import rbm_recommender
from apps.rbm_recommender import Settings as RbmRecommender
from common import baselines, legacy, training
from common.data import Array, Data, SavedModel
from common.errors import UserError
from common.metrics.training import RatingError
from common.nn import gradients
from common.nn.rating_rbm import ROUNDS, ConditionalRBM, SoftmaxRBM, squared_error
from common.preprocessing import rating_files, ratings
from common.preprocessing.ratings import Ratings
from tests.conftest import Trained, assert_user_error, train_once

LEVELS = (0.5, 2.0, 3.5)
ITEMS, HIDDEN = 4, 3
ROWS = np.array([[2.0, 0, 0.5, 3.5], [0, 0, 3.5, 0], [0.5, 2.0, 2.0, 0], [0, 0, 0, 0]], "float32")
"""What four users rated: three items, one, three others, none."""


def machine(scale: float, **settings: Any) -> tuple[keras.Model, Array, Array, Array]:
    """A small machine, and its weights W (items, levels, hidden), b (items, levels) and c (hidden,)."""
    layer = SoftmaxRBM(LEVELS, HIDDEN, name="machine", **settings)
    inputs = keras.Input((ITEMS,))
    model = keras.Model(inputs, layer(inputs))
    rng = np.random.default_rng(0)
    w, b, c = (rng.normal(0, scale, weight.shape).astype("float32") for weight in layer.weights[:3])
    for weight, value in zip(layer.weights[:3], (w, b, c), strict=True):
        weight.assign(value)
    return model, w, b, c


def energy(row: Sequence[float], h: Sequence[int], w: Array, b: Array, c: Array) -> float:
    """Equation 3, term by term, over the rated items alone."""
    total = 0.0
    for item, rating in enumerate(row):
        if rating:
            level = LEVELS.index(rating)
            total -= b[item, level] + sum(h[j] * w[item, level, j] for j in range(HIDDEN))
    return total - sum(h[j] * c[j] for j in range(HIDDEN))


def free_energy(row: Sequence[float], w: Array, b: Array, c: Array) -> float:
    """-log of the sum over all hidden states."""
    states = itertools.product((0, 1), repeat=HIDDEN)
    return -float(np.log(sum(np.exp(-energy(row, h, w, b, c)) for h in states)))


def log_likelihood(row: Sequence[float], w: Array, b: Array, c: Array) -> float:
    """The log of the probability of these ratings among all that could be given to the same items."""
    choices = [LEVELS if rating else (0.0,) for rating in row]
    everything = sum(np.exp(-free_energy(other, w, b, c)) for other in itertools.product(*choices))
    return -free_energy(row, w, b, c) - float(np.log(everything))


def test_the_free_energy_is_that_of_the_sum_over_all_hidden_states() -> None:
    model, *weights = machine(1.0)
    layer = model.get_layer("machine")
    found = keras.ops.convert_to_numpy(layer.free_energy(layer.units(ROWS)))
    expected = [free_energy(row, *weights) for row in ROWS.tolist()]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert found[3] == pytest.approx(-np.log1p(np.exp(weights[2])).sum(), rel=1e-5)


def test_the_expected_rating_is_that_of_the_mean_field() -> None:
    """Equation 9 and the softmax after it, item by item."""
    model, w, b, c = machine(1.0)
    found = model.predict(ROWS, verbose=0)
    for row, answers in zip(ROWS, found, strict=True):
        rated = [(item, LEVELS.index(rating)) for item, rating in enumerate(row.tolist()) if rating]
        p = 1 / (1 + np.exp(-(c + sum((w[item, level] for item, level in rated), np.zeros(HIDDEN)))))
        for item in range(ITEMS):
            levels = np.exp(b[item] + w[item] @ p)
            assert answers[item] == pytest.approx(levels @ LEVELS / levels.sum(), rel=1e-5)


def exact_gradient(weights: Sequence[Array], step: float = 1e-3) -> list[Array]:
    """Numerical derivatives of the mean of -`log_likelihood` of `ROWS` by each weight."""
    gradient = [np.zeros(weight.shape) for weight in weights]
    for which, slopes in enumerate(gradient):
        for index in np.ndindex(slopes.shape):
            values = []
            for sign in (1, -1):
                moved = [weight.astype("float64") for weight in weights]
                moved[which][index] += sign * step
                values.append(-np.mean([log_likelihood(row, *moved) for row in ROWS.tolist()]))
            slopes[index] = (values[0] - values[1]) / (2 * step)
    return gradient


def test_many_steps_of_contrastive_divergence_give_the_gradient_of_the_likelihood() -> None:
    """The mean over many chains; after a single step it is another."""
    copies = 8000
    rows = np.repeat(ROWS, copies, axis=0)
    furthest = {}
    for steps in (1, 40):
        model, *weights = machine(1.0, gibbs_steps=steps)
        found = gradients.by_weight(model, watched)(rows, np.zeros_like(rows))
        exact = exact_gradient(weights)
        names = ("kernel", "visible_bias", "hidden_bias")
        pairs = zip(names, exact, strict=True)
        furthest[steps] = max(np.abs(found[f"machine/{name}"] - values).max() for name, values in pairs)
        assert [found[f"machine/{name}"].shape for name in names] == [values.shape for values in exact]
    assert max(np.abs(values).max() for values in exact) > 0.2
    assert furthest[40] < 0.012
    assert furthest[1] > 0.025


def watched(y_true: Any, y_pred: Any) -> Any:
    return squared_error(y_true, y_pred)


def test_what_is_not_rated_takes_no_part() -> None:
    model, w, _, _ = machine(1.0, gibbs_steps=3)
    layer = model.get_layer("machine")
    rows = ROWS[:2]  # who both have not rated the second item
    energies = keras.ops.convert_to_numpy(layer.free_energy(layer.units(rows)))
    answers = model.predict(rows, verbose=0)
    found = gradients.by_weight(model, watched)(rows, np.zeros((2, ITEMS)))
    assert not found["machine/kernel"][1].any()
    assert not found["machine/visible_bias"][1].any()
    assert found["machine/kernel"][2].any()
    w = w.copy()
    w[1] += 5
    layer.kernel.assign(w)
    np.testing.assert_array_equal(layer.free_energy(layer.units(rows)), energies)
    others = [0, 2, 3]
    np.testing.assert_array_equal(model.predict(rows, verbose=0)[:, others], answers[:, others])
    sample = keras.ops.convert_to_numpy(layer.sample(layer.units(rows)))
    np.testing.assert_array_equal(sample.sum(axis=-1), rows > 0)


def test_the_penalty_takes_its_share_of_each_weight() -> None:
    kernels = []
    for decay in (0.0, 0.25):
        model, w, _, _ = machine(1.0, weight_decay=decay, seed=3)
        kernels.append(gradients.by_weight(model, watched)(ROWS, np.zeros_like(ROWS))["machine/kernel"])
    np.testing.assert_allclose(kernels[1] - kernels[0], 0.25 * w, rtol=1e-4, atol=1e-6)


def test_the_loss_that_is_shown_is_the_squared_error_of_ratings_alone() -> None:
    model, *_ = machine(1.0)
    targets = np.array([[0, 2.0, 0, 0], [0.5, 0, 0, 3.5], [0, 0, 0, 0], [0, 0, 0, 2.0]], "float32")
    predictions = model.predict(ROWS, verbose=0)
    expected = np.square(predictions - targets)[targets > 0]
    model.compile("sgd", squared_error, metrics=[RatingError(name="rmse")])
    for measured in (
        model.evaluate(ROWS, targets, batch_size=4, verbose=0, return_dict=True),
        model.train_on_batch(ROWS, targets, return_dict=True),
    ):
        assert measured["loss"] == pytest.approx(expected.mean(), rel=1e-5)
        assert measured["rmse"] == pytest.approx(expected.mean() ** 0.5, rel=1e-5)
    in_two = model.evaluate(ROWS, targets, batch_size=1, verbose=0, return_dict=True)
    assert in_two["rmse"] == pytest.approx(
        np.sqrt(np.square(model.predict(ROWS, verbose=0) - targets)[targets > 0].mean()), rel=1e-5
    )


def conditional(**settings: Any) -> tuple[keras.Model, dict[str, Array]]:
    """A small conditional machine, and its weights by name."""
    layer = ConditionalRBM(LEVELS, 2.0, 1.2, HIDDEN, name="machine", **settings)
    inputs = keras.Input((ITEMS,))
    model = keras.Model(inputs, layer(inputs))
    rng = np.random.default_rng(0)
    weights = {weight.name: rng.normal(0, 0.7, weight.shape).astype("float32") for weight in layer.trainable_weights}
    for weight in layer.trainable_weights:
        weight.assign(weights[weight.name])
    return model, weights


def expected_by_hand(row: Sequence[float], w: dict[str, Array]) -> list[float]:
    """The formulas of the conditional machine, item by item."""
    s = (np.array(LEVELS) - 2.0) / 1.2
    rated = [item for item, rating in enumerate(row) if rating]
    shares = [softmax(w["level_bias"] + s * w["item_bias"][item]) for item in range(ITEMS)]
    mean, variance = ([share @ s**power for share in shares] for power in (1, 2))
    variance = [square - first**2 for first, square in zip(mean, variance, strict=True)]
    scores = {item: (row[item] - 2.0) / 1.2 - mean[item] for item in rated}
    offset = sum(scores.values()) / (np.exp(w["log_precision"]) + sum(variance[item] for item in rated))
    kernel, change = w["kernel"], np.zeros(HIDDEN)

    def slope() -> Array:
        rest = {item: scores[item] - variance[item] * (offset + kernel[item] @ change) for item in rated}
        return sum((rest[item] * kernel[item] for item in rated), np.zeros(HIDDEN))

    if "hidden_bias" in w:
        c = w["hidden_bias"]
        change = 1 / (1 + np.exp(-c - slope())) - 1 / (1 + np.exp(-c))
    else:
        curvature = sum((variance[item] * kernel[item] ** 2 for item in rated), np.ones(HIDDEN))
        for _ in range(ROUNDS):
            change = change + (slope() - change) / curvature
            total = sum(scores[item] - variance[item] * (kernel[item] @ change) for item in rated)
            offset = total / (np.exp(w["log_precision"]) + sum(variance[item] for item in rated))
    moved = [w["item_bias"][item] + offset + w["kernel"][item] @ change for item in range(ITEMS)]
    return [float(softmax(w["level_bias"] + s * one) @ LEVELS) for one in moved]


def softmax(logits: Array) -> Array:
    return np.exp(logits) / np.exp(logits).sum()


@pytest.mark.parametrize("units", ["binary", "gaussian"])
def test_the_conditional_machine_expects_the_ratings_of_its_formulas(units: str) -> None:
    model, weights = conditional(units=units)
    found = model.predict(ROWS, verbose=0)
    np.testing.assert_allclose(found, [expected_by_hand(row, weights) for row in ROWS.tolist()], rtol=1e-4)


def test_the_conditional_machine_learns_only_from_the_ratings_that_were_left_out() -> None:
    """Without any, the penalties alone are left; and unrated items get no gradient."""
    model, weights = conditional(left_out=0.0, kernel_penalty=0.5, bias_penalty=0.25)
    found = gradients.by_weight(model, watched)(ROWS, np.zeros_like(ROWS))
    np.testing.assert_allclose(found["machine/kernel"], 0.5 * weights["kernel"], rtol=1e-5)
    np.testing.assert_allclose(found["machine/item_bias"], 0.25 * weights["item_bias"], rtol=1e-5)
    assert not np.any(found["machine/hidden_bias"])
    model, _ = conditional(left_out=0.5)
    found = gradients.by_weight(model, watched)(ROWS[:2], np.zeros((2, ITEMS)))
    assert not np.any(found["machine/kernel"][1])
    assert np.any(found["machine/item_bias"])


def test_the_conditional_machine_survives_saving(tmp_path: Path) -> None:
    model, _ = conditional(left_out=0.3, kernel_penalty=0.1)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(ROWS, verbose=0), model.predict(ROWS, verbose=0))
    assert loaded.get_layer("machine").left_out == 0.3


def test_settings_of_earlier_runs_are_those_of_the_softmax_form() -> None:
    assert legacy.settings({"hidden": 200, "gibbs_steps": 1, "weight_decay": 0.001})["form"] == "softmax"


def small_data(config: RbmRecommender) -> Data:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rbm_recommender, "GENERATED", (500, 50, 40))
        return rbm_recommender.load_data(config)


@pytest.mark.parametrize("form", ["conditional", "softmax"])
def test_an_untrained_machine_expects_about_an_items_mean(form: str) -> None:
    config = RbmRecommender(form=form)  # type: ignore[arg-type]
    data = small_data(config)
    known: Ratings = data.train[0]
    expected = baselines.ItemMean().fit(known).means
    rows = known[:3] if form == "softmax" else np.zeros((3, known.shape[1]), "float32")  # without the users' offsets
    answers = rbm_recommender.build_model(config, data).predict(rows, verbose=0)
    often = np.bincount(known.matrix.indices) > 100
    assert often.sum() > 10
    np.testing.assert_allclose(
        answers[:, often], np.tile(expected[often], (3, 1)), atol=0.1 if form == "softmax" else 0.3
    )


def test_the_parts_share_the_known_ratings_and_no_others() -> None:
    data = small_data(RbmRecommender(test=0.2, validation=0.25))
    known, held, tested = (targets[:] for _, targets in (data.train, data.validation, data.test))
    for inputs, _ in (data.train, data.validation, data.test):
        np.testing.assert_array_equal(inputs[:], known)
    assert (((known > 0).astype(int) + (held > 0) + (tested > 0)) <= 1).all()
    assert (tested > 0).sum() / ((known + held + tested) > 0).sum() == pytest.approx(0.2, abs=0.01)
    assert (held > 0).sum() / ((known + held) > 0).sum() == pytest.approx(0.25, abs=0.01)
    other = small_data(RbmRecommender(test=0.2, validation=0.25, seed=1))
    np.testing.assert_array_equal(other.test[1][:], tested)
    assert (other.validation[1][:] != held).any()
    assert other.digest == data.digest


def test_training_learns_tastes_that_an_items_mean_does_not_know() -> None:
    config = RbmRecommender(epochs=10)
    data = small_data(config)
    keras.utils.set_random_seed(0)
    model = rbm_recommender.build_model(config, data)
    history = training.fit(model, data, config, rbm_recommender.app.task)
    mean = baselines.ItemMean().fit(*data.train)
    task = rbm_recommender.app.task
    figures = task.score(data.test[1], training.predictions_for(task, model, data.test))
    naive = task.score(data.test[1], task.predictions_for(mean.predict, data.test))
    assert figures["rmse"] < 0.92 * naive["rmse"]
    assert figures["ndcg_10"] > naive["ndcg_10"]
    validation = task.score(data.validation[1], training.predictions_for(task, model, data.validation))
    assert min(history["val_rmse"]) == pytest.approx(validation["rmse"], rel=1e-4)


def test_what_is_recommended_is_unseen_and_the_best_first() -> None:
    known, expected = np.array([0, 3, 0, 0, 5.0]), np.array([1.5, 5.0, 4.0, 2.0, 4.5])
    table = rbm_recommender.recommend(known, expected, ["a", "b", "c", "d", "e"], 2)
    assert table["item"].tolist() == ["c", "d"]
    assert table["expected rating"].tolist() == [4.0, 2.0]
    assert len(rbm_recommender.recommend(known, expected, ["a", "b", "c", "d", "e"], 9)) == 3


def saved() -> SavedModel:
    model, *_ = machine(1.0)
    return cast("SavedModel", SimpleNamespace(model=model, outputs=("a", "b", "c", "d")))


def test_rows_of_ratings_are_read(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", np.array([0, 2, 0, 2]))
    np.save(tmp_path / "more.npy", ROWS)
    examples = rbm_recommender.read_rows([str(tmp_path / "one.npy"), str(tmp_path / "more.npy")], saved())
    names, rows = examples.names, examples.inputs
    assert [Path(name).name for name in names] == ["one.npy", *(f"more.npy[{index}]" for index in range(4))]
    np.testing.assert_array_equal(rows, [[0, 2, 0, 2], *ROWS])
    assert rows.dtype == np.float32


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((2, 5)), r"shape \(2, 5\); ratings \(4,\) or \(examples, 4\)"),
        (np.array(["a", "b", "c", "d"]), r"ratings \(4,\)"),
        (np.zeros((0, 4)), r"ratings \(4,\)"),
        (np.array([0, 2, 4, 0.5]), "rating 4; the scale is 0.5, 2, 3.5"),
        (np.array([0, np.nan, 0, 0.5]), "nan or infinite"),
    ],
)
def test_rows_that_cannot_be_read_are_one_line(array: Array, words: str, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(UserError, match=f"x.npy: .*{words}"):
        rbm_recommender.read_rows([str(tmp_path / "x.npy")], saved())


def test_too_few_ratings_to_keep_some_apart_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "u.data").write_text("1\t1\t3\t0\n1\t2\t4\t0\n2\t1\t5\t0\n")
    with pytest.raises(UserError, match=r"u\.data: .*too few ratings"):
        rbm_recommender.load_data(RbmRecommender(ratings=str(tmp_path / "u.data")))


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like MovieLens's, of 60 users and 30 films."""
    folder = tmp_path_factory.mktemp("films")
    frame = ratings.generate(60, 30, 15)
    frame["rating"] -= 0.5
    frame.set_axis(["userId", "movieId", "rating"], axis=1).to_csv(folder / "ratings.csv", index=False)
    films = [f'{film},"Film, the {film}th",Drama' for film in range(1, 31)]
    (folder / "movies.csv").write_text("\n".join(["movieId,title,genres", *films]))
    return folder


@pytest.fixture(scope="module")
def films(own: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The recommender, trained on that folder."""
    return train_once("rbm_recommender", tmp_path_factory.mktemp("store"), "--ratings", str(own / "ratings.csv"))


def test_a_users_recommendations_are_films_that_the_user_has_not_rated(
    films: Trained, own: Path, tmp_path: Path
) -> None:
    everything, _ = rating_files.read(own / "ratings.csv")
    assert f"rbm_recommender on {own.name}_ratings.csv" in films.output
    for user in (1, 42):
        result = films("predict", "--user", str(user), "--top", "5", "--output", str(tmp_path / "table.csv"))
        assert result.returncode == 0, result.stderr
        table = pd.read_csv(tmp_path / "table.csv")
        assert table["rank"].tolist() == [1, 2, 3, 4, 5]
        seen = {everything.items[item] for item in np.flatnonzero(everything[user - 1])}
        assert not seen & set(table["item"])
        assert set(table["item"]) <= set(everything.items)
        assert table["item"].str.contains(r"^\d+ Film, the \d+th$").all()
        assert table["expected rating"].is_monotonic_decreasing
        # The same as what the model expects for the user's row.
        np.save(tmp_path / "row.npy", everything[user - 1])
        films("predict", str(tmp_path / "row.npy"), "--output", str(tmp_path / "row.csv"))
        row = pd.read_csv(tmp_path / "row.csv").iloc[0]
        for item, expected in zip(table["item"], table["expected rating"], strict=True):
            assert row[item] == pytest.approx(expected, rel=1e-5)
    shown = films("predict", "--user", "42").stdout
    assert shown.count("Film, the") == min(10, int((everything[41] == 0).sum()))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--user", "42", "--top", "0"], ["--top", "at least 1"]),
        (["--user", "999"], ["--user 999", "no such user", "1 to 60"]),
        (["--user", "-1"], ["--user -1", "no such user"]),
        (["--user", "anna"], ["--user", "anna"]),
        (["--user", "42", "rows.npy"], ["--user", "files"]),
        ([], ["files"]),
        (["none.npy"], ["none.npy"]),
    ],
)
def test_a_wrong_question_is_one_line(arguments: list[str], words: list[str], films: Trained) -> None:
    assert_user_error(films("predict", *arguments), *words)


def test_recommendations_from_changed_ratings_are_refused(films: Trained, own: Path) -> None:
    path = own / "ratings.csv"
    before = path.read_text()
    try:
        path.write_text(before + "61,1,4.5\n")
        assert_user_error(films("predict", "--user", "42"), "has changed")
    finally:
        path.write_text(before)


def test_other_apps_have_no_such_flags(films: Trained) -> None:
    other = dataclasses.replace(films, app="perceptron")
    assert_user_error(other("predict", "x.csv", "--user", "42"), "--user")
