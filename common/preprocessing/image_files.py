"""Image files: finding them, checking them, and decoding them to bytes.

Pixels of more than 8 bits are scaled by one `PixelRange` for all files that are read together, never by that of each
file, because a difference in brightness between two images would be lost.
"""

import abc
import contextlib
import dataclasses
import hashlib
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import psutil
from PIL import Image, ImageOps, UnidentifiedImageError
from rich.console import Console
from rich.progress import track

from common.data import Array, PixelRange
from common.errors import UserError, first_line

FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
"""Pillow's names of the formats that are read."""
OTHER_IMAGES = frozenset(
    {".ai", ".arw", ".avi", ".cr2", ".cr3", ".dcm", ".dng", ".heic", ".heif", ".jxl", ".mkv", ".mov", ".mp4", ".nef"}
    | {".nii", ".npy", ".npz", ".orf", ".raf", ".raw", ".rw2", ".srw", ".svg", ".webm", ".xcf"}
)
"""Extensions of images, videos and arrays that Pillow does not know."""
SIGNATURES = {b"DDS ": "DDS", b"%!PS": "EPS", b"%PDF": "PDF", b"8BPS": "PSD", b"\x93NUMPY": "NumPy", b"<svg": "SVG"}
"""First bytes of files that often have the extension of another format."""
LARGEST_IMAGE = 100_000_000
"""Maximum number of pixels of an image, because a small file can unpack to more than the memory."""
CACHE_BYTES = psutil.virtual_memory().total // 4
"""Largest size of the decoded images in memory: a quarter of the machine's."""
NAMED = 20
"""Maximum number of skipped files that are named."""
THUMBNAIL = 16
"""Side of a thumbnail in pixels."""
WHITE_LEVELS = (255, 1023, 4095, 16383, 65535)
"""Possible values of white in whole numbers: those of 8, 10, 12, 14 and 16 bits."""
DARKEST = 16
"""Largest pixel, of 255, of images of 8 bits that were probably saved with another white."""
OVERSHOOT = 0.05
"""Distance of a pixel from [0, 1] that resampling explains. Such pixels are clipped."""


class StoredImages(abc.ABC):
    """Images in files as an array of bytes (images, side, side, 3). Indexing reads them, several in parallel.

    Pillow decodes outside Python's lock, so threads are as fast as processes.
    """

    side: int
    dtype = np.dtype(np.uint8)
    ndim = 4

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape (images, side, side, 3)."""
        return (len(self), self.side, self.side, 3)

    @property
    def size(self) -> int:
        """Number of elements, which is the number of bytes."""
        return int(np.prod(self.shape))

    nbytes = size

    def __getitem__(self, indices: Any) -> Array:
        if isinstance(indices, int | np.integer):
            return self._decode(indices)
        with ThreadPoolExecutor() as pool:
            images = list(pool.map(self._decode, np.arange(len(self))[indices]))
        return np.stack(images) if images else np.empty((0, *self.shape[1:]), np.uint8)

    @abc.abstractmethod
    def __len__(self) -> int: ...

    @abc.abstractmethod
    def _decode(self, index: Any) -> Array:
        """Read the image at `index`: bytes (side, side, 3)."""

    @abc.abstractmethod
    def thumbnails(self) -> Array:
        """Read all images as bytes (images, THUMBNAIL, THUMBNAIL, 3)."""


@dataclass(frozen=True, eq=False)
class ImageFiles(StoredImages):
    """Image files as an array of bytes (images, side, side, 3)."""

    files: tuple[Path, ...]
    side: int
    pixel_range: PixelRange | None = None
    """Black and white of the files with more than 8 bits per pixel."""
    cache: dict[Path, Array] | None = None
    """Decoded images, of all parts of a folder, up to `CACHE_BYTES`; None: every access reads the file."""

    def __len__(self) -> int:
        return len(self.files)

    def _decode(self, index: Any) -> Array:
        file = self.files[index]
        if self.cache and file in self.cache:
            return self.cache[file]
        with decoding(file):
            image = decode(file, self.side, self.pixel_range)
        if self.cache is not None and (len(self.cache) + 1) * image.nbytes <= CACHE_BYTES:
            self.cache[file] = image
        return image

    def part(self, indices: Array) -> "ImageFiles":
        """Return the images at `indices` (n,), without reading them."""
        return dataclasses.replace(self, files=tuple(self.files[index] for index in indices))

    def joined(self, others: "ImageFiles") -> "ImageFiles":
        """Return these images followed by the others, without reading them."""
        return dataclasses.replace(self, files=self.files + others.files)

    def thumbnails(self) -> Array:
        return ImageFiles(self.files, THUMBNAIL, self.pixel_range)[:]


@dataclass(frozen=True)
class ImageFacts:
    """Content of an image file, as `inspect` found it."""

    path: Path
    fault: str = ""
    """Reason why the file cannot be used; empty for a good file, and then the other fields are known."""
    digest: bytes = b""
    """SHA-256 of the file's content."""
    mode: str = ""
    """Pillow's name of the type of the pixels."""
    size: tuple[int, int] = (0, 0)
    """Width and height in pixels."""
    animated: bool = False
    """Whether the file has several frames or pages."""
    low: float = 0
    high: float = 0
    """Smallest and largest pixel; of the thumbnail, if the pixels have 8 bits."""
    declared: tuple[float, float] | None = None
    """Values of black and white by the file's own statement, for more than 8 bits per pixel."""

    @property
    def deep(self) -> bool:
        """Whether the pixels have more than 8 bits."""
        return is_deep(self.mode)

    @property
    def floats(self) -> bool:
        """Whether the pixels are floating-point numbers."""
        return self.mode == "F"


