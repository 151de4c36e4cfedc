"""Splits, and pictures of any size and polarity brought to what the network saw."""

import dataclasses
import json
import re
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from common.data import Array, Formats, ImageFormat, PixelRange, RawData, SavedModel
from common.errors import UserError
from common.preprocessing import datasets, images, splits
from tests.conftest import Trained


def test_the_split_is_stratified_disjoint_complete_and_drawn_from_the_seed(mnist: RawData) -> None:
    # Each picture is marked with its position, so that it can be followed.
    marked = mnist.train[0].copy()
    marked[:, 0, :4] = np.arange(60_000, dtype=">u4").view(np.uint8).reshape(-1, 4)
    raw = dataclasses.replace(mnist, train=(marked, mnist.train[1]))

    def positions(pictures: Array) -> Array:
        return np.ascontiguousarray(pictures[:, 0, :4]).view(">u4").ravel()

    data = splits.split(raw, 0.1, seed=3)
    train, validation = positions(data.train[0]), positions(data.validation[0])
    assert (len(train), len(validation)) == (54_000, 6_000)
    assert np.array_equal(np.sort(np.concatenate([train, validation])), np.arange(60_000))
    assert np.array_equal(data.validation[1], mnist.train[1][validation])
    shares = np.bincount(data.validation[1]) / np.bincount(mnist.train[1])
    np.testing.assert_allclose(shares, 0.1, atol=2e-4)
    again = splits.split(raw, 0.1, seed=3)
    assert np.array_equal(positions(again.validation[0]), validation)
    other = splits.split(raw, 0.1, seed=4)
    assert not np.array_equal(positions(other.validation[0]), validation)
    assert data.test is mnist.test


def read(paths: list[Path], data: str = "mnist") -> tuple[list[str], Array]:
    saved = SavedModel(
        model=keras.Model(),
        label="",
        data=data,
        kind="image",
        outputs=(),
        settings={},
        formats=datasets.load(data).formats,
    )
    examples = images.read([str(path) for path in paths], saved)
    names, pictures = examples.names, examples.inputs
    return list(names), np.asarray(pictures)


