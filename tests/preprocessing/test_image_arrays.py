"""Images in .npy files: the layout and the scale are decided by rules, said in a note, or refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from common.data import Array, RawData
from common.errors import UserError
from common.preprocessing import image_arrays

Change = Callable[[Array], Array]


@pytest.fixture(scope="module")
def digits(mnist: RawData) -> Array:
    """Six digits; the first has the brightest pixel, 255, as have the others."""
    return np.asarray(mnist.test[0][:6])


def read(array: Array, folder: Path, side: int = 28) -> tuple[Array, list[str]]:
    np.save(folder / "a.npy", array)
    images, notes = image_arrays.read_images(folder / "a.npy", side)
    return np.stack(images), notes


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: x, None),
        (lambda x: x[..., None], None),
        (lambda x: x[:, None], "channels first"),
        (lambda x: x.reshape(6, 784), "flat images"),
        (lambda x: np.moveaxis(x, 0, -1), "the last axis counts the images"),
        (lambda x: np.moveaxis(x, 0, -1)[:, :, None], "the last axis counts the images"),
        (lambda x: np.asfortranarray(x), None),
        (lambda x: np.repeat(x[..., None], 3, axis=-1), "in RGB"),
        (lambda x: np.repeat(x[:, None], 3, axis=1), "channels first, in RGB"),
        (lambda x: np.concatenate([np.repeat(x[..., None], 3, axis=-1), np.full((6, 28, 28, 1), 255)], -1), "in RGBA"),
    ],
)
def test_layouts(change: Change, words: str | None, digits: Array, tmp_path: Path) -> None:
    images, notes = read(change(digits), tmp_path)
    np.testing.assert_array_equal(images, digits)
    assert images.dtype == np.float32
    if words is None:
        assert notes == []
    else:
        assert words in notes[0]
        assert "6 images of 28 x 28" in notes[0]


@pytest.mark.parametrize(
    "change", [lambda x: x[0], lambda x: x[0].ravel(), lambda x: x[0, None], lambda x: x[0, ..., None]]
)
def test_one_image(change: Change, digits: Array, tmp_path: Path) -> None:
    np.testing.assert_array_equal(read(change(digits), tmp_path)[0], digits[:1])


@pytest.mark.parametrize(
    ("change", "white"),
    [
        (lambda x: (x > 100).astype(np.uint8), 1),
        (lambda x: (x > 100).astype(np.int64), 1),
        (lambda x: x > 100, 1),
        (lambda x: x // 17, 15),
        (lambda x: np.round(x / 255 * 16), 16),  # as scikit-learn's digits
        (lambda x: x // 85, 3),
        (lambda x: x.astype(np.int64), 255),
        (lambda x: x.astype(np.float64), 255),
        (lambda x: x.astype(np.float16), 255),
        (lambda x: x / 255, 1),
        (lambda x: (x / 255).astype(np.float16), 1),
        (lambda x: x * 0.99, 255),
        (lambda x: x.astype(np.uint16) * 257, 65535),
        (lambda x: x.astype(">u2") * 16, 4095),
        (lambda x: x.astype(np.int32) * 4, 1023),
        (lambda x: x.astype(np.int32) * 60, 16383),
    ],
)
def test_scales(change: Change, white: int, digits: Array, tmp_path: Path) -> None:
    changed = change(digits)
    images, notes = read(changed, tmp_path)
    np.testing.assert_allclose(images, changed.astype(np.float64) * 255 / white, atol=0.2)
    assert np.ptp(images) > 220
    assert f"white is {white:,}" in notes[0]


def test_the_scale_is_that_of_the_whole_array(digits: Array, tmp_path: Path) -> None:
    shares = digits / 255
    shares[0] /= 2
    images, _ = read(shares, tmp_path)
    assert images[0].max() == pytest.approx(127.5)
    assert images[1].max() == pytest.approx(255)


def test_values_just_outside_are_clipped_with_a_note(digits: Array, tmp_path: Path) -> None:
    images, notes = read(digits * (1.02 / 255) - 0.01, tmp_path)
    assert (images.min(), images.max()) == (0, 255)
    assert "white is 1, values outside are clipped" in notes[0]


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((784, 784)), "one image, or several flat ones?"),
        (np.zeros((784, 100)), "one image, or several flat ones?"),
        (np.zeros((6, 785)), "remove the column"),
        (np.zeros((6, 3072)), "one image, or several flat ones?"),
        (np.zeros(28), "grey images"),
        (np.array(3), "grey images"),
        (np.zeros((28, 28, 28)), "the first or the last axis"),
        (np.zeros((28, 28, 3)), "one image in colour, or 3 grey ones?"),
        (np.zeros((2, 3, 4)), "no two axes"),
        (np.zeros((2, 28, 28, 2)), "no axis of 1, 3 or 4 channels"),
        (np.zeros((1, 1, 1, 28, 28)), "grey images"),
        (np.zeros((0, 28, 28)), "grey images"),
        (np.zeros((2, 28, 28), complex), "grey images"),
        (np.full((2, 28, 28), "ink"), "grey images"),
        (np.full((1, 28, 28), np.inf), "nan or infinite"),
        (np.full((1, 28, 28), -1), "negative"),
        (np.linspace(-1, 1, 784).reshape(28, 28), "negative"),
        (np.linspace(0, 1.5, 784).reshape(28, 28), "white is not known"),
        (np.linspace(0, 300, 784).reshape(28, 28), "white is not known"),
        (np.full((1, 28, 28), 40, np.uint8), "31, 63 or 255"),
        (np.full((1, 28, 28), 70_000), "white is not known"),
    ],
)
def test_ambiguous_arrays_are_refused_with_the_fix(array: Array, words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        read(array, tmp_path)
    assert f"{tmp_path}/a.npy: " in str(error.value)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("shape", "images"),
    [
        ((10, 28, 28), 10),
        ((28, 28, 10), 10),
        ((50, 100, 100), 50),
        ((100, 100, 50), 50),
        ((50, 60, 70), 50),
        ((3, 28, 28), 3),
    ],
)
def test_the_axis_that_counts_the_images(shape: tuple[int, ...], images: int, tmp_path: Path) -> None:
    assert len(read(np.full(shape, 200, np.uint8), tmp_path)[0]) == images


def test_a_colour_photograph_is_one_image(tmp_path: Path) -> None:
    photograph = np.zeros((40, 50, 3), np.uint8)
    photograph[..., 0] = 255
    images, notes = read(photograph, tmp_path)
    assert images.shape == (1, 40, 50)
    assert (images == 76).all()  # 0.299 of 255
    assert "1 image of 40 x 50, in RGB" in notes[0]


def test_archives_and_headers_that_promise_too_much_are_refused(tmp_path: Path) -> None:
    with (tmp_path / "a.npy").open("wb") as file:
        np.savez(file, images=np.zeros((2, 28, 28)))
    with pytest.raises(UserError, match=r"a\.npy: a \.npz archive"):
        image_arrays.read_images(tmp_path / "a.npy", 28)
    with (tmp_path / "b.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (10**12, 28, 28)})
    with pytest.raises(UserError, match=r"b\.npy: not an array"):
        image_arrays.read_images(tmp_path / "b.npy", 28)