@dataclass
class FoundFiles:
    """The files in a folder and its subfolders, without hidden ones."""

    folder: Path
    images: list[Path] = field(default_factory=list)
    """Files with the extension of a format that is read."""
    others: list[Path] = field(default_factory=list)
    faults: list[ImageFacts] = field(default_factory=list)
    """Files and folders that cannot be read at all."""


def is_hidden(name: str) -> bool:
    """Return whether a file or folder of this name was put there by a program, not by the user."""
    known = ("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "$recycle.bin")
    return name.startswith(".") or name.lower() in known


def extensions() -> frozenset[str]:
    """Return the extensions of the formats that are read."""
    known = (*FORMATS, "MPO")  # a JPEG file with several images
    return frozenset(extension for extension, name in Image.registered_extensions().items() if name in known)


def other_images() -> frozenset[str]:
    """Return the extensions of images, videos and arrays that are not read."""
    return OTHER_IMAGES | (frozenset(Image.registered_extensions()) - extensions())


def find(folder: Path, root: Path) -> FoundFiles:
    """Find the files in `folder` and its subfolders, in the order of their paths.

    A link to a folder is followed if it leads out of `root`; others would give a file twice, or never end.
    """
    found, known, top = FoundFiles(folder), extensions(), root.resolve()

    def unreadable(error: OSError) -> None:
        found.faults.append(ImageFacts(Path(error.filename), f"cannot be read: {error.strerror}"))

    visited = set()
    for place, folders, names in os.walk(folder, onerror=unreadable, followlinks=True):
        for name in sorted(folders):
            path = Path(place, name)
            target = path.resolve()
            if is_hidden(name):
                folders.remove(name)
            elif not is_text(name):
                folders.remove(name)
                found.faults.append(_unnameable(path))
            elif path.is_symlink() and (target in visited or target.is_relative_to(top) or top.is_relative_to(target)):
                folders.remove(name)
                found.faults.append(ImageFacts(path, "a link to a folder that is read already"))
            visited.add(target)
        folders.sort()
        for name in names:
            path = Path(place, name)
            if is_hidden(name):
                continue
            if not is_text(name):
                found.faults.append(_unnameable(path))
            elif path.suffix.lower() not in known:
                found.others.append(path)
            elif path.is_file():
                found.images.append(path)
            else:
                found.faults.append(ImageFacts(path, "not a file, or a link to a missing one"))
    found.images.sort()
    return found


def is_text(name: str) -> bool:
    """Return whether a name can be printed and recorded. The names of files may be any bytes."""
    return name.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in name)


def _unnameable(path: Path) -> ImageFacts:
    return ImageFacts(Path(str(path).encode(errors="replace").decode()), "its name is not UTF-8; rename it")


