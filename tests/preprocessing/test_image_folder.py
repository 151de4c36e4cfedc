"""Photographs in a folder per class: streamed, split, and what is wrong among them named."""

import struct
import tracemalloc
import zlib
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from common import tasks, training
from common.config import Config
from common.data import Data
from common.errors import UserError
from common.preprocessing import arrays, image_files, images
from common.preprocessing.arrays import PREDICTION_BATCH
from tests.conftest import Trained, assert_user_error, train_once

COLOURS = {"red": (200, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 200)}


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty noisy pictures of each of three colours, of several sizes and formats."""
    root, random = tmp_path_factory.mktemp("pictures") / "colours", np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (root / name).mkdir(parents=True)
        for index in range(30):
            size = (40 + index, 60, 3) if index % 2 else (60, 40 + index, 3)
            noise = random.normal(colour, 20, size).clip(0, 255).astype(np.uint8)
            Image.fromarray(noise).save(root / name / f"{index}.{('jpg', 'png', 'webp')[index % 3]}")
    return root


def zip_bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says that it has so many pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


def test_parts_are_stratified_disjoint_complete_and_the_test_part_is_the_same_for_every_seed(photographs: Path) -> None:
    data = images.load_folder(str(photographs), 32, 0.2, seed=0)
    assert data.name == "colours"
    assert data.outputs == ("blue", "green", "red")
    parts = [data.train, data.validation, data.test]
    assert [len(part[1]) for part in parts] == [54, 18, 18]
    files = [file for pictures, _ in parts for file in pictures.files]
    assert len(set(files)) == 90
    for pictures, labels in parts:
        assert [data.outputs[label] for label in labels] == [file.parent.name for file in pictures.files]
        assert len(set(np.bincount(labels))) == 1
    other = images.load_folder(str(photographs), 32, 0.2, seed=1)
    assert other.test[0].files == data.test[0].files
    assert set(other.train[0].files) != set(data.train[0].files)
    assert other.digest == data.digest


def test_pictures_are_read_when_they_are_indexed_as_an_array_would_be(photographs: Path) -> None:
    pictures = images.load_folder(str(photographs), 32, 0.2, seed=0).train[0]
    whole = pictures[:]
    assert (pictures.shape, pictures.dtype, pictures.ndim) == (whole.shape, whole.dtype, whole.ndim)
    assert pictures.nbytes == whole.nbytes
    for indices in (3, slice(1, 4), np.array([5, 2, 5]), slice(0, 0)):
        np.testing.assert_array_equal(pictures[indices], whole[indices])
    red = whole[[file.parent.name == "red" for file in pictures.files]]
    np.testing.assert_allclose(red.mean(axis=(0, 1, 2)), COLOURS["red"], atol=4)


def test_the_shorter_side_is_scaled_and_the_middle_of_the_longer_kept(tmp_path: Path) -> None:
    picture = np.zeros((20, 60, 3), np.uint8)
    picture[:, :20], picture[:, 20:40], picture[:, 40:] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    Image.fromarray(picture).save(tmp_path / "a.png")
    middle = image_files.decode(tmp_path / "a.png", 10)[:, 1:-1]  # interpolation looks one pixel over the edge
    np.testing.assert_array_equal(middle, np.broadcast_to(np.array([0, 255, 0], np.uint8), (10, 8, 3)))
    Image.fromarray(picture[:, :, 1]).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(image_files.decode(tmp_path / "grey.png", 10)[:, 1:-1], np.full((10, 8, 3), 255))
    Image.new("RGBA", (20, 20), (9, 9, 9, 0)).save(tmp_path / "clear.png")
    np.testing.assert_array_equal(image_files.decode(tmp_path / "clear.png", 10), np.full((10, 10, 3), 255))


def test_colour_statistics_are_numpys(photographs: Path) -> None:
    pictures = images.load_folder(str(photographs), 16, 0.2, seed=0).train[0]
    for examples, pixels in ((pictures, pictures[:].reshape(-1, 3)), (pictures[:], pictures[:].reshape(-1, 3))):
        mean, covariance = images.colour_statistics(examples)
        np.testing.assert_allclose(mean, pixels.mean(axis=0), rtol=1e-9)
        np.testing.assert_allclose(covariance, np.cov(pixels.T / 255, bias=True), rtol=1e-6)
    grey = pictures[:][..., 0]
    mean, covariance = images.colour_statistics(grey)
    np.testing.assert_allclose(mean, [grey.mean()] * 3)
    np.testing.assert_allclose(covariance, np.full((3, 3), grey.var() / 255**2))


def test_damaged_files_and_zip_bombs_are_named_counted_and_left_out(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "red").symlink_to(photographs / "red")
    blue = tmp_path / "blue"
    blue.mkdir()
    for file in (photographs / "blue").iterdir():
        (blue / file.name).write_bytes(file.read_bytes())
    (blue / "half.png").write_bytes((photographs / "blue" / "1.png").read_bytes()[:900])
    (blue / "half.jpg").write_bytes((photographs / "blue" / "0.jpg").read_bytes()[:900])
    (blue / "empty.png").write_bytes(b"")
    (blue / "letter.jpg").write_text("Dear network")
    (blue / "bomb.png").write_bytes(zip_bomb(60_000, 60_000))
    (blue / "large.png").write_bytes(zip_bomb(11_000, 10_000))
    (blue / "notes.txt").write_text("not meant as a picture")
    bad = ("half.png", "half.jpg", "empty.png", "letter.jpg", "bomb.png", "large.png")
    tracemalloc.start()
    data = images.load_folder(str(tmp_path), 32, 0.2, seed=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6
    assert sum(len(part[1]) for part in (data.train, data.validation, data.test)) == 60
    errors = capsys.readouterr().err.splitlines()
    assert errors[-1] == "6 images skipped"
    assert len(errors) == 7
    for name in bad:
        assert sum(f"/{name}: skipped" in line for line in errors) == 1


@pytest.mark.parametrize(
    ("folders", "words"),
    [
        ([], "0 folders"),
        (["only"], "1 folders"),
        (["a", "b"], "too few"),
    ],
)
def test_a_folder_with_too_little_in_it_is_named(folders: list[str], words: str, tmp_path: Path) -> None:
    for name in folders:
        (tmp_path / name).mkdir()
        Image.new("RGB", (9, 9)).save(tmp_path / name / "a.png")
    with pytest.raises(UserError, match=f"{tmp_path.name}.*: .*{words}"):
        images.load_folder(str(tmp_path), 32, 0.2, seed=0)


def test_fit_streams_the_pictures_in_the_order_of_the_arrays_and_gives_the_same_network(photographs: Path) -> None:
    data = images.load_folder(str(photographs), 8, 0.2, seed=0)

    train, validation, test = ((pictures[:], labels) for pictures, labels in (data.train, data.validation, data.test))
    arrays = Data("n", "", train, validation, test, kind="image")
    config, weights, histories, predictions = Config(epochs=3, batch_size=16), [], [], []
    for source in (data, arrays):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((8, 8, 3), dtype="uint8"), keras.layers.Rescaling(1 / 255)])
        model.add(keras.layers.Flatten())
        model.add(keras.layers.Dense(3, "softmax"))
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        histories.append(training.fit(model, source, config, tasks.Classification()).history)
        weights.append(np.concatenate([np.ravel(weight) for weight in model.get_weights()]))
        predictions.append(training.predict(model, source.test[0]))
    np.testing.assert_allclose(weights[0], weights[1], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(histories[0]["val_loss"], histories[1]["val_loss"], rtol=1e-5)
    np.testing.assert_allclose(predictions[0], predictions[1], rtol=1e-5)
    assert predictions[0].shape == (18, 3)


def test_large_examples_are_evaluated_a_few_at_a_time() -> None:
    photos = image_files.ImageFiles((Path("a.jpg"),) * 10, 256)
    assert arrays.prediction_batch(photos) == 21
    assert arrays.prediction_batch(np.zeros((9, 28, 28), np.uint8)) == PREDICTION_BATCH


@pytest.fixture(scope="module")
def trained_on_photographs(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    size = ("--images", str(photographs), "--image-size", "28", "--width", "0.05")
    pace = ("--epochs", "3", "--batch-size", "8", "--learning-rate", "0.003")
    return train_once("alexnet", tmp_path_factory.mktemp("photographs"), *size, *pace)


def test_a_network_is_trained_evaluated_and_asked_on_photographs(
    trained_on_photographs: Trained, photographs: Path
) -> None:
    assert trained_on_photographs.errors == ""
    assert "alexnet-colours version 1" in trained_on_photographs.output
    measured = next(line for line in trained_on_photographs.output.splitlines() if line.startswith("test accuracy"))
    assert " ".join(measured.split()) in " ".join(trained_on_photographs("evaluate").stdout.split())
    answer = trained_on_photographs("predict", str(photographs / "red"), str(photographs / "blue" / "3.jpg"))
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.count("/red/") == 30
    assert trained_on_photographs("baseline", "--images", str(photographs)).returncode == 0
    letter = photographs.parent / "letter.png"
    letter.write_text("Dear network")
    assert_user_error(trained_on_photographs("predict", str(letter)), "letter.png", "not an image")
    assert_user_error(trained_on_photographs("predict", "nothing.png"), "nothing.png", "no such file")
