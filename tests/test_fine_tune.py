"""Transfer learning: EfficientNet-Lite0 against PyTorch's counts and answers, its reader, the head, and the app."""

import io
import pickle
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image, ImageDraw
from sklearn.datasets import load_sample_images

from apps import fine_tune
from common import layer_names
from common.data import Array, Data, RawData
from common.errors import UserError
from common.nn import backbones, linear
from common.preprocessing import image_decoding, image_files, pretrained, splits
from tests.conftest import Trained, assert_user_error, run_app, train_once

RANDOM = np.random.default_rng(0)


@pytest.fixture(scope="module")
def weights() -> dict[str, Array]:
    """The published weights, with PyTorch's names."""
    return dict(pretrained.efficientnet_lite0())


@pytest.fixture(scope="module")
def network(weights: dict[str, Array]) -> keras.Model:
    """EfficientNet-Lite0 with its classifier of the thousand classes of ImageNet."""
    inputs = keras.Input((None, None, 3))
    maps = backbones.apply("EfficientNetLite0", inputs)
    classifier = keras.layers.Dense(1000, "softmax")
    model = keras.Model(inputs, classifier(keras.layers.GlobalAveragePooling2D()(maps)))
    classifier.set_weights([weights["_fc.weight"].T, weights["_fc.bias"]])
    return model


def test_the_network_has_the_published_number_of_parameters_and_shapes(network: keras.Model) -> None:
    assert sum(int(np.prod(weight.shape)) for weight in network.trainable_weights) == 4_652_008
    shapes = {"bn0_relu6": (112, 32), "block2_add": (56, 24), "block10_add": (14, 112), "bn1_relu6": (7, 1280)}
    found = keras.Model(network.input, [network.get_layer(name).output for name in shapes])
    outputs = found.compute_output_spec(keras.KerasTensor((1, 224, 224, 3)))
    assert [output.shape[2:] for output in outputs] == list(shapes.values())


def test_photographs_are_recognised(network: keras.Model) -> None:
    """The Summer Palace, and a dahlia, for which ImageNet has no class: its nearest is the daisy."""
    files = [io.BytesIO() for _ in range(2)]
    for image, file in zip(load_sample_images().images, files, strict=True):
        Image.fromarray(image).save(file, "PNG")
    answers = network.predict_on_batch(np.stack([image_decoding.decode(file, 224) for file in files]).astype("float32"))
    palace, daisy = 698, 985
    assert list(answers.argmax(axis=1)) == [palace, daisy]