def other_types(files: Iterable[Path], where: str) -> list[str]:
    """Return a note with the number of files of each type that is not read, or none."""
    counts: dict[str, int] = {}
    for file in files:
        name = file.suffix.lower() or "without an extension"
        counts[name] = counts.get(name, 0) + 1
    if not counts:
        return []
    words = ", ".join(
        f"{number:,} {name}" for name, number in sorted(counts.items(), key=lambda item: -item[1])[:NAMED]
    )
    return [f"{where}: files that are no images, or of a type that is not read, are left out: {words}"]


def is_deep(mode: str) -> bool:
    """Return whether pixels of Pillow's `mode` have more than 8 bits."""
    return mode in ("I", "F") or mode.startswith("I;16")


def open_image(file: Path | BinaryIO) -> Image.Image:
    """Open an image file, and check its format and size before any pixel is decoded.

    Raises:
        ValueError: if the image has another format, or more than `LARGEST_IMAGE` pixels.
    """
    try:
        image = Image.open(file, formats=FORMATS)
    except UnidentifiedImageError as error:
        raise ValueError(_other_format(file)) from error
    except Image.DecompressionBombError as error:
        raise ValueError(f"more than {LARGEST_IMAGE:,} pixels; make it smaller") from error
    if image.width * image.height > LARGEST_IMAGE:
        image.close()
        raise ValueError(f"{image.width} x {image.height} are more than {LARGEST_IMAGE:,} pixels; make it smaller")
    return image


def _other_format(file: Path | BinaryIO) -> str:
    """Return the reason why a file is no image that is read, by its first bytes."""
    if isinstance(file, Path):
        with file.open("rb") as opened:
            content = opened.read(12)
    else:
        file.seek(0)
        content = file.read(12)
    if not content:
        return "an empty file"
    name = next((name for start, name in SIGNATURES.items() if content.startswith(start)), None)
    if content[4:8] == b"ftyp":
        name = "AVIF" if content[8:11] == b"avi" else "HEIC" if content[8:10] in (b"he", b"mi") else "MP4"
    if name:
        return f"a file in the format {name}, which is not read; convert it to PNG or JPEG"
    return "not an image, or damaged at its beginning; the formats PNG, JPEG, TIFF, WebP, GIF, BMP and PPM are read"


def upright_numbers(image: Image.Image) -> Array:
    """Return the pixels (height, width) of an image with more than 8 bits per pixel, upright, and light for large."""
    numbers: Array = np.asarray(ImageOps.exif_transpose(image))
    if numbers.dtype.kind == "f" and not np.isfinite(numbers).all():
        raise ValueError("has pixels that are nan or infinite")
    return numbers


def _declared(image: Image.Image) -> tuple[float, float] | None:
    """Return the values of black and white that the file states, or None."""
    if image.format in ("PPM", "JPEG2000") and image.mode != "F":
        return 0, 65535  # Pillow scales the pixels by the file's own maximum
    if image.format != "TIFF":
        return None
    tags: Any = image.tag_v2  # type: ignore[attr-defined]

    def first(*names: int) -> float | None:
        values = (tags[name] for name in names if name in tags)
        return next((float(np.ravel(value)[0]) for value in values), None)

    bits, low, high = first(258), first(340, 280), first(341, 281)
    if high is not None and np.isfinite([low or 0, high]).all() and high > (low or 0):
        return low or 0, high
    return (0, 2**bits - 1) if bits and 8 < bits < 16 else None


def _is_negative(image: Image.Image) -> bool:
    """Return whether a TIFF file says that 0 is white. Pillow inverts images of 8 bits only."""
    return image.format == "TIFF" and image.tag_v2.get(262) == 0  # type: ignore[attr-defined]


def to_bytes(image: Image.Image, pixel_range: PixelRange) -> Image.Image:
    """Return an image with more than 8 bits per pixel, upright, in grey of 8 bits."""
    numbers = upright_numbers(image).astype(np.float32)
    shades = (numbers - pixel_range.black) * (255 / (pixel_range.white - pixel_range.black))
    shades = np.clip(np.rint(shades), 0, 255).astype(np.uint8)
    if _is_negative(image):
        shades = 255 - shades
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        shades[numbers == transparent] = 255
    return Image.fromarray(shades)


