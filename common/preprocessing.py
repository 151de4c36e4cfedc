"""From raw data to what a network trains on: splits, and pictures brought to what the network saw."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

from common.app import Array, Data, Stored
from common.choices import Split
from common.datasets import Raw
from common.errors import UserError

if TYPE_CHECKING:
    from common.tracking import Saved

SIDES = {"digits": 8, "mnist": 28, "fashion_mnist": 28}
"""Pixels along each side of a data set's pictures."""


def split_training(raw: Raw, validation: float, seed: int) -> Data:
    """Keep the published test part; split `validation`, a share, from the training part, every class in proportion."""
    from sklearn.model_selection import train_test_split  # two seconds, which --help need not wait for

    x, y = raw.train
    x_train, x_validation, y_train, y_validation = train_test_split(
        x, y, test_size=validation, random_state=seed, stratify=y
    )
    return Data(raw.name, raw.digest, (x_train, y_train), (x_validation, y_validation), raw.test, raw.classes)


def shares(split: Split, examples: int) -> tuple[float, float, float]:
    """How much of `examples` each part gets: training, validation, test.

    by_size: 60:20:20 up to tens of thousands, 98:1:1 around a million, 99.5:0.25:0.25 above.
    """
    if split == "by_size":
        split = "60:20:20" if examples < 500_000 else "98:1:1" if examples < 2_000_000 else "99.5:0.25:0.25"
    training, *held, test = (float(part) / 100 for part in split.split(":"))
    return training, sum(held), test


def split_anew(raw: Raw, split: Split, validation: float, seed: int) -> Data:
    """Put the published parts together and split them by `split`, every class in proportion; published: as they were.

    Where a split has no validation part, the training part stands in its place: nothing can be chosen by it then.
    """
    if split == "published":
        return split_training(raw, validation, seed)
    from sklearn.model_selection import train_test_split

    x, y = (np.concatenate(parts) for parts in zip(raw.train, raw.test, strict=True))
    _, held, test = (round(share * len(y)) for share in shares(split, len(y)))
    rest, tested = train_test_split(np.arange(len(y)), test_size=test, random_state=seed, stratify=y)
    taught = kept = rest
    if held:
        taught, kept = train_test_split(rest, test_size=held, random_state=seed, stratify=y[rest])
    digest = hashlib.sha256(f"{raw.digest} {split} {seed}".encode()).hexdigest()[:16]
    train, held_out, unseen = ((x[part], y[part]) for part in (taught, kept, tested))
    return Data(raw.name, digest, train, held_out, unseen, raw.classes)


STATISTICS_FROM = 5000
"""Pictures that tell the colours of a training set."""


