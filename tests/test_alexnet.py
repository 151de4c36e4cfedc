"""AlexNet against the paper's own counts, shapes and formulas, and its way to new classes."""

import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from apps import alexnet
from apps.alexnet import Settings as AlexNet
from common import tasks, tracking, training
from common.config import Config, changed, data_of
from common.data import Array, Data, RawData
from common.errors import UserError
from common.nn import augmentation, gradients, layers, optimizers
from tests.conftest import assert_user_error, few, run_app

RANDOM = np.random.default_rng(0)
SMALL = {"image_size": 25, "width": 0.02, "groups": 2, "crops": 1}
"""A network that trains in a second."""


def photographs(classes: int) -> Data:
    """A few pictures of noise, as photographs are at the paper's size."""
    pair = RANDOM.integers(0, 256, (3, 256, 256, 3), dtype=np.uint8), np.arange(3, dtype=np.int32)
    return Data("photographs", "", pair, pair, pair, tuple(map(str, range(classes))), kind="image")


@pytest.fixture(scope="module", params=[(1, False, 62_378_344), (2, False, 60_965_224), (2, True, 60_965_224)])
def full_size(request: pytest.FixtureRequest) -> tuple[keras.Model, int]:
    """The paper's network, in one tower, in two, and in two that devices can divide; and its number of parameters."""
    groups, model_parallel, parameters = request.param
    config = AlexNet(images="folder", groups=groups, backend="jax", model_parallel=model_parallel)
    return alexnet.build_model(config, photographs(1000)), parameters


def test_the_network_for_photographs_is_the_papers(full_size: tuple[keras.Model, int]) -> None:
    model, parameters = full_size
    assert model.count_params() == parameters
    shapes = {
        "crops": (227, 227, 3),
        "conv1": (55, 55, 96),
        "pool1": (27, 27, 96),
        "conv2": (27, 27, 256),
        "pool2": (13, 13, 256),
        "conv3": (13, 13, 384),
        "conv4": (13, 13, 384),
        "conv5": (13, 13, 256),
        "pool5": (6, 6, 256),
        "dense6": (4096,),
        "dense7": (4096,),
        "output": (1000,),
    }
    assert {name: model.get_layer(name).output.shape[1:] for name in shapes} == shapes


def test_initial_weights_and_biases_are_the_papers(full_size: tuple[keras.Model, int]) -> None:
    model, _ = full_size
    ones = set()
    for layer in model.layers:
        if layer.weights:
            kernel, bias = layer.get_weights()
            assert kernel.std() == pytest.approx(0.01, rel=0.02)
            assert abs(kernel.mean()) < 2e-4
            assert set(np.unique(bias)) in ({0.0}, {1.0})
            if bias[0] == 1:
                ones.add(layer.name.split("_")[0])
    assert ones == {"conv2", "conv4", "conv5", "dense6", "dense7"}


@pytest.mark.parametrize(("size", "shape"), [(15, (15, 15)), (25, (25, 25)), (28, (28, 28)), (96, (48, 48))])
def test_small_pictures_keep_enough_of_themselves_for_three_poolings(size: int, shape: tuple[int, int]) -> None:
    pair = np.zeros((2, 28, 28), np.uint8), np.array([0, 1], np.int32)
    config = AlexNet(image_size=size, width=0.05)
    model = alexnet.build_model(config, Data("n", "", pair, pair, pair, ("a", "b"), kind="image"))
    assert model.get_layer("conv1").output.shape[1:3] == shape
    assert min(model.get_layer("pool5").output.shape[1:3]) >= 1
    assert model(pair[0]).shape == (2, 2)


