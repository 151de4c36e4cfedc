"""Attributions against closed forms, brute force and hand calculation, on networks small enough for that."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from common.data import Array
from common.explain.attribution import (
    Integrated,
    agreement,
    grad_cam,
    gradient,
    grouped,
    integrated_gradients,
    occlusion,
    randomised,
    saliency,
    scores,
)
from common.explain.parts import split_model
from common.nn import augmentation

RNG = np.random.default_rng(0)


def network(formula: Callable[[Any], Any], shape: tuple[int, ...]) -> keras.Model:
    x = keras.Input(shape)
    return keras.Model([x], formula(x))


def integrate(model: keras.Model, x: Array, baseline: Array, chosen: int = 0, **limits: Any) -> Integrated:
    return integrated_gradients(model, x, chosen, baseline, **limits)


def test_a_linear_models_integrated_gradients_are_its_weights_times_the_way_from_the_baseline() -> None:
    dense = keras.layers.Dense(3, bias_initializer="normal")
    model = network(dense, (5,))
    x, baseline = RNG.normal(size=(2, 5)).astype("float32")
    for output in range(3):
        weights = keras.ops.convert_to_numpy(dense.kernel)[:, output]
        found = integrate(model, x, baseline, output)
        np.testing.assert_allclose(found.values, weights * (x - baseline), rtol=1e-5, atol=1e-6)
        slopes = saliency(model, np.tile(x, (40, 1)), np.full(40, output))  # more than go at once
        np.testing.assert_allclose(slopes, np.tile(abs(weights), (40, 1)), rtol=1e-6)


def test_each_example_gets_the_gradient_of_its_own_output() -> None:
    """y = (x0² x1, sin x1): the derivatives are (2 x0 x1, x0²) and (0, cos x1)."""
    model = network(lambda x: ops.stack([x[:, 0] ** 2 * x[:, 1], ops.sin(x[:, 1])], axis=-1), (2,))
    x = np.array([[3.0, -2.0], [1.0, 0.5]], "float32")
    found = gradient(model, x, np.array([0, 1]))
    np.testing.assert_allclose(found, [[-12, 9], [0, np.cos(0.5)]], rtol=1e-6)


def test_integrated_gradients_of_a_product_share_it_equally_and_sum_to_the_difference() -> None:
    model = network(lambda x: ops.prod(x, axis=-1, keepdims=True), (2,))
    found = integrate(model, np.array([3.0, 4.0], "float32"), np.zeros(2, "float32"))
    np.testing.assert_allclose(found.values, [6, 6], rtol=1e-5)
    assert found.difference == pytest.approx(12)
    assert found.error < 1e-5
    assert found.steps == 32


def test_steps_are_added_until_the_sum_is_right_or_the_limit_is_reached() -> None:
    """A step so steep that 32 points miss it."""
    model = network(lambda x: ops.sigmoid(500 * (x - 0.37)), (1,))
    x, baseline = np.ones(1, "float32"), np.zeros(1, "float32")
    found = integrate(model, x, baseline)
    assert found.steps > 32
    assert found.error <= 0.01
    assert found.values[0] == pytest.approx(1, rel=0.01)
    short = integrate(model, x, baseline, most=32)
    assert short.steps == 32
    assert short.error > 0.01


def test_grad_cam_by_hand() -> None:
    """Two maps, of which the score takes the mean of one and minus that of the other."""
    pictures = keras.Input((4, 4, 1))
    maps = ops.concatenate([pictures, 3 * ops.flip(pictures, axis=1)], axis=-1)
    score = ops.stack([ops.mean(maps[..., 0], axis=(1, 2)) - ops.mean(maps[..., 1], axis=(1, 2))], axis=-1)
    given, head = keras.Model([pictures], maps), keras.Model([maps], score)
    x = RNG.normal(size=(2, 4, 4, 1)).astype("float32")
    found = grad_cam(given, head, x, np.zeros(2, int))
    expected = np.maximum((x - 3 * x[:, ::-1])[..., 0] / 16, 0)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_grad_cam_of_several_patches_is_that_of_the_centre() -> None:
    """The score takes the mean of the maps of all ten patches, so that each has a tenth of the gradient."""
    pictures, patches = keras.Input((6, 6, 1)), keras.Input((4, 4, 1))
    given = keras.Model([pictures], augmentation.Crops(4)(pictures))
    head = keras.Model([patches], augmentation.CropMean(10)(ops.mean(patches, axis=(1, 2))))
    x = RNG.normal(size=(2, 6, 6, 1)).astype("float32")
    found = grad_cam(given, head, x, np.zeros(2, int))
    np.testing.assert_allclose(found, np.maximum(x[:, 1:5, 1:5, 0], 0) / 160, rtol=1e-5)


def test_occlusion_and_sums_over_groups_by_brute_force() -> None:
    model = network(lambda x: ops.stack([ops.sum(x, axis=-1) ** 2, x[:, 0]], axis=-1), (4,))
    x = RNG.normal(size=(3, 4)).astype("float32")
    baseline, groups, chosen = np.ones_like(x), np.array([1, 0, 1, 2]), np.array([0, 1, 0])
    found = occlusion(model, x, chosen, baseline, groups)
    for index, group in np.ndindex(3, 3):
        hidden = np.where(groups == group, 1, x[index])
        score = [lambda row: row.sum() ** 2, lambda row: row[0]][chosen[index]]
        assert found[index, group] == pytest.approx(score(x[index]) - score(hidden), abs=1e-5)
    np.testing.assert_allclose(grouped(x, groups), np.stack([x[:, 1], x[:, 0] + x[:, 2], x[:, 3]], axis=1), rtol=1e-6)


def test_agreement_is_of_ranks() -> None:
    first = np.array([0.1, 0.2, 5.0])
    assert agreement(first, np.exp(first)) == pytest.approx(1)
    assert agreement(first, -first) == pytest.approx(-1)
    assert np.isnan(agreement(first, np.ones(3)))


def test_randomising_moves_numbers_within_each_weight() -> None:
    model = network(keras.layers.Dense(4), (6,))
    before = model.get_weights()
    copy = randomised(model)
    np.testing.assert_array_equal(model.get_weights()[0], before[0])
    assert not np.array_equal(copy.get_weights()[0], before[0])
    np.testing.assert_array_equal(np.sort(copy.get_weights()[0].ravel()), np.sort(before[0].ravel()))


def classifier(kind: str) -> keras.Model:
    x = keras.Input((6, 6), dtype="uint8")
    flat = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(x))
    match kind:
        case "softmax in a layer":
            y = keras.layers.Dense(3, "softmax")(flat)
        case "softmax by itself":
            y = keras.layers.Softmax()(keras.layers.Dense(3)(flat))
        case "one unit":
            z = keras.layers.Dense(1)(flat)
            y = keras.layers.Softmax()(keras.layers.Concatenate()([ops.zeros_like(z), z]))
        case _:
            y = ops.softmax(keras.layers.Dense(3)(flat))
    return keras.Model(x, y)


@pytest.mark.parametrize("kind", ["softmax in a layer", "softmax by itself", "one unit", "probabilities"])
def test_scores_are_the_log_odds_of_the_models_probabilities(kind: str) -> None:
    model = classifier(kind)
    pictures = RNG.integers(0, 256, (5, 6, 6)).astype("uint8")
    scored = split_model(model, classes=True)
    x, context = scored.enter(pictures)
    probabilities = model.predict(pictures, verbose=0)
    scores = scored.network.predict([x, *context], verbose=0)
    np.testing.assert_allclose(1 / (1 + np.exp(-scores)), probabilities, rtol=1e-5)


def test_where_a_network_is_sure_its_log_odds_still_have_a_gradient() -> None:
    model = classifier("softmax in a layer")
    weights, bias = model.get_weights()
    model.set_weights([1000 * weights, bias])
    pictures = np.full((1, 6, 6), 255, "uint8")
    chosen = model.predict(pictures, verbose=0).argmax(axis=1)
    scored = split_model(model, classes=True)
    x, _ = scored.enter(pictures)
    assert abs(gradient(scored.network, x, chosen)).max() > 0.1


def test_steps_beyond_a_sequences_end_have_no_part_in_the_answer() -> None:
    model = keras.Sequential(
        [keras.Input((None, 2)), keras.layers.Masking(-9.0), keras.layers.LSTM(3), keras.layers.Dense(1)]
    )
    sequences = RNG.normal(size=(2, 7, 2)).astype("float32")
    sequences[1, 4:] = -9
    scored = split_model(model, classes=False)
    x, context = scored.enter(sequences)
    chosen = np.zeros(2, int)
    np.testing.assert_allclose(
        scores(scored.network, x, chosen, context), model.predict(sequences, verbose=0)[:, 0], rtol=1e-5
    )
    found = gradient(scored.network, x, chosen, context)
    assert (found[1, 4:] == 0).all()
    assert (found[1, :4] != 0).all()
    one = integrated_gradients(scored.network, x[1], 0, np.zeros_like(x[1]), [part[1] for part in context])
    assert one.error < 0.01
