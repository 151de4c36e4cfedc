"""Inspect image files: whether each can be read, and black and white of those with more than 8 bits per pixel."""

import hashlib
import sys
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track

from common.data import PixelRange
from common.errors import UserError, first_line
from common.preprocessing.image_decoding import THREADS, THUMBNAIL, fit, is_deep, open_image, upright_numbers

NAMED = 20
"""Maximum number of skipped files that are named."""
WHITE_LEVELS = (255, 1023, 4095, 16383, 65535)
"""Possible values of white in whole numbers: those of 8, 10, 12, 14 and 16 bits."""
DARKEST = 16
"""Largest pixel, of 255, of images of 8 bits that were probably saved with another white."""
OVERSHOOT = 0.05
"""Distance of a pixel from [0, 1] that resampling explains. Such pixels are clipped."""


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


def inspect(files: Sequence[Path]) -> list[ImageFacts]:
    """Read and decode every file once, in parallel, with a progress bar on a terminal."""
    Image.init()  # not by several threads at once
    with warnings.catch_warnings(), ThreadPoolExecutor(THREADS) as pool:
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
                pixels = fit(image, THUMBNAIL)
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
