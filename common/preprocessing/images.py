"""Images: reading files, folders and arrays, and conversion to the format of the training images."""

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

from common.config import Config
from common.data import Array, Data, Examples, ImageFormat, LazyArray, RawData, fingerprint
from common.errors import UserError, first_line
from common.preprocessing import arrays, datasets, splits

if TYPE_CHECKING:
    from common.data import SavedModel


LARGEST_IMAGE = 100_000_000
"""Maximum number of pixels of an image, because a small file can unpack to more than the memory."""
NAMED = 20
"""Maximum number of skipped files that are named."""
THUMBNAIL = 16
"""Side of a thumbnail in pixels."""


@dataclass(frozen=True)
class ImageConfig(Config):
    """Settings of every app that classifies the images of a built-in data set."""

    data: datasets.ImageName = "mnist"
    """Data set: handwritten digits, or Zalando's clothes in the same format."""


def load(config: ImageConfig) -> Data:
    """Load the built-in images `config.data` and draw a validation part.

    Returns:
        Bytes (examples, side, side), 0 for the background, and integer labels (examples,).
    """
    return splits.split(datasets.load(config.data), config.validation, config.seed)


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """Image files as an array of bytes (images, side, side, 3). Indexing reads the files, several in parallel."""

    files: tuple[Path, ...]
    side: int
    dtype = np.dtype(np.uint8)
    ndim = 4

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape (images, side, side, 3)."""
        return (len(self.files), self.side, self.side, 3)

    @property
    def size(self) -> int:
        """Number of elements, which is the number of bytes."""
        return int(np.prod(self.shape))

    nbytes = size

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, indices: Any) -> Array:
        if isinstance(indices, int | np.integer):
            return decode(self.files[indices], self.side)
        chosen = np.arange(len(self))[indices]
        with ThreadPoolExecutor() as pool:
            images = list(pool.map(lambda index: decode(self.files[index], self.side), chosen))
        return np.stack(images) if images else np.empty((0, *self.shape[1:]), np.uint8)

    def part(self, indices: Array) -> "ImageFiles":
        """Return the images at `indices` (n,), without reading them."""
        return ImageFiles(tuple(self.files[index] for index in indices), self.side)

    def joined(self, others: "ImageFiles") -> "ImageFiles":
        """Return these images followed by the others, without reading them."""
        return ImageFiles(self.files + others.files, self.side)

    def thumbnails(self) -> Array:
        """Read all images as bytes (images, THUMBNAIL, THUMBNAIL, 3)."""
        return ImageFiles(self.files, THUMBNAIL)[:]


def decode(file: Any, side: int) -> Array:
    """Decode an image file to bytes (side, side, 3): scale the shorter side to `side`, and crop the longer one.

    Raises:
        ValueError: if the image has more than `LARGEST_IMAGE` pixels. For a damaged file, decoders raise any exception.
    """
    with Image.open(file) as image:
        if image.width * image.height > LARGEST_IMAGE:
            raise ValueError(f"{image.width} x {image.height} pixels are more than {LARGEST_IMAGE:,}")
        image.draft("RGB", (side, side))  # decodes a large JPEG at a lower resolution, which is faster
        return np.asarray(ImageOps.fit(on_paper(image), (side, side), Image.Resampling.BILINEAR))


@dataclass(frozen=True)
class _Checked:
    """The SHA-256 of a file's content, and the error of its decoder, if any."""

    file: Path
    digest: bytes
    fault: str | None


def check(files: Sequence[Path], side: int) -> list[_Checked]:
    """Read and decode every file once, to find damaged ones."""

    def check_file(file: Path) -> _Checked:
        try:
            content = file.read_bytes()
            decode(io.BytesIO(content), side)
        except Exception as error:  # decoders raise exceptions of any class for a damaged file
            return _Checked(file, b"", first_line(error))
        return _Checked(file, hashlib.sha256(content).digest(), None)

    with warnings.catch_warnings(), ThreadPoolExecutor() as pool:
        warnings.simplefilter("ignore")  # about large images and damaged metadata
        return list(pool.map(check_file, files))