def on_paper(image: Image.Image) -> Image.Image:
    """Return the image upright, in RGB, on a white background if it is transparent."""
    upright = ImageOps.exif_transpose(image)
    if upright.has_transparency_data:
        paper = Image.new("RGBA", upright.size, "white")
        paper.alpha_composite(upright.convert("RGBA"))
        upright = paper
    return upright.convert("RGB")


def _in_colour(image: Image.Image, pixel_range: PixelRange | None) -> Image.Image:
    """Return the image upright, in RGB. Without `pixel_range`, white is that of the pixels' type."""
    if is_deep(image.mode):
        image = to_bytes(image, pixel_range or PixelRange(0, 1 if image.mode == "F" else 65535, image.mode == "F"))
    return on_paper(image)


@contextlib.contextmanager
def decoding(file: Path) -> Iterator[None]:
    """Turn any error of the block, which decodes `file`, into a `UserError`, as if the file was changed or removed."""
    try:
        yield
    except Exception as error:  # decoders raise exceptions of any class for a damaged file
        raise UserError(f"{file}: not an image that can be read ({first_line(error)})") from error


def decode(file: Path | BinaryIO, side: int, pixel_range: PixelRange | None = None) -> Array:
    """Decode an image file to bytes (side, side, 3): scale the shorter side to `side`, and crop the longer one.

    Args:
        file: The file.
        side: Side of the result in pixels.
        pixel_range: Black and white, for an image with more than 8 bits per pixel.

    Raises:
        ValueError: as `open_image`. For a damaged file, decoders raise any exception.
    """
    with open_image(file) as image:
        return _fit(image, side, pixel_range)


def _fit(image: Image.Image, side: int, pixel_range: PixelRange | None = None) -> Array:
    image.draft("RGB", (side, side))  # decodes a large JPEG at a lower resolution, which is faster
    return np.asarray(ImageOps.fit(_in_colour(image, pixel_range), (side, side), Image.Resampling.BILINEAR))


def decode_grey(file: Path, pixel_range: PixelRange | None = None) -> Array:
    """Decode an image file to grey values (height, width), float32 in [0, 255].

    Args:
        file: The file.
        pixel_range: Black and white, for an image with more than 8 bits per pixel.

    Raises:
        ValueError: as `decode`.
    """
    with open_image(file) as image:
        return np.asarray(_in_colour(image, pixel_range).convert("L"), dtype=np.float32)


def inspect(files: Sequence[Path]) -> list[ImageFacts]:
    """Read and decode every file once, in parallel, with a progress bar on a terminal."""
    Image.init()  # not by several threads at once
    with warnings.catch_warnings(), ThreadPoolExecutor() as pool:
        warnings.simplefilter("ignore")  # about large images and damaged metadata
        found = pool.map(_inspect, files)
        console, quiet = Console(stderr=True), not sys.stderr.isatty()
        return list(track(found, "reading images", len(files), console=console, transient=True, disable=quiet))


def _inspect(path: Path) -> ImageFacts:
    try:
        if not path.is_file():
            return ImageFacts(path, "not a file")
        with path.open("rb") as file, open_image(file) as image:
            mode, size, animated = image.mode, image.size, _is_animated(image)
            declared = None
            if is_deep(mode):
                pixels, declared = upright_numbers(image), _declared(image)
            else:
                pixels = _fit(image, THUMBNAIL)
            low, high = pixels.min().item(), pixels.max().item()
            if declared and not declared[0] <= low <= high <= declared[1]:
                declared = None
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").digest()
            return ImageFacts(path, "", digest, mode, size, animated, low, high, declared)
    except PermissionError:
        return ImageFacts(path, "no permission to read it")
    except MemoryError:
        return ImageFacts(path, "too large for the memory")
    except Exception as error:  # decoders raise exceptions of any class for a damaged file
        return ImageFacts(path, f"not an image that can be read ({first_line(error)})")


def _is_animated(image: Image.Image) -> bool:
    """Return whether the file has several frames or pages. Phones put a copy of other sizes into an MPO file."""
    return image.format in ("GIF", "PNG", "WEBP", "TIFF") and bool(getattr(image, "is_animated", False))


