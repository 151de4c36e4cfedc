"""Decode image files to bytes.

Pixels of more than 8 bits are scaled by one `PixelRange` for all files that are read together, never by that of each
file, because a difference in brightness between two images would be lost.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from common.data import Array, PixelRange
from common.errors import UserError, first_line

FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
"""Pillow's names of the formats that are read."""
SIGNATURES = {b"DDS ": "DDS", b"%!PS": "EPS", b"%PDF": "PDF", b"8BPS": "PSD", b"\x93NUMPY": "NumPy", b"<svg": "SVG"}
"""First bytes of files that often have the extension of another format."""
LARGEST_IMAGE = 100_000_000
"""Maximum number of pixels of an image, because a small file can unpack to more than the memory."""
THUMBNAIL = 16
"""Side of a thumbnail in pixels."""
THREADS = os.cpu_count() or 1
"""Threads that decode images. More of them wait for Python's lock: six on two cores read a fifth fewer a second."""


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
        return fit(image, side, pixel_range)


def fit(image: Image.Image, side: int, pixel_range: PixelRange | None = None) -> Array:
    """Return an image as bytes (side, side, 3), as `decode`."""
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
