"""Images: read from files, folders and arrays, and brought to the format that the network was trained on."""

import hashlib
import io
import sys
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps

from common.data import Array, Data, LazyArray, Pair
from common.errors import UserError
from common.preprocessing import arrays

if TYPE_CHECKING:
    from common.data import SavedModel


LARGEST_IMAGE = 100_000_000
"""Pixels of a picture beyond which it is not decoded: a small file can unpack to more than the memory."""
NAMED = 20
"""Files that are named among those that are skipped."""
THUMBNAIL = 16
"""Pixels along each side of a thumbnail."""


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """Picture files as an array of bytes (pictures, side, side, 3), which is never in memory as a whole.

    An index, a slice or an array of indices reads the files it names, several at once.
    """

    files: tuple[Path, ...]
    side: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of pictures, height, width, colours."""
        return (len(self.files), self.side, self.side, 3)

    @property
    def ndim(self) -> int:
        """Four."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of bytes in all pictures."""
        return int(np.prod(self.shape))

    @property
    def nbytes(self) -> int:
        """The same."""
        return self.size

    @property
    def dtype(self) -> "np.dtype[Any]":
        """Bytes."""
        return np.dtype(np.uint8)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, indices: Any) -> Array:
        if isinstance(indices, int | np.integer):
            return decode(self.files[indices], self.side)
        chosen = np.arange(len(self))[indices]
        with ThreadPoolExecutor() as pool:
            pictures = list(pool.map(lambda index: decode(self.files[index], self.side), chosen))
        return np.stack(pictures) if pictures else np.empty((0, *self.shape[1:]), np.uint8)

    def part(self, indices: Array) -> "ImageFiles":
        """Some of the pictures, still on the disk."""
        return ImageFiles(tuple(self.files[index] for index in indices), self.side)

    def joined(self, others: "ImageFiles") -> "ImageFiles":
        """These pictures, then the others."""
        return ImageFiles(self.files + others.files, self.side)

    def thumbnails(self) -> Array:
        """All pictures, (pictures, THUMBNAIL, THUMBNAIL, 3), in memory."""
        return ImageFiles(self.files, THUMBNAIL)[:]


def decode(file: Any, side: int) -> Array:
    """A picture file as bytes (side, side, 3): its shorter side scaled to `side`, the middle of the longer one kept.

    Raises:
        ValueError: for a picture of more than `LARGEST` pixels; and what its decoder raises where it is damaged.
    """
    with Image.open(file) as picture:
        if picture.width * picture.height > LARGEST_IMAGE:
            raise ValueError(f"{picture.width} x {picture.height} pixels are more than {LARGEST_IMAGE:,}")
        picture.draft("RGB", (side, side))  # spares most of the decoding of a large JPEG
        return np.asarray(ImageOps.fit(on_paper(picture), (side, side), Image.Resampling.BILINEAR))


@dataclass(frozen=True)
class _Checked:
    """What a look at one file found: a fingerprint of its content, and what is wrong with it, if something is."""

    file: Path
    digest: bytes
    fault: str | None


def check(files: Sequence[Path], side: int) -> list[_Checked]:
    """Read and decode every file once, to find those that cannot be."""

    def look(file: Path) -> _Checked:
        try:
            content = file.read_bytes()
            decode(io.BytesIO(content), side)
        except Exception as error:  # a decoder raises whatever it trips over: the file is the user's
            return _Checked(file, b"", next(iter(str(error).splitlines()), type(error).__name__))
        return _Checked(file, hashlib.sha256(content).digest(), None)

    with warnings.catch_warnings(), ThreadPoolExecutor() as pool:
        warnings.simplefilter("ignore")  # of large pictures and damaged metadata
        return list(pool.map(look, files))


def load_folder(folder: str, side: int, validation: float, seed: int) -> Data:
    """The pictures of `folder`, in a folder per class, split; the pictures are `Pictures`, the labels int32.

    A file that cannot be decoded is named on stderr and left out. The test part is as large a share as `validation` and
    the same for every seed; every class is in each part in proportion. The fingerprint is of the files' content.

    Raises:
        UserError: where there is no such folder, or too little in it to learn from.
    """
    root = Path(folder)
    if not root.is_dir():
        raise UserError(f"--images {folder}: no such folder")
    found = {path.name: _image_files(path) for path in sorted(root.iterdir()) if path.is_dir()}
    classes = tuple(name for name, files in found.items() if files)
    if len(classes) < 2:
        raise UserError(f"--images {folder}: {len(classes)} folders with pictures; put those of each class into one")
    checked = check([file for name in classes for file in found[name]], side)
    _tell([entry for entry in checked if entry.fault])
    whole = [entry for entry in checked if not entry.fault]
    labels = np.array([classes.index(entry.file.relative_to(root).parts[0]) for entry in whole], dtype=np.int32)
    digest = hashlib.sha256()
    for entry, label in zip(whole, labels, strict=True):
        digest.update(entry.digest + classes[label].encode())
    rest, test = _split(folder, np.arange(len(labels)), labels, validation, 0)
    train, held = _split(folder, rest, labels, validation / (1 - validation), seed)
    pictures = ImageFiles(tuple(entry.file for entry in whole), side)

    def part(indices: Array) -> Pair:
        return pictures.part(indices), labels[indices]

    return Data(root.resolve().name, digest.hexdigest()[:16], part(train), part(held), part(test), classes)


