"""Images: the data sets and files that networks read, and conversion to the format of the training images."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from common.config import Config
from common.data import Array, Data, Examples, ImageFormat, LazyArray, PixelRange, SavedModel
from common.errors import Problems, UserError
from common.preprocessing import datasets, image_arrays, image_decoding, image_facts, image_search, splits
from common.preprocessing.image_arrays import FAINT
from common.preprocessing.image_facts import ImageFacts
from common.preprocessing.image_files import ImageFiles, StoredImages
from common.preprocessing.image_folder import load_folder as load_folder  # for apps, beside `load`


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


def read(files: Sequence[str], saved: SavedModel) -> Examples:
    """Read images as inputs of the saved model.

    Files in a folder that cannot be read, and blank images, are unusable, as long as another image is usable.

    Args:
        files: Image files, folders of them, and, for grey images, `.npy` arrays.
        saved: The model. Images are converted to its image format; without one, they are photographs.

    Returns:
        Bytes (images, side, side), or `ImageFiles` (images, side, side, 3).

    Raises:
        UserError: if a path is missing, no image is usable, or the layout or scale of the pixels is unknown.
    """
    paths, notes = _paths(files)
    inspected = image_facts.inspect([path for path in paths if not _is_array(path)])
    facts, own_range, range_notes = _scaled(inspected, saved.formats.pixels)
    notes += range_notes + image_facts.animated_notes(facts)
    if saved.formats.image is None:
        if array := next(filter(_is_array, paths), None):
            raise UserError(f"{array}: {saved.label} reads image files; save the images as PNG")
        examples = Examples(
            [str(one.path) for one in facts],
            ImageFiles(tuple(one.path for one in facts if not one.fault), saved.model.input_shape[1], own_range),
            {index: one.fault for index, one in enumerate(facts) if one.fault},
            tuple(notes),
        )
    else:
        examples = _standard_images(paths, facts, own_range, saved.formats.image, notes)
    examples.check_usable()
    return examples


def _scaled(
    facts: Sequence[ImageFacts], trained: PixelRange | None
) -> tuple[list[ImageFacts], PixelRange | None, list[str]]:
    """Find black and white for images with more than 8 bits per pixel: those of the training images, if they had any.

    Returns:
        The facts, with a fault for images that exceed the range of the training images; the range; and a note of it.
    """
    if trained is None:
        good = [one for one in facts if not one.fault]
        return list(facts), *image_facts.choose_range(good, "files to predict for")

    def checked(one: ImageFacts) -> ImageFacts:
        if one.fault or not one.deep:
            return one
        if one.floats != trained.floats:
            fault = f"its pixels have the mode {one.mode}, those of the training images are of another type"
        elif one.low < trained.black - tolerance or one.high > trained.white + tolerance:
            fault = (
                f"its values, {one.low:g} to {one.high:g}, exceed those of the training images, "
                f"{trained.black:g} to {trained.white:g}"
            )
        else:
            return one
        return dataclasses.replace(one, fault=fault)

    tolerance = image_facts.OVERSHOOT * (trained.white - trained.black) if trained.floats else 0
    return [checked(one) for one in facts], trained, []


def _standard_images(
    paths: Sequence[Path],
    facts: Sequence[ImageFacts],
    pixel_range: PixelRange | None,
    form: ImageFormat,
    notes: list[str],
) -> Examples:
    """Read the images in `paths`, files and arrays, in the format `form`."""
    faults = {one.path: one.fault for one in facts}
    names, images, unusable = list[str](), list[Array](), dict[int, str]()

    def add(name: str, image: Array) -> None:
        try:
            images.append(standard_image(image, form))
        except ValueError as error:
            unusable[len(names)] = str(error)
        names.append(name)

    for path in paths:
        if _is_array(path):
            found, decisions = image_arrays.read_images(path, form.side)
            notes += decisions
            for index, image in enumerate(found):
                add(f"{path}[{index}]", image)
        elif faults[path]:
            unusable[len(names)] = faults[path]
            names.append(str(path))
        else:
            with image_decoding.decoding(path):
                image = image_decoding.decode_grey(path, pixel_range)
            add(str(path), image)
    inputs = np.stack(images) if images else np.empty((0, form.side, form.side), np.uint8)
    return Examples(names, inputs, unusable, tuple(notes))


def _is_array(path: Path) -> bool:
    return path.suffix.lower() == ".npy"


def _paths(files: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Return the files, and the image files in the folders; and notes on what is left out there.

    Raises:
        UserError: if a path is missing, or a folder has no images.
    """
    paths, notes, problems = list[Path](), list[str](), Problems()
    for file in map(Path, files):
        if file.is_dir():
            found = image_search.find(file, file)
            if not found.images:
                types = image_search.other_types(found.others, str(file))
                problems.add(types[0] if types else f"{file}: no images in this folder")
            paths += found.images
            notes += image_search.other_types(found.others, str(file)) + image_facts.skipped_notes(found.faults)
        elif file.exists():
            paths.append(file)
        else:
            problems.add(f"{file}: no such file")
    problems.check()
    return paths, notes


def pixels(images: Array | StoredImages) -> Array:
    """Return the pixels of images, or of the thumbnails of `StoredImages`, as float32 (images, pixels)."""
    values = images.thumbnails() if isinstance(images, StoredImages) else images
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


def standard_image(image: Array, form: ImageFormat) -> Array:
    """Convert a grey image to the format of a data set, as MNIST was made (LeCun et al. 1998, section III.A).

    The subject becomes light on black, and is scaled to the format's box with its aspect ratio. Its centre of mass is
    in the middle of the image; if the box fills the image, its centre is. An image that has the format already is
    returned unchanged: one of the right size with a black frame, or, if the box fills the image, with a black corner.

    Args:
        image: Grey values (height, width) in [0, 255], of any size and polarity.
        form: The format.

    Returns:
        Bytes (side, side).

    Raises:
        ValueError: if the image is blank.
    """
    side, margin = form.side, form.box < form.side
    background = _frame(image) if margin else image[:: side - 1, :: side - 1].min()
    if image.shape == (side, side) and not background.any() and image.max() >= FAINT:
        return image.astype(np.uint8)
    ink = np.abs(image - np.median(_frame(image)))
    if ink.max() < 8:  # of 255; noise of a scanner and blocks of JPEG are stronger
        raise ValueError("the image is blank; choose another")
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