def test_settings_not_given_suit_the_data_and_are_the_papers_for_photographs() -> None:
    small, photos = AlexNet(), AlexNet(images="folder")
    assert (small.image_size, small.width, small.side) == (25, 0.25, 28)
    assert (small.groups, small.dropout, small.batch_size, small.validation) == (1, 0.3, 64, 0.05)
    assert (small.optimizer, small.learning_rate, small.schedule) == ("adam", 0.0005, "cosine")
    assert (photos.image_size, photos.width, photos.side) == (227, 1, 256)
    assert (photos.groups, photos.dropout, photos.batch_size, photos.validation) == (2, 0.5, 128, 0.1)
    assert (photos.optimizer, photos.learning_rate, photos.schedule) == ("momentum", 0.01, "plateau")
    reduced = AlexNet(images="folder", image_size=63)  # its weights would hardly change as the paper trains them
    assert (reduced.width, reduced.groups, reduced.optimizer, reduced.learning_rate) == (1, 1, "adam", 0.0005)
    assert AlexNet(schedule="plateau").schedule == "plateau"
    assert AlexNet(dropout=0.0).dropout == 0
    assert AlexNet(optimizer="momentum").learning_rate == 0.01
    assert AlexNet(image_size=227, optimizer="adam").learning_rate == 0.0005
    assert AlexNet.from_dict(dataclasses.asdict(photos)) == photos
    assert changed(small) == {}
    assert changed(photos) == {"images": "folder"}
    assert changed(AlexNet(images="folder", image_size=25)) == {"images": "folder", "image_size": 25}
    for setting, value in {"image_size": 14, "width": -1.0}.items():
        with pytest.raises(UserError, match=f"`{setting}`"):
            AlexNet(**{setting: value})  # type: ignore[arg-type]


def test_only_the_folder_names_the_data() -> None:
    """The command of a search that `train` prints has these flags; the app itself chose the schedule and dropout."""
    assert data_of(AlexNet()) == {}
    assert data_of(AlexNet(images="folder", init_from="run")) == {"images": "folder"}