def _image_files(folder: Path) -> list[Path]:
    """The picture files in `folder` and the folders in it, hidden ones left out."""
    known = Image.registered_extensions()
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in known and path.is_file() and not path.name.startswith(".")
    )


def _tell(skipped: Sequence[_Checked]) -> None:
    for entry in skipped[:NAMED]:
        print(f"{entry.file}: skipped, not a picture that can be read ({entry.fault})", file=sys.stderr)
    if skipped:
        more = f", {len(skipped) - NAMED} more than are named" if len(skipped) > NAMED else ""
        print(f"{len(skipped)} pictures skipped{more}", file=sys.stderr)


def _split(folder: str, indices: Array, labels: Array, share: float, seed: int) -> tuple[Array, Array]:
    """Split `share` from `indices`, every class in proportion."""
    from sklearn.model_selection import train_test_split  # two seconds, which --help need not wait for

    try:
        first, second = train_test_split(indices, test_size=share, random_state=seed, stratify=labels[indices])
    except ValueError as error:
        fewest = min(np.bincount(labels), default=0)
        raise UserError(
            f"--images {folder}: too few pictures to keep some of each class apart for validation and test "
            f"(the smallest class has {fewest} that can be read); add some, or choose another --validation"
        ) from error
    return first, second


def read_photographs(files: Sequence[str], side: int) -> tuple[list[str], ImageFiles]:
    """The pictures of files and folders of files, for a network that takes (side, side, 3); a name for each.

    Raises:
        UserError: for a path that is missing or no picture.
    """
    paths = list(_paths(files))
    for entry in check(paths, side):
        if entry.fault:
            raise UserError(f"{entry.file}: not a picture that can be read ({entry.fault})")
    return [str(path) for path in paths], ImageFiles(tuple(paths), side)


def _paths(files: Sequence[str]) -> Iterator[Path]:
    for file in map(Path, files):
        if not file.exists():
            raise UserError(f"{file}: no such file")
        if file.is_dir():
            pictures = _image_files(file)
            if not pictures:
                raise UserError(f"{file}: no pictures in this folder")
            yield from pictures
        else:
            yield file


SIDES = {"digits": 8, "mnist": 28, "fashion_mnist": 28}
"""Pixels along each side of a data set's pictures."""
STATISTICS_FROM = 5000
"""Pictures that tell the colours of a training set."""


def colour_statistics(pictures: Array | LazyArray) -> tuple[list[float], Array]:
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


def read(files: Sequence[str], saved: "SavedModel") -> tuple[list[str], Array]:
    """Pictures from files, folders of files, and `.npy` arrays, each brought to the format of the network's data set.

    Gives a name a picture, and the pictures as bytes (pictures, side, side), 0 for background.

    Raises:
        UserError: for a path that is missing, no picture, blank, or an array of another kind than grey pictures.
    """
    names, pictures = [], []
    for name, picture in _images([Path(file) for file in files]):
        names.append(name)
        pictures.append(standard_image(picture, saved.data, name))
    return names, np.stack(pictures)


def _images(paths: Sequence[Path]) -> Iterator[tuple[str, Array]]:
    """A name and a grey picture, floats in [0, 255] of any size, for each picture in `paths`."""
    for path in paths:
        if path.is_dir():
            files = sorted(file for file in path.iterdir() if file.suffix.lower() in Image.registered_extensions())
            if not files:
                raise UserError(f"{path}: no pictures in this folder")
            yield from ((str(file), _open_image(file)) for file in files)
        elif path.suffix == ".npy":
            yield from ((f"{path}[{index}]", picture) for index, picture in enumerate(_grey_images(path)))
        else:
            yield str(path), _open_image(path)


def _open_image(path: Path) -> Array:
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


def _grey_images(path: Path) -> Array:
    pictures = arrays.open_array(path)
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


def standard_image(picture: Array, data: str, name: str) -> Array:
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
