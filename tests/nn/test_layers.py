"""The papers' layers against their formulas in NumPy, and LeNet-5 against the paper's own counts."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from apps import lenet5
from common.data import RawData
from common.nn import augmentation, layers, losses
from tests.conftest import few, load_app

RANDOM = np.random.default_rng(0)


def test_subsampling_sums_blocks_times_coefficient_plus_bias() -> None:
    x = RANDOM.normal(size=(2, 6, 4, 3)).astype("float32")
    layer = layers.Subsampling(activation=layers.scaled_tanh)
    layer.build(x.shape)
    coefficient, bias = RANDOM.normal(size=(2, 3)).astype("float32")
    layer.set_weights([coefficient, bias])
    blocks = x.reshape(2, 3, 2, 2, 2, 3).sum(axis=(2, 4))
    expected = 1.7159 * np.tanh(2 / 3 * (blocks * coefficient + bias))
    np.testing.assert_allclose(layer(x), expected, atol=1e-5)


def test_dropout_has_the_noise_of_keras_own() -> None:
    x, seed = np.ones((64, 50), "float32"), 2**40
    plain, own = keras.layers.Dropout(0.3, seed=seed), layers.Dropout(0.3, seed=seed)
    for _ in range(2):
        np.testing.assert_array_equal(own(x, training=True), plain(x, training=True))
    np.testing.assert_array_equal(own(x), x)


def test_with_xla_each_step_has_another_noise_of_the_same_rate() -> None:
    layer = layers.Dropout(0.3, seed=0)
    step = tf.function(lambda: layer(tf.ones((200, 500)), training=True), jit_compile=True)
    first, second = (np.ravel(step()) > 0 for _ in range(2))
    deviation = np.sqrt(0.3 * 0.7 / first.size)
    for kept in (first, second):
        assert abs(kept.mean() - 0.7) < 4 * deviation
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / np.sqrt(first.size)


def test_batch_normalisation_is_keras_own_in_fewer_operations() -> None:
    x = RANDOM.normal(loc=3.0, scale=5.0, size=(8, 6, 4, 3)).astype("float32")
    weights = RANDOM.normal(size=x.shape).astype("float32")
    found = []
    for kind in (keras.layers.BatchNormalization, layers.BatchNormalization):
        layer = kind(momentum=0.9)
        layer.build(x.shape)
        layer.gamma.assign([0.5, 1.0, 2.0])
        layer.beta.assign([0.1, -0.2, 0.3])
        inputs = tf.constant(x)
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            output = layer(inputs, training=True)
            loss = tf.reduce_sum(output * weights)
        gradients = tape.gradient(loss, [inputs, *layer.trainable_variables])
        found.append([output, *gradients, *layer.non_trainable_variables, layer(inputs)])
    for own, expected in zip(*found, strict=True):
        np.testing.assert_allclose(own, expected, rtol=1e-4, atol=1e-5)


def test_table_convolution_sees_only_the_maps_in_its_table() -> None:
    table = [[0, 2], [1], [0, 1, 2]]
    x = RANDOM.normal(size=(2, 7, 7, 3)).astype("float32")
    layer = layers.TableConv2D(table, 3)
    layer.build(x.shape)
    kernel, bias = RANDOM.normal(size=(3, 3, 6)).astype("float32"), RANDOM.normal(size=3).astype("float32")
    layer.set_weights([kernel, bias])
    expected = np.zeros((2, 5, 5, 3)) + bias
    connection = 0
    for target, sources in enumerate(table):
        for source in sources:
            for row, column in np.ndindex(5, 5):
                patch = x[:, row : row + 3, column : column + 3, source]
                expected[:, row, column, target] += (patch * kernel[:, :, connection]).sum(axis=(1, 2))
            connection += 1
    np.testing.assert_allclose(layer(x), expected, atol=1e-4)


def test_radial_basis_is_the_squared_distance_to_each_centre() -> None:
    x, centres = RANDOM.normal(size=(5, 84)), lenet5.digit_codes()
    expected = ((x[:, None, :] - centres) ** 2).sum(axis=-1)
    np.testing.assert_allclose(layers.RadialBasis(centres)(x.astype("float32")), expected, rtol=1e-5)


@pytest.mark.parametrize("reach", [1.0, 60.0, 600.0])
def test_posterior_and_its_loss_are_equation_9_even_for_the_largest_penalties(reach: float) -> None:
    penalties, j = RANDOM.uniform(0, reach, size=(50, 10)), 5.0
    labels = RANDOM.integers(0, 10, size=50)
    loss = losses.NegativeLogLikelihood()(labels, layers.Posterior(j)(penalties))
    smallest = np.minimum(penalties.min(axis=1, keepdims=True), j)
    partition = np.exp(smallest[:, 0] - j) + np.exp(smallest - penalties).sum(axis=1)
    expected = np.mean(penalties[np.arange(50), labels] + np.log(partition) - smallest[:, 0])
    np.testing.assert_allclose(float(loss), expected, rtol=1e-9)


def test_the_digit_codes_are_ten_different_pictures_of_7_by_12() -> None:
    codes = lenet5.digit_codes()
    assert codes.shape == (10, 84)
    assert set(np.unique(codes)) == {-1.0, 1.0}
    distances = ((codes[:, None] - codes) ** 2).sum(axis=-1) / 4
    assert distances[~np.eye(10, dtype=bool)].min() >= 4
    one = ["".join("#" if pixel > 0 else "." for pixel in row) for row in codes[1].reshape(12, 7)]
    assert one[:3] == ["...##..", "..###..", ".####.."]


@pytest.fixture(scope="module")
def lenet_1998(mnist: RawData) -> keras.Model:
    app = load_app("lenet5")
    return app.build_model(app.settings(variant="1998"), few(mnist))  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("name", "parameters"), [("C1", 156), ("S2", 12), ("C3", 1_516), ("S4", 32), ("C5", 48_120), ("F6", 10_164)]
)
def test_lenet5_layer_has_the_papers_parameters(lenet_1998: keras.Model, name: str, parameters: int) -> None:
    assert lenet_1998.get_layer(name).count_params() == parameters


def test_lenet5_has_60_000_parameters_and_340_908_connections(lenet_1998: keras.Model) -> None:
    assert sum(int(np.prod(weight.shape)) for weight in lenet_1998.trainable_weights) == 60_000
    assert sum(connections(layer) for layer in lenet_1998.layers) == 340_908


def connections(layer: keras.layers.Layer) -> int:
    """Connections of a layer: what feeds each unit, its bias included, over all units; a frame or a scale has none."""
    units = int(np.prod(layer.output.shape[1:]))
    if isinstance(layer, layers.Subsampling):
        return units * (2 * 2 + 1)
    if isinstance(layer, layers.RadialBasis):
        return units * int(layer.input.shape[-1])
    maps = layer.output.shape[-1]
    return layer.count_params() * units // maps  # weights are shared over positions, and there are units / maps of them


def test_lenet5_1998_sees_32_by_32_from_minus_0_1_to_1_175(lenet_1998: keras.Model) -> None:
    before_c1 = keras.Model(lenet_1998.inputs, lenet_1998.get_layer("C1").input)
    picture = np.zeros((1, 28, 28), dtype="uint8")
    picture[0, 0, 0] = 255
    seen = np.asarray(before_c1([picture]))
    assert seen.shape == (1, 32, 32, 1)
    assert seen[0, 2, 2, 0] == pytest.approx(1.175)
    assert seen[0, 0, 0, 0] == seen[0, 10, 10, 0] == pytest.approx(-0.1)


def test_distortion_is_off_outside_training_and_new_in_every_call() -> None:
    pictures = RANDOM.uniform(0, 255, size=(4, 28, 28, 1)).astype("float32")
    layer = augmentation.AffineDistortion(seed=1)
    np.testing.assert_array_equal(layer(pictures, training=False), pictures)
    first, second = np.asarray(layer(pictures, training=True)), np.asarray(layer(pictures, training=True))
    assert not np.allclose(first, pictures)
    assert not np.allclose(first, second)
    np.testing.assert_array_equal(augmentation.AffineDistortion(seed=1)(pictures, training=True), first)


def moments(pictures: Any) -> Any:
    """Centre of mass and second moments (xx, xy, yy) of each picture."""
    weights = np.asarray(pictures)[..., 0] / np.asarray(pictures)[..., 0].sum(axis=(1, 2), keepdims=True)
    y, x = np.mgrid[:28, :28]
    cx, cy = (weights * x).sum(axis=(1, 2)), (weights * y).sum(axis=(1, 2))
    dx, dy = x - cx[:, None, None], y - cy[:, None, None]
    second = [(weights * product).sum(axis=(1, 2)) for product in (dx * dx, dx * dy, dy * dy)]
    return np.stack([cx, cy, *second], axis=1)


@pytest.mark.parametrize("kind", ["translation", "scaling", "squeezing", "shearing"])
def test_each_distortion_changes_what_it_is_named_after_within_its_limit(kind: str) -> None:
    y, x = np.mgrid[:28, :28]
    blob = np.exp(-((x - 13.5) ** 2 + (y - 13.5) ** 2) / 18)[None, :, :, None].repeat(200, axis=0).astype("float32")
    amounts: dict[str, Any] = {"translation": 0.0, "scaling": 0.0, "squeezing": 0.0, "shearing": 0.0}
    limit = 2.0 if kind == "translation" else 0.2
    distorted = augmentation.AffineDistortion(**amounts | {kind: limit}, seed=0)(blob, training=True)
    moved, before = moments(distorted), moments(blob)
    shift = np.abs(moved - before)[:, :2]
    width, slant, height = (moved[:, column] for column in (2, 3, 4))
    variance = before[0, 2]
    if kind == "translation":
        assert 1.8 < shift.max() <= 2.05
        np.testing.assert_allclose(width, variance, atol=0.26)  # bilinear interpolation blurs by at most a quarter
        return
    assert shift.max() < 0.05
    if kind == "scaling":
        np.testing.assert_allclose(width, height, rtol=0.02)
        assert 1.3 < (width / variance).max() < 1.2**2 * 1.03
        assert 1 / 1.2**2 * 0.97 < (width / variance).min() < 0.75
    elif kind == "squeezing":
        np.testing.assert_allclose(width * height, variance**2, rtol=0.06)  # the same blur, twice
        assert 1.15 < (width / variance).max() < 1.2 * 1.03
    else:
        np.testing.assert_allclose(height, variance, rtol=0.03)
        assert 0.15 < (np.abs(slant) / variance).max() < 0.21


@pytest.mark.parametrize("variant", ["1998", "modern"])
def test_lenet5_survives_saving(variant: str, mnist: RawData, tmp_path: Any) -> None:
    app, data = load_app("lenet5"), few(mnist)
    model = app.build_model(app.settings(variant=variant, distortions=True), data)  # type: ignore[call-arg]
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", compile=False)
    np.testing.assert_array_equal(again.predict(data.test[0], verbose=0), model.predict(data.test[0], verbose=0))