def test_local_response_normalisation_is_the_papers_formula() -> None:
    n, k, alpha, beta = 5, 2.0, 1e-4, 0.75
    a = RANDOM.normal(0, 60, (2, 3, 4, 12)).astype("float32")
    expected = np.empty_like(a, dtype=np.float64)
    maps = a.shape[-1]
    for i in range(maps):
        j = np.arange(max(0, i - n // 2), min(maps - 1, i + n // 2) + 1)
        expected[..., i] = a[..., i] / (k + alpha * (a[..., j].astype(np.float64) ** 2).sum(axis=-1)) ** beta
    assert (abs(expected) < 0.9 * abs(a) / k**beta).any()  # the neighbours count
    np.testing.assert_allclose(layers.LocalResponseNormalization()(a), expected, rtol=1e-6)


@pytest.mark.parametrize("beta", [0.75, 0.5])
def test_the_gradient_of_local_response_normalisation_is_its_difference_quotient(beta: float) -> None:
    inputs = keras.Input((1, 1, 6), dtype="float64")
    normalised = layers.LocalResponseNormalization(alpha=0.01, beta=beta, dtype="float64")(inputs)
    network = keras.Model([inputs], keras.layers.Flatten(dtype="float64")(normalised))
    a, chosen, step = RANDOM.normal(0, 10, (6, 1, 1, 6)), np.arange(6), 1e-4
    gradient = gradients.by_input(network, a, chosen)
    for one in range(6):
        moved = step * np.eye(6)[one]
        quotient = (np.asarray(network([a + moved])) - np.asarray(network([a - moved])))[chosen, chosen] / (2 * step)
        np.testing.assert_allclose(gradient[:, 0, 0, one], quotient, rtol=1e-5, atol=1e-9)


def test_a_convolution_in_towers_is_keras_s_with_groups() -> None:
    maps = RANDOM.normal(size=(2, 5, 6, 4)).astype("float32")
    for options in ({"padding": "same"}, {"strides": 2}, {"dilation_rate": 2, "activation": "relu"}):
        towers = layers.TowerConv2D(6, 2, groups=2, **options)
        usual = keras.layers.Conv2D(6, 2, groups=2, **options)
        expected = np.asarray(usual(maps))
        towers.build(maps.shape)
        towers.set_weights(usual.get_weights())
        np.testing.assert_allclose(towers(maps), expected, atol=1e-5)


def test_the_colour_shift_is_the_papers_formula() -> None:
    pixels = RANDOM.uniform(0, 1, (500, 3)) @ RANDOM.normal(size=(3, 3))
    covariance = np.cov(pixels.T)
    layer = augmentation.ColourShift(covariance, deviation=0.1, scale=255, seed=3)
    pictures = RANDOM.uniform(0, 255, (4000, 2, 2, 3)).astype("float32")
    shift = np.asarray(layer(pictures, training=True)) - pictures
    np.testing.assert_allclose(shift, shift[:, :1, :1].repeat(2, 1).repeat(2, 2), atol=1e-3)  # alike over a picture
    eigenvalues, eigenvectors = np.linalg.eigh(covariance)
    draws = shift[:, 0, 0] @ eigenvectors / eigenvalues / 255  # the paper's alphas
    np.testing.assert_allclose(draws.std(axis=0), 0.1, rtol=0.05)
    np.testing.assert_allclose(np.corrcoef(draws.T), np.eye(3), atol=0.06)
    same = keras.random.normal((4000, 3), stddev=0.1, seed=keras.random.SeedGenerator(3))
    expected = 255 * (np.asarray(same) * eigenvalues) @ eigenvectors.T
    np.testing.assert_allclose(shift[:, 0, 0], expected, atol=1e-3)
    np.testing.assert_array_equal(layer(pictures, training=False), pictures)


def test_training_patches_are_cut_anywhere_and_half_of_them_mirrored() -> None:
    pictures = RANDOM.uniform(0, 255, (400, 6, 7, 2)).astype("float32")
    patches = np.asarray(augmentation.Crops(4, seed=0)(pictures, training=True))
    seen: dict[tuple[int, int, bool], int] = {}
    for picture, patch in zip(pictures, patches, strict=True):
        for top, left, mirrored in np.ndindex(3, 4, 2):
            cut = picture[top : top + 4, left : left + 4]
            if np.array_equal(patch, cut[:, ::-1] if mirrored else cut):
                seen[top, left, bool(mirrored)] = seen.get((top, left, bool(mirrored)), 0) + 1
    assert sum(seen.values()) == 400
    assert len(seen) == 24
    assert 0.4 < sum(count for (_, _, mirrored), count in seen.items() if mirrored) / 400 < 0.6


def test_evaluation_averages_the_corners_and_the_centre_both_ways() -> None:
    pictures = RANDOM.uniform(0, 1, (3, 6, 8, 2)).astype("float32")
    crops = augmentation.Crops(4)
    weights = RANDOM.normal(size=(4 * 4 * 2, 5)).astype("float32")

    def network(patches: Array) -> Array:
        return np.exp(np.asarray(patches).reshape(len(patches), -1) @ weights)

    expected = np.zeros((3, 5))
    for top, left in ((0, 0), (0, 4), (2, 0), (2, 4), (1, 2)):
        patch = pictures[:, top : top + 4, left : left + 4]
        expected += (network(patch) + network(patch[:, :, ::-1])) / 10
    assert crops.patches == 10
    np.testing.assert_allclose(augmentation.CropMean(10)(network(crops(pictures))), expected, rtol=1e-5)
    centre = augmentation.Crops(4, corners=False)(pictures)
    np.testing.assert_array_equal(centre, pictures[:, 1:5, 2:6])
    assert augmentation.Crops(4, reflections=False).patches == 5


def test_a_step_is_the_papers_momentum_with_weight_decay() -> None:
    config = AlexNet(images="folder", weight_decay=0.1)
    unit = keras.layers.Dense(1, use_bias=False, kernel_regularizer=alexnet.initial(config)["kernel_regularizer"])
    model = keras.Sequential([keras.Input((1,)), unit])
    model.compile(optimizers.build(config, photographs(2)), "mse")
    unit.set_weights([np.array([[2.0]])])
    weight, velocity = 2.0, 0.0
    for _ in range(3):
        model.train_on_batch(np.array([[1.0]]), np.array([[5.0]]))
        gradient = 2 * (weight - 5)
        velocity = 0.9 * velocity - 0.1 * 0.01 * weight - 0.01 * gradient
        weight += velocity
        assert float(unit.kernel[0, 0]) == pytest.approx(weight, rel=1e-6)


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
def test_an_optimizer_that_rescales_gradients_takes_the_weight_decay_off_itself(optimizer: Any) -> None:
    """In the loss, it would be rescaled with the gradient."""
    config = AlexNet(width=0.02, crops=1, weight_decay=0.1, optimizer=optimizer)
    pair = np.zeros((2, 28, 28), np.uint8), np.array([0, 1], np.int32)
    model = alexnet.build_model(config, Data("n", "", pair, pair, pair, ("a", "b"), kind="image"))
    assert model.optimizer.weight_decay == 0.1
    assert not model.losses


def test_the_rate_is_divided_by_ten_when_validation_stops_improving() -> None:
    x, y = np.ones((8, 1), "float32"), np.ones((8, 1), "float32")
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    config = Config(schedule="plateau", decay=0.1, patience=6, epochs=9, learning_rate=1e-9, optimizer="sgd")
    data = Data("n", "", (x, y), (x, -y), (x, y), kind="vector")
    model.compile(optimizers.build(config, data), "mse")
    rates = training.fit(model, data, config, tasks.Regression())["learning_rate"]
    np.testing.assert_allclose(rates, [1e-9] * 4 + [1e-10] * 3, rtol=1e-4)


def test_towers_see_only_their_own_half_of_the_maps(mnist: RawData) -> None:
    model = alexnet.build_model(AlexNet(**SMALL), few(mnist))  # type: ignore[arg-type]
    tower = keras.Model(model.get_layer("pool1").output, model.get_layer("conv2").output)
    maps = RANDOM.normal(size=(1, *model.get_layer("pool1").output.shape[1:])).astype("float32")
    other = maps.copy()
    other[..., maps.shape[-1] // 2 :] += 50
    before, after = np.asarray(tower(maps)), np.asarray(tower(other))
    half = before.shape[-1] // 2
    np.testing.assert_array_equal(before[..., :half], after[..., :half])
    assert not np.allclose(before[..., half:], after[..., half:])


@pytest.mark.parametrize("groups", [1, 2])
def test_alexnet_survives_saving(groups: int, mnist: RawData, tmp_path: Path) -> None:
    data = few(mnist)
    model = alexnet.build_model(AlexNet(width=0.05, groups=groups), data)  # type: ignore[arg-type]
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", compile=False)
    np.testing.assert_array_equal(again.predict(data.test[0], verbose=0), model.predict(data.test[0], verbose=0))


@pytest.mark.usefixtures("store")
def test_fine_tuning_keeps_the_features_and_replaces_the_classifier(mnist: RawData) -> None:
    small = dataclasses.replace(alexnet.app, load_data=lambda _config: few(mnist))
    first = training.train(small, AlexNet(**SMALL, epochs=1, data="mnist"))  # type: ignore[arg-type]
    assert first.run_id
    saved = tracking.load("alexnet", first.run_id)
    start = saved.model
    three = dataclasses.replace(few(mnist), outputs=("a", "b", "c"))
    three = dataclasses.replace(three, train=(three.train[0] // 2, three.train[1] % 3))
    three = dataclasses.replace(three, validation=(three.validation[0], three.validation[1] % 3))
    settings = {**SMALL, "init_from": first.run_id, "epochs": 1, "learning_rate": 0.05}

    def weights(model: keras.Model, name: str) -> Array:
        return np.asarray(model.get_layer(name).get_weights()[0])

    for freeze in ("features", "none"):
        config = AlexNet(**settings, freeze=freeze)  # type: ignore[arg-type]
        model = alexnet.fine_tune(saved, config, three)
        assert model.output.shape == (None, 3)
        for name in ("conv1", "conv2_tower1", "conv5_tower2", "dense6", "dense7"):
            np.testing.assert_array_equal(weights(model, name), weights(start, name))
        assert model.get_layer("centred").get_config()["mean"] == start.get_layer("centred").get_config()["mean"]
        training.fit(model, three, config, alexnet.app.task)
        for name in ("conv1", "conv2_tower1", "conv5_tower2"):
            assert np.array_equal(weights(model, name), weights(start, name)) == (freeze == "features")
        assert not np.array_equal(weights(model, "dense7"), weights(start, "dense7"))
    other = AlexNet(**settings | {"width": 0.04})  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"`init_from` .* `image_size` 25, `width` 0\.02, `groups` 2$"):
        alexnet.fine_tune(saved, other, three)
    divided = AlexNet(**settings, backend="jax", model_parallel=True)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="`groups` 2, without `model_parallel`"):
        alexnet.fine_tune(saved, divided, three)


def test_devices_divide_the_towers_in_pairs() -> None:
    assert alexnet.layout(AlexNet(), ["gpu:0", "gpu:1", "gpu:2"]) is None
    with pytest.raises(UserError, match="`devices` 3: `model_parallel` needs an even number"):
        alexnet.layout(AlexNet(backend="jax", groups=2, model_parallel=True), ["gpu:0", "gpu:1", "gpu:2"])


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--init-from", "no/such/model"], ["--init-from no/such/model", "no"]),
        (["--freeze", "features"], ["--freeze", "--init-from"]),
        (["--images", "no/such/folder"], ["--images no/such/folder", "no such folder"]),
        (["--image-size", "3"], ["--image-size", "at least 15"]),
        (["--model-parallel"], ["--model-parallel needs --groups 2 and --backend jax"]),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], words: list[str]) -> None:
    assert_user_error(run_app("alexnet", "train", *arguments), *words)
