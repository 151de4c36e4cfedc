"""Photographs in a folder per class: streamed, split, and what is wrong among them named."""

import re
import shutil
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

from common import tasks, training
from common.config import Config
from common.data import Array, Data, PixelRange
from common.errors import UserError
from common.nn import augmentation
from common.preprocessing import arrays, image_decoding, image_files, image_folder, images, splits
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
    middle = image_decoding.decode(tmp_path / "a.png", 10)[:, 1:-1]  # interpolation looks one pixel over the edge
    np.testing.assert_array_equal(middle, np.broadcast_to(np.array([0, 255, 0], np.uint8), (10, 8, 3)))
    Image.fromarray(picture[:, :, 1]).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(image_decoding.decode(tmp_path / "grey.png", 10)[:, 1:-1], np.full((10, 8, 3), 255))
    Image.new("RGBA", (20, 20), (9, 9, 9, 0)).save(tmp_path / "clear.png")
    np.testing.assert_array_equal(image_decoding.decode(tmp_path / "clear.png", 10), np.full((10, 10, 3), 255))


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


def test_damaged_files_and_zip_bombs_are_named_counted_and_left_out(photographs: Path, tmp_path: Path) -> None:
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
    notes = data.description.notes
    assert len(notes) == 8
    assert notes[6] == "6 files skipped"
    assert "1 .txt" in notes[7]
    for name in bad:
        assert sum(f"/{name}: skipped, not an image that can be read (" in note for note in notes) == 1
    assert not any("_io." in note for note in notes)


def test_at_most_twenty_skipped_files_are_named(tmp_path: Path) -> None:
    fill(tmp_path, cats=5, dogs=5)
    for index in range(30):
        (tmp_path / "cats" / f"broken{index}.png").write_bytes(b"junk")
    notes = load(tmp_path).description.notes
    assert sum(": skipped, " in note for note in notes) == 20
    assert "30 files skipped, of which 20 are named" in notes


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
        Image.new("RGB", (9, 9), "red" if name == "a" else "blue").save(tmp_path / name / "a.png")
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
        histories.append(training.fit(model, source, config, tasks.Classification()))
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


def test_a_batch_for_prediction_counts_the_patches_of_each_image() -> None:
    inputs = keras.Input((32, 32, 3))
    crops = augmentation.Crops(28)
    model = keras.Model(inputs, crops(inputs))
    assert augmentation.patches(model) == 10
    images = np.zeros((600, 32, 32, 3), np.uint8)
    assert arrays.prediction_batch(images, augmentation.patches(model)) == PREDICTION_BATCH // 10
    assert augmentation.patches(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])) == 1