@pytest.mark.slow
def test_the_network_is_the_one_of_pytorch(network: keras.Model, weights: dict[str, Array]) -> None:
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    tensors = {name: torch.tensor(np.array(array)) for name, array in weights.items()}

    def convolve(x: Any, name: str, stride: int = 1, relu: bool = True, bn: str = "") -> Any:
        kernel = tensors[f"{name}.weight"]
        lost = max(kernel.shape[-1] - (stride if x.shape[-1] % stride == 0 else x.shape[-1] % stride), 0)
        x = functional.pad(x, (lost // 2, lost - lost // 2) * 2)
        x = functional.conv2d(x, kernel, stride=stride, groups=x.shape[1] // kernel.shape[1])
        parts = [tensors[f"{bn}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        x = functional.batch_norm(x, *parts, eps=1e-3)
        return functional.relu6(x) if relu else x

    pixels = RANDOM.uniform(0, 255, (2, 224, 224, 3)).astype("float32")
    x = convolve(torch.tensor((pixels - 127) / 128).permute(0, 3, 1, 2), "_conv_stem", 2, bn="_bn0")
    strides = iter(
        stride if index == 0 else 1 for repeats, _, stride, *_ in backbones.BLOCKS for index in range(repeats)
    )
    for number, stride in enumerate(strides):
        block, before = f"_blocks.{number}.", x
        if f"{block}_expand_conv.weight" in tensors:
            x = convolve(x, f"{block}_expand_conv", bn=f"{block}_bn0")
        x = convolve(x, f"{block}_depthwise_conv", stride, bn=f"{block}_bn1")
        x = convolve(x, f"{block}_project_conv", relu=False, bn=f"{block}_bn2")
        x = x + before if x.shape == before.shape else x
    x = convolve(x, "_conv_head", bn="_bn1").mean(dim=(2, 3))
    expected = functional.softmax(functional.linear(x, tensors["_fc.weight"], tensors["_fc.bias"]), dim=1)
    np.testing.assert_allclose(network.predict_on_batch(pixels), expected.numpy(), rtol=1e-4, atol=1e-7)


STORAGE = object()
"""The one storage of a file."""


class Fake:
    """Pickled as a name of PyTorch, or of any other module, that is called with arguments."""

    def __init__(self, module: str, name: str, *arguments: Any) -> None:
        self.module, self.name, self.arguments = module, name, arguments


PICKLER: Any = vars(pickle)["_Pickler"]
"""The pickler in Python, whose `save` can be overridden."""


class FakePickler(PICKLER):
    """Writes `Fake` as a call, without its module."""

    def save(self, value: Any, save_persistent_id: bool = True) -> None:
        if not isinstance(value, Fake):
            super().save(value, save_persistent_id)
            return
        self.write(f"c{value.module}\n{value.name}\n".encode())
        if value.arguments:
            super().save(value.arguments)
            self.write(pickle.REDUCE)

    def persistent_id(self, value: Any) -> Any:
        return ("storage", Fake("torch", "FloatStorage"), "0", "cpu", 6, None) if value is STORAGE else None


def saved(tensors: dict[str, Any], numbers: Array) -> bytes:
    """A file as `torch.save` wrote it before release 1.6."""
    file = io.BytesIO()
    for part in (*pretrained.HEADER, {"little_endian": True}):
        pickle.dump(part, file, 2)
    FakePickler(file, 2).dump(tensors)
    pickle.dump(["0"], file, 2)
    return file.getvalue() + np.int64(len(numbers)).tobytes() + numbers.astype("<f4").tobytes()


def tensor(offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> Fake:
    return Fake("torch._utils", "_rebuild_tensor_v2", STORAGE, offset, shape, strides, False, {})


def test_tensors_are_views_of_their_storage() -> None:
    numbers = np.arange(6)
    found = pretrained.read_arrays(saved({"a": tensor(0, (2, 3), (3, 1)), "b": tensor(1, (2, 2), (1, 3))}, numbers))
    np.testing.assert_array_equal(found["a"], numbers.reshape(2, 3))
    np.testing.assert_array_equal(found["b"], [[1, 4], [2, 5]])


def test_a_file_that_would_run_code_is_refused_before_it_does(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    for call in (Fake("os", "system", f"touch {trace}"), Fake("builtins", "eval", f"open({str(trace)!r}, 'w')")):
        with pytest.raises(ValueError, match=r"it names (os\.system|builtins\.eval), which is not read"):
            pretrained.read_arrays(saved({"a": call}, np.arange(6)))
    assert not trace.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04 a newer file",
        saved({"a": tensor(0, (2, 3), (3, 1))}, np.arange(6))[:-8],
        saved({"a": tensor(0, (2, 4), (3, 1))}, np.arange(6)),
        saved({"a": tensor(0, (2, 3), (-3, 1))}, np.arange(6)),
        saved({"a": tensor(-1, (2, 3), (3, 1))}, np.arange(6)),
        saved({"a": 3}, np.arange(6)),
    ],
)
def test_a_damaged_or_foreign_file_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the words are pickle's or NumPy's
        pretrained.read_arrays(content)


def test_weights_of_another_network_or_none_are_an_error_of_one_line(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(saved({"_conv_stem.weight": tensor(0, (2, 3), (3, 1))}, np.arange(6)))
    (tmp_path / "x.pth").write_bytes(b"PK")
    for name, words in (
        ("w.pth", "not those of EfficientNetLite0"),
        ("x.pth", "x.pth: not weights in PyTorch's format"),
    ):
        assert_user_error(run_app("fine_tune", "train", "--weights", str(tmp_path / name)), words)
    for backbone in ("EfficientNetLite0", "MobileNetV3Small"):
        result = run_app("fine_tune", "train", "--backbone", backbone, "--weights", "no/such/file")
        assert_user_error(result, "no/such/file: no such file")


def test_a_network_of_keras_takes_its_weights_from_a_file_or_says_that_there_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = keras.applications.MobileNetV3Small(include_top=False, weights=None, input_shape=(32, 32, 3))
    body.save_weights(tmp_path / "w.weights.h5")
    inputs = keras.Input((32, 32, 3))
    maps = backbones.apply("MobileNetV3Small", keras.layers.Identity()(inputs), str(tmp_path / "w.weights.h5"))
    pixels = RANDOM.uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    np.testing.assert_allclose(keras.Model(inputs, maps)(pixels), body(pixels), rtol=1e-5)
    (tmp_path / "other.weights.h5").write_bytes(b"nothing")
    with pytest.raises(UserError, match="not those of MobileNetV3Small"):
        backbones.apply("MobileNetV3Small", inputs, str(tmp_path / "other.weights.h5"))

    def offline(**_options: Any) -> None:
        raise Exception("URL fetch failure on https://example.org")

    monkeypatch.setattr(keras.applications, "MobileNetV3Small", offline)
    result = run_app("fine_tune", "train", "--backbone", "MobileNetV3Small")
    assert_user_error(result, "--backbone MobileNetV3Small", "URL fetch failure", "--weights", "EfficientNetLite0")


def clouds(classes: int, each: int, distance: float = 4) -> tuple[Array, Array]:
    """Points around a centre for each class, with their labels."""
    labels = np.repeat(np.arange(classes), each)
    return (np.eye(classes, 5)[labels] * distance + RANDOM.normal(size=(len(labels), 5))).astype("float32"), labels


@pytest.mark.parametrize("classes", [2, 4])
def test_the_head_is_a_logistic_regression(classes: int) -> None:
    train, validation = clouds(classes, 50), clouds(classes, 50)
    kernel, bias, _ = linear.fit_softmax(train, validation, classes)
    assert kernel.shape == (5, classes)
    assert ((validation[0] @ kernel + bias).argmax(axis=1) == validation[1]).mean() > 0.9


def test_a_class_without_an_example_is_never_predicted_and_one_class_alone_is_no_error() -> None:
    inputs, labels = clouds(4, 50)
    some = np.isin(labels, [1, 3])
    kernel, bias, _ = linear.fit_softmax((inputs[some], labels[some]), (inputs, labels), 4)
    assert set((inputs @ kernel + bias).argmax(axis=1)) == {1, 3}
    kernel, bias, _ = linear.fit_softmax((inputs[:50], labels[:50]), (inputs, labels), 4)
    assert not kernel.any()
    assert not bias.any()


def test_balanced_classes_have_the_same_weight() -> None:
    inputs, labels = clouds(2, 400, distance=1)
    rare = np.concatenate([np.arange(400), np.arange(400, 410)])
    found = {}
    for balanced in (False, True):
        kernel, bias, _ = linear.fit_softmax((inputs[rare], labels[rare]), (inputs, labels), 2, balanced)
        found[balanced] = ((inputs @ kernel + bias).argmax(axis=1) == 1).mean()
    assert found[False] < 0.4 < found[True] < 0.6


def test_a_few_images_of_each_class_are_taken(mnist: RawData) -> None:
    data = splits.take_per_class(splits.split(mnist, 0.1, 0), 9, 0)
    assert set(np.bincount(data.train[1])) == {9}
    assert set(np.bincount(data.validation[1])) == {1}
    assert not np.array_equal(data.train[0], splits.take_per_class(splits.split(mnist, 0.1, 0), 9, 1).train[0])


def test_only_the_upper_layers_are_trained_and_no_statistics_change() -> None:
    inputs = keras.Input((32, 32, 3))
    model = keras.Model(inputs, backbones.efficientnet_lite0(inputs))
    backbones.freeze(model, 3)
    assert [layer.name for layer in model.layers if layer.trainable] == [
        "block15_depthwise_conv",
        "block15_project_conv",
        "conv_head",
    ]
    outer = keras.Model(inputs, keras.layers.Conv2D(2, 1, name="last")(model(inputs)))
    backbones.freeze(outer, 2)
    assert [weight.path.split("/")[-2] for weight in outer.trainable_weights] == ["conv_head", "last", "last"]


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of circles and squares of any colour, of any size and place."""
    folder = tmp_path_factory.mktemp("shapes")
    for kind in ("circle", "square"):
        (folder / kind).mkdir()
        for number in range(16):
            image = Image.new("RGB", (60, 48), tuple(RANDOM.integers(0, 100, 3)))
            x, y, side = RANDOM.integers(0, 12, 3)
            draw = ImageDraw.Draw(image)
            (draw.ellipse if kind == "circle" else draw.rectangle)(
                (x, y, x + side + 20, y + side + 20), fill=tuple(RANDOM.integers(150, 255, 3))
            )
            image.save(folder / kind / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def on_shapes(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The app, trained on them."""
    settings = ("--images", str(shapes), "--image-size", "64", "--validation", "0.2", "--reflections")
    return train_once("fine_tune", tmp_path_factory.mktemp("trained"), *settings)


@pytest.mark.slow
def test_a_folder_of_few_images_is_learned_in_an_epoch(on_shapes: Trained, shapes: Path) -> None:
    assert "head: logistic regression on the features of EfficientNetLite0 for 18 images" in on_shapes.output
    assert re.search(r"test accuracy +100\.00 %", on_shapes.output)
    result = on_shapes("predict", str(shapes / "circle"))
    assert result.returncode == 0, result.stderr
    assert result.stdout.count(" circle ") >= 14
    assert "dead ReLU" not in on_shapes.output


@pytest.mark.slow
def test_an_answer_on_a_photograph_is_explained(on_shapes: Trained, shapes: Path) -> None:
    result = on_shapes("explain", str(shapes / "circle" / "0.png"))
    assert result.returncode == 0, result.stderr


def test_the_head_is_fitted_before_the_first_epoch(shapes: Path) -> None:
    config = fine_tune.Settings(images=str(shapes), image_size=64, validation=0.2)
    data: Data = fine_tune.load_data(config)
    model = fine_tune.build_model(config, data)
    fine_tune.pretrain(model, config, data, None)
    assert isinstance(data.train[0], image_files.ImageFiles)
    answers = model.predict(data.test[0][:], verbose=0)
    assert (answers.argmax(axis=1) == data.test[1]).mean() > 0.8
    assert layer_names.OUTPUT in {layer.name for layer in model.layers}