def load_folder(folder: str, side: int, validation: float, seed: int) -> Data:
    """Load and split the images of a folder with one subfolder per class.

    Files that cannot be decoded are named on stderr and left out.

    Args:
        folder: Path of the folder.
        side: Side of the images in pixels, after scaling.
        validation: Share of the images in the validation part, and in the test part.
        seed: Seed of the validation part. The test part is the same for every seed.

    Returns:
        `ImageFiles` (images, side, side, 3) and int32 labels (images,).

    Raises:
        UserError: if there is no such folder, or it has too few classes or images.
    """
    root = Path(folder)
    if not root.is_dir():
        raise UserError(f"{folder}: no such folder")
    found = {path.name: _image_files(path) for path in sorted(root.iterdir()) if path.is_dir()}
    classes = tuple(name for name, files in found.items() if files)
    if len(classes) < 2:
        raise UserError(f"{folder}: {len(classes)} folders with images; put the images of each class into a folder")
    checked = check([file for name in classes for file in found[name]], side)
    _report([entry for entry in checked if entry.fault])
    readable = [entry for entry in checked if not entry.fault]
    labels = np.array([classes.index(entry.file.relative_to(root).parts[0]) for entry in readable], dtype=np.int32)
    content = (entry.digest + classes[label].encode() for entry, label in zip(readable, labels, strict=True))
    raw = RawData(
        name=root.resolve().name,
        digest=fingerprint(*content),
        kind="image",
        outputs=classes,
        train=(ImageFiles(tuple(entry.file for entry in readable), side), labels),
    )
    return splits.split(raw, validation / (1 - validation), seed, test=validation, test_seed=0)


def _image_files(folder: Path) -> list[Path]:
    """Return the image files in `folder` and its subfolders, without hidden files."""
    known = Image.registered_extensions()
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in known and path.is_file() and not path.name.startswith(".")
    )


def _report(skipped: Sequence[_Checked]) -> None:
    """Print the skipped files to stderr."""
    for entry in skipped[:NAMED]:
        print(f"{entry.file}: skipped, not an image that can be read ({entry.fault})", file=sys.stderr)
    if skipped:
        more = f", of which {NAMED} are named" if len(skipped) > NAMED else ""
        print(f"{len(skipped)} images skipped{more}", file=sys.stderr)


def read(files: Sequence[str], saved: "SavedModel") -> Examples:
    """Read images as inputs of the saved model.

    Args:
        files: Image files, folders of them, and, for grey images, `.npy` arrays.
        saved: The model. Images are converted to its image format; without one, they are photographs.

    Returns:
        Bytes (images, side, side), or `ImageFiles` (images, side, side, 3).

    Raises:
        UserError: if a path is missing, or an image is damaged or blank, or an array has another type or shape.
    """
    if saved.image_format is None:
        return Examples(*read_photographs(files, saved.model.input_shape[1]))
    found = [(name, standard_image(image, saved.image_format, name)) for name, image in _grey_images(files)]
    return Examples([name for name, _ in found], np.stack([image for _, image in found]))


def _grey_images(files: Sequence[str]) -> Iterator[tuple[str, Array]]:
    """Yield a name and a grey image (height, width) of float32 in [0, 255] for every image in `files`."""
    for path in _paths(files):
        if path.suffix == ".npy":
            yield from _images_of_array(path)
        else:
            yield str(path), _open_image(path)


def read_photographs(files: Sequence[str], side: int) -> tuple[list[str], ImageFiles]:
    """Return a name per image, and the images (images, side, side, 3), of files and folders.

    Raises:
        UserError: if a path is missing, or an image is damaged.
    """
    paths = list(_paths(files))
    for entry in check(paths, side):
        if entry.fault:
            raise UserError(f"{entry.file}: not an image that can be read ({entry.fault})")
    return [str(path) for path in paths], ImageFiles(tuple(paths), side)


def _paths(files: Sequence[str]) -> Iterator[Path]:
    """Yield the files, and the image files in the folders."""
    for file in map(Path, files):
        if not file.exists():
            raise UserError(f"{file}: no such file")
        if file.is_dir():
            images = _image_files(file)
            if not images:
                raise UserError(f"{file}: no images in this folder")
            yield from images
        else:
            yield file


def pixels(images: Array | ImageFiles) -> Array:
    """Return the pixels of images, or of the thumbnails of `ImageFiles`, as float32 (images, pixels)."""
    values = images.thumbnails() if isinstance(images, ImageFiles) else images
    return values.reshape(len(values), -1).astype("float32")


STATISTICS_FROM = 5000
"""Number of images from which the colour statistics of a training set are computed."""