def test_images_are_decoded_once_where_they_fit_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts of a folder share the decoded images; without memory for them, each access reads the file."""
    fill(tmp_path, red=5, green=5)

    def second_epoch() -> Array:
        train, _ = image_folder.load_folder(str(tmp_path), 8, 0.2, 0).train
        first = train[:]
        assert (train.part(np.arange(2))[:] == first[:2]).all()
        decoded.clear()
        assert (train[::-1] == first[::-1]).all()
        return train

    decoded, decode = list[Path](), image_decoding.decode

    def counted(file: Path, *arguments: Any) -> Array:
        decoded.append(file)
        return decode(file, *arguments)

    monkeypatch.setattr("common.preprocessing.image_files.decode", counted)
    second_epoch()
    assert not decoded
    monkeypatch.setattr("common.preprocessing.image_files.CACHE_BYTES", 0)
    assert len(second_epoch()) == len(decoded)


def picture(seed: int, size: tuple[int, int] = (12, 12)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8))


def fill(root: Path, **classes: int) -> Path:
    """Write as many different images as each class has."""
    for number, (name, amount) in enumerate(classes.items()):
        (root / name).mkdir(parents=True, exist_ok=True)
        for index in range(amount):
            picture(1000 * number + index).save(root / name / f"{index:03}.png")
    return root


def load(root: Path, side: int = 8, validation: float = 0.2) -> Data:
    return image_folder.load_folder(str(root), side, validation, seed=0)


def counts(data: Data) -> list[list[int]]:
    return [
        np.bincount(part[1], minlength=len(data.outputs)).tolist() for part in (data.train, data.validation, data.test)
    ]


def files(data: Data) -> list[Path]:
    return [file for part in (data.train, data.validation, data.test) for file in part[0].files]


def test_hidden_files_and_folders_are_ignored_at_every_level(tmp_path: Path) -> None:
    fill(tmp_path, cats=10, dogs=10)
    for folder in (".ipynb_checkpoints", "__MACOSX", "cats/.ipynb_checkpoints", "dogs/__MACOSX/more", "@eaDir"):
        (tmp_path / folder).mkdir(parents=True)
        picture(0).save(tmp_path / folder / "0-checkpoint.png")
    for file in ("cats/._000.png", "cats/Thumbs.db", "dogs/desktop.ini", ".DS_Store"):
        (tmp_path / file).write_bytes(b"\0\5\x16\7")
    data = load(tmp_path)
    assert data.outputs == ("cats", "dogs")
    assert len(files(data)) == 20
    assert data.description.notes == ()


def test_a_class_without_a_readable_image_is_refused_by_its_name(tmp_path: Path) -> None:
    fill(tmp_path, cats=10, dogs=10)
    for name, broken in (("birds", "b.png"), ("fish", "phone.heic"), ("cows", "video.webm")):
        (tmp_path / name).mkdir()
        for index in range(12):
            (tmp_path / name / f"{index}{broken}").write_bytes(b"junk")
    with pytest.raises(UserError) as error:
        load(tmp_path)
    lines = str(error.value).splitlines()
    assert len(lines) == 3
    for name in ("birds", "fish", "cows"):
        assert any(line.startswith(f"{tmp_path / name}: no image in this folder can be read, of 12") for line in lines)


def test_other_types_and_folders_without_images_are_notes_with_their_number(tmp_path: Path) -> None:
    fill(tmp_path, cats=10, dogs=10, labels=0, empty=0)
    for index in range(3):
        (tmp_path / "cats" / f"{index}.HEIC").write_bytes(b"junk")
    (tmp_path / "dogs" / "movie.webm").write_bytes(b"junk")
    picture(8).save(tmp_path / "dogs" / "rare.tga")
    (tmp_path / "dogs" / "README").write_bytes(b"junk")
    (tmp_path / "labels" / "all.txt").write_bytes(b"junk")
    picture(9).save(tmp_path / "cover.png")
    notes = "\n".join(load(tmp_path).description.notes)
    for words in (
        "3 .heic",
        "1 .webm",
        "1 .tga",
        "1 without an extension",
        "1 .txt",
        "1 image left out, in no folder of a class",
    ):
        assert words in notes
    assert f"folders without images are no classes: {tmp_path / 'empty'}, {tmp_path / 'labels'}" in notes


def test_the_users_own_parts_are_used(tmp_path: Path) -> None:
    root = tmp_path / "parts"
    for number, (part, amount) in enumerate((("Train", 8), ("val", 4), ("test", 6))):
        for label in ("cats", "dogs"):
            (root / part / label).mkdir(parents=True)
            for index in range(amount):
                picture(100 * number + 10 * len(label) + index + (label == "dogs") * 1000).save(
                    root / part / label / f"{index}.png"
                )
    data = load(root)
    assert (data.outputs, counts(data)) == (("cats", "dogs"), [[8, 8], [4, 4], [6, 6]])
    assert {file.parts[-3] for file in data.test[0].files} == {"test"}
    assert "Train for training, test for test, val for validation" in data.description.notes[0]
    shutil.rmtree(root / "val")
    assert counts(load(root))[2] == [6, 6]
    assert [sum(numbers) for numbers in zip(*counts(load(root))[:2], strict=True)] == [8, 8]
    shutil.rmtree(root / "test" / "dogs")
    with pytest.raises(UserError, match="no images of dogs in the test part"):
        load(root)
    fill(root, birds=3)
    with pytest.raises(UserError, match="birds are none"):
        load(root)


def test_parts_without_classes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="test and train have no folder for each class"):
        load(fill(tmp_path, train=5, test=5))


def test_folders_called_as_parts_can_be_classes(tmp_path: Path) -> None:
    assert load(fill(tmp_path, train=5, bus=5)).outputs == ("bus", "train")


def test_a_folder_too_high_or_too_low_is_told(tmp_path: Path) -> None:
    fill(tmp_path / "data", cats=5, dogs=5)
    with pytest.raises(UserError, match=re.escape(f"are in {tmp_path / 'data'}, name that folder")):
        load(tmp_path)


@pytest.mark.parametrize(("rare", "expected"), [(3, [1, 1, 1]), (4, [2, 1, 1]), (5, [3, 1, 1])])
def test_each_part_has_each_class_also_a_rare_one(rare: int, expected: list[int], tmp_path: Path) -> None:
    data = load(fill(tmp_path, ok=60, defect=rare), validation=0.1)
    assert [numbers[0] for numbers in counts(data)] == expected
    assert f"few images: defect has {rare}" in "\n".join(data.description.notes)


def test_more_classes_than_examples_in_the_share_of_a_part(tmp_path: Path) -> None:
    data = load(fill(tmp_path, **{f"class{index}": 3 for index in range(12)}), validation=0.1)
    assert counts(data) == [[1] * 12] * 3


def test_a_class_with_too_few_images_is_refused_with_its_count(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="too few different images: defect has 2; each class needs 3"):
        load(fill(tmp_path, ok=60, defect=2))


def test_copies_of_an_image_stay_in_one_part_and_in_one_fold(tmp_path: Path) -> None:
    fill(tmp_path, cats=20, dogs=20)
    for index in range(10):
        for copy in range(3):
            shutil.copy(tmp_path / "cats" / f"{index:03}.png", tmp_path / "cats" / f"{index:03} ({copy}).png")
    data = load(tmp_path)
    assert len(files(data)) == 70
    assert "30 files with the same content as another" in "\n".join(data.description.notes)
    assert data.description.facts["copies of other images"] == "30"
    folds = list(splits.k_folds(data, 3, "stratified", 0))
    for divided in (data, *folds):
        parts = [
            {file.read_bytes() for file in part[0].files} for part in (divided.train, divided.validation, divided.test)
        ]
        assert not parts[0] & parts[1]
        assert not (parts[0] | parts[1]) & parts[2]
    assert sum(len(fold.validation[1]) for fold in folds) == len(data.train[1]) + len(data.validation[1])


def test_an_image_in_two_classes_is_left_out_and_named(tmp_path: Path) -> None:
    fill(tmp_path, cats=10, dogs=10)
    shutil.copy(tmp_path / "cats" / "000.png", tmp_path / "dogs" / "rex.png")
    data = load(tmp_path)
    assert len(files(data)) == 19
    (note,) = [note for note in data.description.notes if "several classes" in note]
    assert (
        note
        == f"2 files left out, the same image is in several classes: {tmp_path}/cats/000.png = {tmp_path}/dogs/rex.png"
    )


def test_a_training_image_with_a_copy_in_the_test_part_is_left_out(tmp_path: Path) -> None:
    for number, part in enumerate(("train", "test")):
        for label in (0, 1):
            (tmp_path / part / str(label)).mkdir(parents=True)
            for index in range(6):
                picture(100 * number + 10 * label + index).save(tmp_path / part / str(label) / f"{index}.png")
    shutil.copy(tmp_path / "test" / "0" / "1.png", tmp_path / "train" / "0" / "leak.png")
    data = load(tmp_path)
    assert not any(file.name == "leak.png" for file in files(data))
    assert "1 image left out, because a later part has a copy" in "\n".join(data.description.notes)
    assert counts(data)[2] == [6, 6]


def test_images_of_16_bits_spread_over_the_range_and_stay_apart(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for label, level in (("clear", 2000), ("cloudy", 9000)):
        (tmp_path / label).mkdir()
        for index in range(16):
            pixels = rng.integers(level - 500, level + 500, (20, 20)).astype(np.uint16)
            name = f"{index}.{('png', 'tif')[index % 2]}"
            Image.fromarray(pixels).save(tmp_path / label / name)
    data = load(tmp_path)
    assert data.formats.pixels == PixelRange(0, 16383)
    means = [data.train[0][:][data.train[1] == label].mean() for label in (0, 1)]
    np.testing.assert_allclose(means, [2000 * 255 / 16383, 9000 * 255 / 16383], atol=1)
    (note,) = [note for note in data.description.notes if "bits" in note]
    assert "32 images with more than 8 bits per pixel" in note
    assert "white is 16,383 in all of them" in note
    assert data.description.tables["types of the images"].to_dict("records") == [
        {"mode": "I;16", "images": 32, "smallest": "20 x 20", "largest": "20 x 20"}
    ]


def save_deep(root: Path, pixels: Callable[[Array], Array], extension: str = "tif", **options: Any) -> Path:
    """Write two classes of images, with pixels from shares in [0, 1]."""
    for number, label in enumerate(("a", "b")):
        (root / label).mkdir(parents=True)
        for index in range(5):
            shares = np.random.default_rng(10 * number + index).random((9, 9))
            Image.fromarray(pixels(shares)).save(root / label / f"{index}.{extension}", **options)
    return root


@pytest.mark.parametrize(
    ("pixels", "options", "pixel_range"),
    [
        (lambda x: x.astype(np.float32), {}, PixelRange(0, 1, True)),
        (lambda x: (x * 1.02 - 0.01).astype(np.float32), {}, PixelRange(0, 1, True)),
        (
            lambda x: (x * 2000 - 1000).astype(np.float32),
            {"tiffinfo": {340: -1000.0, 341: 1000.0}},
            PixelRange(-1000, 1000, True),
        ),
        (lambda x: (x * 3000).astype(np.uint16), {"tiffinfo": {280: 0, 281: 5000}}, PixelRange(0, 5000)),
        (lambda x: (x * 3000).astype(np.uint16), {}, PixelRange(0, 4095)),
        (lambda x: (x * 60_000).astype(np.int32), {}, PixelRange(0, 65535)),
        (lambda x: (x * 255).astype(np.uint16), {}, PixelRange(0, 255)),
    ],
)
def test_the_range_is_that_which_files_declare_or_which_holds_all(
    pixels: Callable[[Array], Array], options: dict[str, Any], pixel_range: PixelRange, tmp_path: Path
) -> None:
    data = load(save_deep(tmp_path, pixels, **options))
    assert data.formats.pixels == pixel_range
    assert np.ptp(data.train[0][:]) > 100


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (lambda x: (x * 255).astype(np.float32), "black and white are not known"),
        (lambda x: (x - 0.5).astype(np.float32), "black and white are not known"),
        (lambda x: (x * 2000 - 1000).astype(np.int32), "the value of black is not known"),
        (lambda x: (x * 1e6).astype(np.int32), "the value of white is not known"),
        (lambda x: (x * 3).astype(np.uint8), "the brightest pixel of all images is 2"),
    ],
)
def test_images_whose_range_is_not_known_are_refused(
    pixels: Callable[[Array], Array], words: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=words):
        load(save_deep(tmp_path, pixels))


def test_zero_may_be_white_in_tiff(tmp_path: Path) -> None:
    Image.fromarray(np.full((9, 9), 60_000, np.uint16)).save(tmp_path / "a.tif", tiffinfo={262: 0})
    assert image_decoding.decode(tmp_path / "a.tif", 8).max() == 255 - round(60_000 / 257)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F"])
def test_every_mode_gives_its_grey(mode: str, tmp_path: Path) -> None:
    level = {"1": 255, "I;16": 128 * 257, "I": 128 * 257, "F": 128 / 255}.get(mode, 128)
    source = (
        Image.new(mode, (9, 9), level) if level != 128 else Image.new("L", (9, 9), 128).convert("RGB").convert(mode)
    )
    source.save(tmp_path / "a.tif")
    expected = 255 if mode == "1" else 128
    decoded = image_decoding.decode(tmp_path / "a.tif", 8)
    np.testing.assert_allclose(decoded.mean(), expected, atol=2)  # a palette is dithered


def test_the_first_frame_of_several_is_read_with_a_note(tmp_path: Path) -> None:
    fill(tmp_path, cats=10, dogs=10)
    for name in ("a.gif", "a.png", "a.tif", "a.webp"):
        frames = [Image.new("RGB", (9, 9), colour) for colour in ("red", "blue")]
        frames[0].save(tmp_path / "cats" / name, save_all=True, append_images=frames[1:])
        red = image_decoding.decode(tmp_path / "cats" / name, 8)[4, 4]
        assert red[0] > 200 > red[2]
    assert "first frame or page is read of 4 images" in "\n".join(load(tmp_path).description.notes)


def test_links_that_lead_back_do_not_give_an_image_twice(tmp_path: Path) -> None:
    root = fill(tmp_path / "pets", cats=10, dogs=10)
    (root / "cats" / "loop").symlink_to(root)
    (root / "cats" / "others").symlink_to(root / "dogs")
    (root / "cats" / "gone.png").symlink_to(root / "nothing.png")
    (root / "self").symlink_to(root)
    fill(tmp_path / "elsewhere", cats=0, dogs=0, more=3)
    (root / "dogs" / "more").symlink_to(tmp_path / "elsewhere" / "more")
    data = load(root)
    assert (data.outputs, sum(map(sum, counts(data)))) == (("cats", "dogs"), 23)
    assert "gone.png: skipped" in "\n".join(data.description.notes)


def test_images_may_be_in_folders_below_their_class(tmp_path: Path) -> None:
    fill(tmp_path, cats=5, dogs=5)
    fill(tmp_path / "cats", siamese=5)
    assert sorted(map(sum, zip(*counts(load(tmp_path)), strict=True))) == [5, 10]


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [
        ("pets:2024", "pets_2024"),
        ("a/b\\c", "a_b_c"),
        ("..", "data"),
        (".hidden", "hidden"),
        ("::::", "data"),
        ("\N{CAT FACE}", "data"),
        ("köpfe.2024", "köpfe.2024"),
        ("a\udce9b", "a_b"),
    ],
)
def test_the_name_of_a_data_set_is_cleaned(name: str, cleaned: str) -> None:
    part = (np.zeros(1), np.zeros(1))
    assert Data(name, "", part, part, part, kind="image").name == cleaned


def test_long_names_are_cut_and_stay_different() -> None:
    part = (np.zeros(1), np.zeros(1))
    names = {Data(letter * 300 + end, "", part, part, part, kind="image").name for letter in "x語" for end in "ab"}
    assert len(names) == 4
    assert all(len(name.encode()) <= 120 for name in names)


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


def test_a_prediction_for_a_photograph_is_explained(
    trained_on_photographs: Trained, photographs: Path, tmp_path: Path
) -> None:
    answer = trained_on_photographs("explain", str(photographs / "red" / "3.jpg"), "--output", str(tmp_path / "why"))
    assert answer.returncode == 0, answer.stderr
    assert {path.name for path in (tmp_path / "why").iterdir()} == {"attributions.csv", "explanation.png"}


def test_a_folder_with_a_colon_in_its_name_is_trained_registered_and_used(tmp_path: Path) -> None:
    root = save_deep(tmp_path / "pets:2024", lambda shares: (shares * 4000).astype(np.uint16), "png")
    size = ("--images", str(root), "--image-size", "28", "--width", "0.05", "--batch-size", "2")
    trained = train_once("alexnet", tmp_path, *size)
    assert "alexnet-pets_2024 version 1" in trained.output
    assert "white is 4,095" in trained.errors
    bright = tmp_path / "bright.png"
    Image.fromarray(np.full((9, 9), 5000, np.uint16)).save(bright)
    assert_user_error(trained("predict", str(bright)), "bright.png", "0 to 4095")
    assert trained("predict", str(root)).returncode == 0
    assert trained("check", *size).returncode == 0