def colour_statistics(pictures: Array | Stored) -> tuple[list[float], Array]:
    """Mean (3,) in [0, 255], and covariance (3, 3) of the colours scaled to [0, 1], of the pixels of byte pictures.

    From `STATISTICS_FROM` of them, evenly over the set. Grey pictures, (n, height, width), have three equal colours.
    """
    number, total, products = 0, np.zeros(3), np.zeros((3, 3))
    chosen = np.unique(np.linspace(0, len(pictures) - 1, STATISTICS_FROM).astype(int))
    for indices in np.array_split(chosen, -(-len(chosen) // 100)):
        colours = pictures[indices] / 255
        pixels = np.broadcast_to(colours[..., None], (*colours.shape, 3)) if colours.ndim == 3 else colours
        pixels = pixels.reshape(-1, 3)
        number, total, products = number + len(pixels), total + pixels.sum(axis=0), products + pixels.T @ pixels
    mean = total / number
    return [float(255 * colour) for colour in mean], products / number - np.outer(mean, mean)


def read_pictures(files: Sequence[str], saved: "Saved") -> tuple[list[str], Array]:
    """Pictures from files, folders of files, and `.npy` arrays, each brought to the format of the network's data set.

    Gives a name a picture, and the pictures as bytes (pictures, side, side), 0 for background.

    Raises:
        UserError: for a path that is missing, no picture, blank, or an array of another kind than grey pictures.
    """
    names, pictures = [], []
    for name, picture in _pictures([Path(file) for file in files]):
        names.append(name)
        pictures.append(standard_picture(picture, saved.data, name))
    return names, np.stack(pictures)


def _pictures(paths: Sequence[Path]) -> Iterator[tuple[str, Array]]:
    """A name and a grey picture, floats in [0, 255] of any size, for each picture in `paths`."""
    for path in paths:
        if path.is_dir():
            files = sorted(file for file in path.iterdir() if file.suffix.lower() in Image.registered_extensions())
            if not files:
                raise UserError(f"{path}: no pictures in this folder")
            yield from ((str(file), _open_picture(file)) for file in files)
        elif path.suffix == ".npy":
            yield from ((f"{path}[{index}]", picture) for index, picture in enumerate(_grey_pictures(path)))
        else:
            yield str(path), _open_picture(path)


def _open_picture(path: Path) -> Array:
    try:
        with Image.open(path) as picture:
            picture.load()
            return np.asarray(on_paper(picture).convert("L"), dtype=np.float32)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: not a picture that can be read ({error})") from error


def on_paper(picture: Image.Image) -> Image.Image:
    """The picture upright and in colour; what is transparent is taken for white paper."""
    upright = ImageOps.exif_transpose(picture)
    if upright.has_transparency_data:
        paper = Image.new("RGBA", upright.size, "white")
        paper.alpha_composite(upright.convert("RGBA"))
        upright = paper
    return upright.convert("RGB")


def open_array(path: Path) -> Array:
    """The array in a `.npy` file.

    Raises:
        UserError: where the file is missing, is no array, or has objects in it.
    """
    try:
        array: Array = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path}: not an array that can be read ({error})") from error
    return array


def named_examples(path: Path, array: Array, dimensions: int) -> list[tuple[str, Array]]:
    """A name and an example, for `array` itself where it has so many `dimensions`, else for each along its first."""
    if array.ndim == dimensions:
        return [(str(path), array)]
    return [(f"{path}[{index}]", example) for index, example in enumerate(array)]


def _grey_pictures(path: Path) -> Array:
    pictures = open_array(path)
    pictures = pictures[None] if pictures.ndim == 2 else pictures
    pictures = pictures[..., 0] if pictures.ndim == 4 and pictures.shape[-1] == 1 else pictures
    if pictures.ndim != 3 or pictures.dtype.kind not in "uif" or not pictures.size:
        raise UserError(
            f"{path}: {pictures.dtype} of shape {pictures.shape}; grey pictures (n, height, width) are needed"
        )
    if not np.isfinite(pictures).all():
        raise UserError(f"{path}: has pixels that are nan or infinite")
    # Floats are taken to be in [0, 1] if they fit there.
    scale = 255 if pictures.dtype.kind == "f" and pictures.max() <= 1 else 1
    return pictures.astype(np.float32) * scale


def standard_picture(picture: Array, data: str, name: str) -> Array:
    """A grey picture (height, width) in [0, 255], of any size and polarity, as bytes (side, side) like the data set's.

    As MNIST was made (LeCun et al. 1998, section III.A): light on black, scaled into 20x20 keeping its shape, its
    centre of mass in the middle; the other sets' pictures fill the whole instead. A picture of the right size with a
    black frame, for the others with a black corner, is in that format already and stays as it is.

    Raises:
        UserError: where `name` shows nothing: all pixels alike.
    """
    side = SIDES[data]
    background = _frame(picture) if data == "mnist" else picture[:: side - 1, :: side - 1].min()
    if picture.shape == (side, side) and not background.any() and picture.max() > 0:
        return picture.astype(np.uint8)
    ink = np.abs(picture - np.median(_frame(picture)))
    if ink.max() < 8:  # of 255: below what a scanner's noise or JPEG's blocks reach
        raise UserError(f"{name}: blank, there is nothing to see in this picture")
    ink = np.clip(ink / ink.max() * 1.25 - 0.125, 0, 1) * 255
    rows, columns = (np.flatnonzero((ink > 64).any(axis=axis)) for axis in (1, 0))
    subject = Image.fromarray(ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.uint8))
    box = 20 if data == "mnist" else side
    scale = box / max(subject.size)
    width, height = (max(1, round(length * scale)) for length in subject.size)
    fitted = np.asarray(subject.resize((width, height), Image.Resampling.LANCZOS), dtype=np.float32)
    middle = side / 2
    if data == "mnist":
        middle += 0.5  # MNIST's centres of mass lie on pixel (14, 14), not between it and the one before
        x, y = (float(np.average(np.arange(fitted.shape[axis]) + 0.5, weights=fitted.sum(1 - axis))) for axis in (1, 0))
    else:
        x, y = width / 2, height / 2
    left, top = (int(np.clip(round(middle - centre), 0, side - length)) for centre, length in ((x, width), (y, height)))
    result = np.zeros((side, side), dtype=np.uint8)
    result[top : top + height, left : left + width] = fitted
    return result


def _frame(picture: Array) -> Array:
    """The outermost pixels."""
    return np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