def on_paper(
    digit: Array, size: tuple[int, int], ink: tuple[int, int, int], paper: tuple[int, int, int]
) -> Image.Image:
    """A digit of MNIST written in `ink` on `paper`, `size` wide and high, off the centre."""
    share = Image.fromarray(digit).resize((size[0] // 2, size[0] // 2), Image.Resampling.BICUBIC)
    picture = Image.new("RGB", size, paper)
    picture.paste(Image.new("RGB", share.size, ink), (size[0] // 8, size[1] // 5), share)
    return picture


@pytest.mark.parametrize(
    ("size", "ink", "paper"),
    [
        ((200, 200), (0, 0, 0), (255, 255, 255)),
        ((640, 480), (20, 30, 160), (250, 245, 220)),
        ((90, 160), (255, 255, 255), (0, 0, 0)),
        ((300, 300), (255, 210, 0), (40, 60, 40)),
    ],
)
def test_a_digit_on_paper_comes_back_as_mnist_had_it(
    size: tuple[int, int], ink: tuple[int, int, int], paper: tuple[int, int, int], mnist: RawData, tmp_path: Path
) -> None:
    digits = mnist.test[0][:50]
    for index, digit in enumerate(digits):
        on_paper(digit, size, ink, paper).save(tmp_path / f"{index:02}.png")
    names, pictures = read([tmp_path])
    assert [Path(name).name for name in names] == [f"{index:02}.png" for index in range(50)]
    assert pictures.shape == (50, 28, 28)
    assert pictures.dtype == np.uint8
    flat, original = pictures.reshape(50, -1).astype(float), digits.reshape(50, -1).astype(float)
    likeness = [np.corrcoef(a, b)[0, 1] for a, b in zip(flat, original, strict=True)]
    assert np.median(likeness) > 0.93
    assert min(likeness) > 0.6


def test_pictures_in_mnists_own_format_stay_as_they_are(mnist: RawData, tmp_path: Path) -> None:
    np.save(tmp_path / "bytes.npy", mnist.test[0][:20])
    np.save(tmp_path / "shares.npy", mnist.test[0][:20, :, :, None] / 255)
    names, pictures = read([tmp_path / "bytes.npy", tmp_path / "shares.npy"])
    assert names[:2] == [f"{tmp_path}/bytes.npy[0]", f"{tmp_path}/bytes.npy[1]"]
    np.testing.assert_array_equal(pictures[:20], mnist.test[0][:20])
    np.testing.assert_allclose(pictures[20:], mnist.test[0][:20], atol=1)


def test_transparent_grey_palette_and_rotated_pictures_are_read(mnist: RawData, tmp_path: Path) -> None:
    paper = on_paper(mnist.test[0][0], (120, 160), (0, 0, 0), (255, 255, 255))
    expected = images.standard_image(np.asarray(paper.convert("L"), dtype=np.float32), ImageFormat(28, 20))
    transparent = Image.new("RGBA", paper.size)
    transparent.putalpha(Image.eval(paper.convert("L"), lambda value: 255 - value))
    transparent.save(tmp_path / "transparent.png")
    paper.convert("L").save(tmp_path / "grey.png")
    paper.convert("P").save(tmp_path / "palette.gif")
    orientation = Image.Exif()
    orientation[0x0112] = 6  # the camera was held upright: turn by 90 degrees
    paper.rotate(90, expand=True).save(tmp_path / "phone.png", exif=orientation)
    for name in ("transparent.png", "grey.png", "palette.gif", "phone.png"):
        picture = read([tmp_path / name])[1][0]
        np.testing.assert_allclose(picture, expected, atol=25, err_msg=name)


def test_clothes_in_their_own_format_stay_as_they_are_though_they_touch_the_frame(tmp_path: Path) -> None:
    clothes = datasets.load("fashion_mnist").test[0]
    np.save(tmp_path / "clothes.npy", clothes)
    np.testing.assert_array_equal(read([tmp_path / "clothes.npy"], "fashion_mnist")[1], clothes)


def test_clothes_fill_the_picture(tmp_path: Path) -> None:
    coat = Image.new("L", (300, 300), 255)
    coat.paste(40, (100, 50, 200, 250))
    coat.save(tmp_path / "coat.png")
    picture = read([tmp_path / "coat.png"], "fashion_mnist")[1][0]
    rows, columns = np.flatnonzero(picture.any(axis=1)), np.flatnonzero(picture.any(axis=0))
    assert (rows[0], rows[-1]) == (0, 27)
    assert (columns[0], columns[-1]) == (7, 20)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("text.png", b"dear diary", "not an image"),
        ("half.png", None, "not an image that can be read (image file is truncated"),
        ("empty.jpg", b"", "not an image that can be read (an empty file)"),
        ("phone.jpg", b"\0\0\0\x18ftypheic" + bytes(50), "not an image that can be read (a file in the format HEIC"),
        ("photo.png", b"\0\0\0\x18ftypavif" + bytes(50), "not an image that can be read (a file in the format AVIF"),
        ("print.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n", "not an image that can be read (a file in the format EPS"),
        ("texture.dds", b"DDS " + bytes(150), "not an image that can be read (a file in the format DDS"),
        ("text.npy", b"dear diary", "not an array"),
        ("none.png", "", "no such file"),
        ("none.npy", "", "no such file"),
    ],
)
def test_what_is_no_picture_is_named(name: str, content: bytes | str | None, words: str, tmp_path: Path) -> None:
    if content is None:
        Image.new("L", (400, 400)).save(tmp_path / name)
        content = (tmp_path / name).read_bytes()[:60]
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=re.escape(f"{name}: {words}")):
        read([tmp_path / name])


def test_a_blank_picture_an_empty_folder_and_other_arrays_are_named(tmp_path: Path) -> None:
    Image.new("RGB", (50, 50), (250, 250, 250)).save(tmp_path / "blank.png")
    with pytest.raises(UserError, match="blank"):
        read([tmp_path / "blank.png"])
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="no images"):
        read([tmp_path / "folder"])
    np.save(tmp_path / "table.npy", np.zeros((3, 4, 5, 6)))
    with pytest.raises(UserError, match="shape"):
        read([tmp_path / "table.npy"])
    np.save(tmp_path / "pickle.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match="not an array"):
        read([tmp_path / "pickle.npy"])
    np.save(tmp_path / "nan.npy", np.full((1, 9, 9), np.nan))
    with pytest.raises(UserError, match="nan"):
        read([tmp_path / "nan.npy"])


def saved_with(pixel_range: PixelRange | None) -> SavedModel:
    """A network for photographs, whose training images had this range."""
    model = keras.Sequential([keras.Input((8, 8, 3), dtype="uint8"), keras.layers.Flatten()])
    return SavedModel(
        model=model, label="net", data="x", kind="image", outputs=(), settings={}, formats=Formats(pixels=pixel_range)
    )


def test_a_digit_of_16_bits_is_read_as_its_twin_of_8(mnist: RawData, tmp_path: Path) -> None:
    digit = mnist.test[0][0]
    deep = digit.astype(np.uint16)
    twins = {
        "16.png": Image.fromarray(deep * 257),
        "16.tif": Image.fromarray(deep * 257),
        "16.pgm": Image.fromarray(deep * 257),
        "12.png": Image.fromarray((deep * 4095.0 / 255).round().astype(np.uint16)),
        "10.png": Image.fromarray((deep * 1023.0 / 255).round().astype(np.uint16)),
        "8in16.png": Image.fromarray(deep),
        "int.tif": Image.fromarray(deep.astype(np.int32) * 257),
        "float.tif": Image.fromarray(digit.astype(np.float32) / 255),
    }
    for name, image in twins.items():
        image.save(tmp_path / name)
        names, pictures = read([tmp_path / name])
        assert names == [str(tmp_path / name)]
        np.testing.assert_allclose(pictures[0].astype(int), digit, atol=1, err_msg=name)


def test_files_that_are_read_together_have_one_scale_which_a_note_says(tmp_path: Path) -> None:
    for name, level in (("dark", 900), ("light", 4000)):
        pixels = np.zeros((28, 28), np.uint16)
        pixels[8:20, 8:20] = level
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    examples = images.read([str(tmp_path)], saved_with(None))
    dark, light = examples.inputs[:].max(axis=(1, 2, 3))
    assert (dark, light) == (round(900 * 255 / 4095), round(4000 * 255 / 4095))
    assert examples.notes == (
        "files to predict for: 2 images with more than 8 bits per pixel, values 0 to 4,000; "
        "as of 12 bits, so white is 4,095 in all of them",
    )


def test_new_images_have_the_scale_of_the_training_images_and_none_that_exceeds_it(tmp_path: Path) -> None:
    for name, level in (("a", 900), ("b", 5000)):
        Image.fromarray(np.full((9, 9), level, np.uint16)).save(tmp_path / f"{name}.png")
    Image.fromarray(np.full((9, 9), 0.5, np.float32)).save(tmp_path / "c.tif")
    Image.new("L", (9, 9), 77).save(tmp_path / "d.png")
    examples = images.read([str(tmp_path)], saved_with(PixelRange(0, 4095)))
    assert examples.inputs[:].max(axis=(1, 2, 3)).tolist() == [round(900 * 255 / 4095), 77]
    assert "5000 to 5000, exceed those of the training images, 0 to 4095" in examples.unusable[1]
    assert "of another type" in examples.unusable[2]


def test_hidden_files_are_not_read_and_broken_ones_have_no_prediction(mnist: RawData, tmp_path: Path) -> None:
    Image.fromarray(mnist.test[0][0]).save(tmp_path / "0.png")
    for name in ("._0.png", "Thumbs.db", "desktop.ini", ".DS_Store"):
        (tmp_path / name).write_bytes(b"\0\5\x16\7")
    for name in (".ipynb_checkpoints", "__MACOSX"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(b"junk")
    assert read([tmp_path])[0] == [str(tmp_path / "0.png")]
    (tmp_path / "broken.png").write_bytes(b"junk")
    Image.new("L", (28, 28)).save(tmp_path / "black.png")
    (tmp_path / "phone.heic").write_bytes(b"junk")
    saved = dataclasses.replace(saved_with(None), formats=Formats(image=ImageFormat(28, 20)))
    examples = images.read([str(tmp_path)], saved)
    assert [Path(name).name for name in examples.names] == ["0.png", "black.png", "broken.png"]
    assert examples.inputs.shape == (1, 28, 28)
    assert "blank" in examples.unusable[1]
    assert "not an image" in examples.unusable[2]
    assert any("1 .heic" in note for note in examples.notes)


def test_a_faint_digit_is_stretched(mnist: RawData, tmp_path: Path) -> None:
    Image.fromarray(mnist.test[0][0] // 10).save(tmp_path / "faint.png")
    picture = read([tmp_path / "faint.png"])[1][0]
    assert picture.max() > 240
    assert np.corrcoef(picture.ravel(), mnist.test[0][0].ravel())[0, 1] > 0.9


def test_an_array_for_a_network_of_photographs_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 9, 9, 3), np.uint8))
    with pytest.raises(UserError, match=r"a\.npy: net reads image files"):
        images.read([str(tmp_path / "a.npy")], saved_with(None))


def test_a_perceptron_of_one_epoch_reads_digits_on_paper(mnist: RawData, trained_mlp: Trained, tmp_path: Path) -> None:
    for index, digit in enumerate(mnist.test[0][:10]):
        Image.fromarray(255 - digit).resize((140, 140)).save(tmp_path / f"{index}.png")
    result = trained_mlp("predict", str(tmp_path), "--output", str(tmp_path / "table.json"))
    assert result.returncode == 0, result.stderr
    said = "".join(entry["class"] for entry in json.loads((tmp_path / "table.json").read_text()))
    right = sum(digit == label for digit, label in zip(said, "7210414959", strict=True))
    assert right >= 6


def test_a_classifier_says_how_sure_its_test_error_is(trained_mlp: Trained) -> None:
    assert "95 % interval" in trained_mlp.output