def choose_range(facts: Sequence[ImageFacts], where: str) -> tuple[PixelRange | None, list[str]]:
    """Choose black and white for all images with more than 8 bits per pixel.

    They are those that the files declare. Otherwise, black is 0, and white is 1 for floating-point numbers, and for
    whole numbers the smallest of `WHITE_LEVELS` that is not exceeded.

    Args:
        facts: Facts of the images, also of those with 8 bits.
        where: Name of the files, for the notes.

    Returns:
        The range, or None if no image has more than 8 bits; and a note of the decision.

    Raises:
        UserError: if the range cannot be known.
    """
    deep = [one for one in facts if one.deep]
    if not deep:
        return None, []
    floats = deep[0].floats
    if other := next((one for one in deep if one.floats != floats), None):
        raise UserError(
            f"{where}: {deep[0].path.name} has pixels of mode {deep[0].mode}, {other.path.name} of mode {other.mode}; "
            "save all images with the same type of pixels"
        )
    lowest, highest = min(deep, key=lambda one: one.low), max(deep, key=lambda one: one.high)
    span = f"{_number(lowest.low)} to {_number(highest.high)}"
    kind = f"{counted(len(deep), 'image')} with {'floating-point pixels' if floats else 'more than 8 bits per pixel'}"
    if all(one.declared for one in deep):
        black = min(one.declared[0] for one in deep if one.declared)
        white = max(one.declared[1] for one in deep if one.declared)
        words = f"the files say that black is {_number(black)} and white {_number(white)}"
        return PixelRange(black, white, floats), [f"{where}: {kind}, values {span}; {words}"]
    if floats:
        if lowest.low < -OVERSHOOT or highest.high > 1 + OVERSHOOT:
            worst = highest if highest.high > 1 + OVERSHOOT else lowest
            raise UserError(
                f"{where}: {kind}, values {span}, as in {worst.path.name}; black and white are not known; "
                "scale the values to 0 to 1, or write SMinSampleValue and SMaxSampleValue into TIFF files"
            )
        clipped = ", others are clipped" if lowest.low < 0 or highest.high > 1 else ""
        return PixelRange(0, 1, True), [f"{where}: {kind}, values {span}; black is 0 and white 1{clipped}"]
    if lowest.low < 0:
        raise UserError(
            f"{where}: {kind}, values {span}, as in {lowest.path.name}; the value of black is not known; "
            "save the images with values from 0 on"
        )
    white = next((level for level in WHITE_LEVELS if highest.high <= level), 0)
    if not white:
        raise UserError(
            f"{where}: {kind}, values {span}, as in {highest.path.name}; the value of white is not known; "
            "save the images with 16 bits"
        )
    bits = white.bit_length()
    words = f"as of {bits} bits, so white is {white:,} in all of them" if white < 65535 else "so white is 65,535"
    return PixelRange(0, white), [f"{where}: {kind}, values {span}; {words}"]


def _number(value: float) -> str:
    return f"{value:,.4g}" if isinstance(value, float) and not value.is_integer() else f"{int(value):,}"


def skipped_notes(facts: Sequence[ImageFacts]) -> list[str]:
    """Return a note for each file with a fault, of at most `NAMED` files, and one with their number."""
    faulty = [one for one in facts if one.fault]
    notes = [f"{one.path}: skipped, {one.fault}" for one in faulty[:NAMED]]
    if faulty:
        more = f", of which {NAMED} are named" if len(faulty) > NAMED else ""
        notes.append(f"{counted(len(faulty), 'file')} skipped{more}")
    return notes


def animated_notes(facts: Sequence[ImageFacts]) -> list[str]:
    """Return a note that names files with several frames or pages, or none."""
    several = [one.path for one in facts if one.animated]
    if not several:
        return []
    return [f"only the first frame or page is read of {counted(len(several), 'image')}: {names(several)}"]


def counted(number: int, noun: str) -> str:
    """Return a number of files or images in words."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def names(paths: Sequence[Path], most: int = 5) -> str:
    """Return the first `most` paths in words."""
    return ", ".join(map(str, paths[:most])) + (f" and {len(paths) - most:,} more" if len(paths) > most else "")