def colour_statistics(images: Array | LazyArray) -> tuple[list[float], Array]:
    """Return the mean and the covariance of the pixels' colours in `STATISTICS_FROM` evenly spaced images.

    Args:
        images: Bytes (images, height, width, 3), or grey ones (images, height, width), whose colours are equal.

    Returns:
        The mean (3,) in [0, 255], and the covariance (3, 3) of the colours scaled to [0, 1].
    """
    number, total, products = 0, np.zeros(3), np.zeros((3, 3))
    chosen = np.unique(np.linspace(0, len(images) - 1, STATISTICS_FROM).astype(int))
    for indices in np.array_split(chosen, -(-len(chosen) // 100)):
        colours = images[indices] / 255
        pixels = np.broadcast_to(colours[..., None], (*colours.shape, 3)) if colours.ndim == 3 else colours
        pixels = pixels.reshape(-1, 3)
        number, total, products = number + len(pixels), total + pixels.sum(axis=0), products + pixels.T @ pixels
    mean = total / number
    return [float(255 * colour) for colour in mean], products / number - np.outer(mean, mean)


def _open_image(path: Path) -> Array:
    """Read an image file as grey values (height, width), float32 in [0, 255]."""
    try:
        with Image.open(path) as image:
            image.load()
            return np.asarray(on_paper(image).convert("L"), dtype=np.float32)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: not an image that can be read ({error})") from error


def on_paper(image: Image.Image) -> Image.Image:
    """Return the image upright, in RGB, on a white background if it is transparent."""
    upright = ImageOps.exif_transpose(image)
    if upright.has_transparency_data:
        paper = Image.new("RGBA", upright.size, "white")
        paper.alpha_composite(upright.convert("RGBA"))
        upright = paper
    return upright.convert("RGB")


def _images_of_array(path: Path) -> Iterator[tuple[str, Array]]:
    """Yield a name and a grey image (height, width) of float32 in [0, 255] for every image in a `.npy` file."""
    images = arrays.read_array(path)
    if images.ndim == 4 and images.shape[-1] == 1:
        images = images[..., 0]
    if images.ndim not in (2, 3) or images.dtype.kind not in "uif" or not images.size:
        raise UserError(f"{path}: {images.dtype} of shape {images.shape}; grey images (n, height, width) are needed")
    if not np.isfinite(images).all():
        raise UserError(f"{path}: has pixels that are nan or infinite")
    # Floats of at most 1 are assumed to be in [0, 1].
    scale = 255 if images.dtype.kind == "f" and images.max() <= 1 else 1
    for index, image in enumerate(images[None] if images.ndim == 2 else images):
        yield f"{path}[{index}]", image.astype(np.float32) * scale


def standard_image(image: Array, form: ImageFormat, name: str) -> Array:
    """Convert a grey image to the format of a data set, as MNIST was made (LeCun et al. 1998, section III.A).

    The subject becomes light on black, and is scaled to the format's box with its aspect ratio. Its centre of mass is
    in the middle of the image; if the box fills the image, its centre is. An image that has the format already is
    returned unchanged: one of the right size with a black frame, or, if the box fills the image, with a black corner.

    Args:
        image: Grey values (height, width) in [0, 255], of any size and polarity.
        form: The format.
        name: Name of the image in an error.

    Returns:
        Bytes (side, side).

    Raises:
        UserError: if the image is blank.
    """
    side, margin = form.side, form.box < form.side
    background = _frame(image) if margin else image[:: side - 1, :: side - 1].min()
    if image.shape == (side, side) and not background.any() and image.max() > 0:
        return image.astype(np.uint8)
    ink = np.abs(image - np.median(_frame(image)))
    if ink.max() < 8:  # of 255; noise of a scanner and blocks of JPEG are stronger
        raise UserError(f"{name}: this image is blank; choose another")
    ink = np.clip(ink / ink.max() * 1.25 - 0.125, 0, 1) * 255
    rows, columns = (np.flatnonzero((ink > 64).any(axis=axis)) for axis in (1, 0))
    subject = Image.fromarray(ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.uint8))
    scale = form.box / max(subject.size)
    width, height = (max(1, round(length * scale)) for length in subject.size)
    fitted = np.asarray(subject.resize((width, height), Image.Resampling.LANCZOS), dtype=np.float32)
    middle = side / 2
    if margin:
        middle += 0.5  # in MNIST, the centre of mass is in the middle of pixel (14, 14), not at its corner
        x, y = (float(np.average(np.arange(fitted.shape[axis]) + 0.5, weights=fitted.sum(1 - axis))) for axis in (1, 0))
    else:
        x, y = width / 2, height / 2
    left, top = (int(np.clip(round(middle - centre), 0, side - length)) for centre, length in ((x, width), (y, height)))
    result = np.zeros((side, side), dtype=np.uint8)
    result[top : top + height, left : left + width] = fitted
    return result


def _frame(image: Array) -> Array:
    """Return the outermost pixels of `image` (height, width)."""
    return np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
