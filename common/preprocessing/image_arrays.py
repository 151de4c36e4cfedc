"""Images in arrays: the rules for their layout and for the values of black and white.

| shape | images |
| --- | --- |
| (n, height, width), (height, width) | n grey images, or one |
| (n, height, width, 1), (n, 1, height, width) | n grey images, with an axis for their only channel |
| (n, height, width, 3), (n, 3, height, width), also with 4 | n images in RGB or RGBA, converted to grey |
| (height, width, 3), also with 4 | one image in RGB or RGBA, unless it has the size of the training images |
| (height, width, n), (height, width, channels, n) | n images, if the first two axes are the sides of an image |
| (n, side * side), (side * side,) | n flat images of the size of the training images, or one |

The scale is that of the whole array, never of each image. Whole numbers up to 1, 3, 15 and 16 are scaled to 255; larger
ones up to 255 stay as they are, if they reach 64; above, white is 1,023, 4,095, 16,383 or 65,535. Other numbers are in
[0, 1] or [0, 255]. An array that fits several rules, or none, is refused.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from common.data import Array
from common.errors import UserError
from common.preprocessing import arrays
from common.preprocessing.image_decoding import LARGEST_IMAGE, on_paper
from common.preprocessing.image_facts import OVERSHOOT, WHITE_LEVELS, counted

SMALLEST_SIDE = 8
"""Smallest side of an image in pixels. A shorter axis counts images or channels."""
LONGEST = 4
"""Largest ratio of an image's sides. Of a longer shape, one axis counts images or flat pixels."""
FAINT = 64
"""Whole numbers that stay below may be of 5 to 8 bits."""
CHANNELS = (1, 3, 4)


def read_images(path: Path, side: int) -> tuple[list[Array], list[str]]:
    """Read the images in a `.npy` file, given the `side` of the training images in pixels.

    Returns:
        Grey values (height, width) of each image, float32 in [0, 255]; and a note, if a rule was needed to read them.

    Raises:
        UserError: if the file is no array of images, or its layout or scale is ambiguous.
    """
    array = arrays.read_array(path)
    try:
        if array.dtype.kind not in "buif" or not array.size:
            raise ValueError("grey images (n, height, width) of numbers are needed")
        found, layout = arrange(array, side)
        if found.shape[1] * found.shape[2] > LARGEST_IMAGE:
            raise ValueError(f"more than {LARGEST_IMAGE:,} pixels in an image; make it smaller")
    except ValueError as error:
        raise UserError(f"{path}: {array.dtype} of shape {array.shape}; {error}") from error
    if not np.isfinite(array).all():
        raise UserError(f"{path}: has pixels that are nan or infinite")
    try:
        white, scale = white_level(array)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error
    scaled = np.clip(found.astype(np.float32) * np.float32(255 / white), 0, 255)
    images = [_grey(image) for image in scaled] if scaled.ndim == 4 else list(scaled)
    number, height, width = found.shape[:3]
    words = ", ".join(word for word in (f"{counted(number, 'image')} of {height} x {width}", layout, scale) if word)
    return images, [f"{path}: shape {array.shape} is read as {words}"] if layout or scale else []


def _grey(image: Array) -> Array:
    """Convert an image in RGB or RGBA (height, width, 3 or 4), in [0, 255], to grey (height, width)."""
    return np.asarray(on_paper(Image.fromarray(np.rint(image).astype(np.uint8))).convert("L"), dtype=np.float32)


def arrange(array: Array, side: int) -> tuple[Array, str]:
    """Bring images to the layout (n, height, width) or (n, height, width, 3 or 4), given the `side` of training images.

    Returns:
        The images, and the layout in words; "" if the array has it already.

    Raises:
        ValueError: if the layout is unknown or ambiguous. The message ends the sentence "shape (…); …".
    """
    shape, flat = array.shape, side * side
    match shape:
        case (pixels,) if pixels == flat:
            return array.reshape(1, side, side), "one flat image"
        case (number, pixels) if pixels == flat and number != flat:
            return array.reshape(number, side, side), "flat images, row by row"
        case (_, pixels) if pixels == flat + 1:
            raise ValueError(
                f"flat images have {flat} pixels here; remove the column that is no pixel, such as the label"
            )
        case (height, width) if flat not in shape and _is_image(height, width):
            return array[None], ""
        case (height, width):
            raise ValueError(
                f"one image, or several flat ones? reshape the array to (n, {side}, {side}) "
                f"or to (1, {height}, {width})"
            )
        case (_, _, _):
            return _three_axes(array, side)
        case (_, _, _, _):
            return _four_axes(array)
    raise ValueError(f"grey images (n, height, width) are needed; reshape the array, as to (n, {side}, {side})")


def _is_image(height: int, width: int) -> bool:
    return min(height, width) >= SMALLEST_SIDE and max(height, width) <= LONGEST * min(height, width)


def _three_axes(array: Array, side: int) -> tuple[Array, str]:
    first, second, third = array.shape
    sides = {0: (second, third), -1: (first, second)}
    counting = [axis for axis, lengths in sides.items() if _is_image(*lengths)]
    if not counting:
        raise ValueError("no two axes are the sides of an image; grey images (n, height, width) are needed")
    # Of two possible axes, the size of the training images decides, else a square, else the usual order.
    by_size = [axis for axis in counting if sides[axis] == (side, side)]
    by_square = [axis for axis in counting if sides[axis][0] == sides[axis][1]]
    chosen = by_size or by_square or counting[:1]
    if len(chosen) > 1:
        raise ValueError(
            "the first or the last axis may count the images; "
            f"reshape the array to ({first}, {second}, {third}, 1), if it is the first"
        )
    if chosen == [0]:
        return array, ""
    if third in (3, 4):
        if by_size:
            raise ValueError(
                f"one image in colour, or {third} grey ones? reshape the array to (1, {first}, {second}, {third}), "
                "or use np.moveaxis(array, -1, 0)"
            )
        return array[None], "in RGB" if third == 3 else "in RGBA"
    words = "one channel" if third == 1 else "the last axis counts the images"
    return np.moveaxis(array, -1, 0), words


def _four_axes(array: Array) -> tuple[Array, str]:
    first, second, third, fourth = array.shape
    if fourth in CHANNELS and _is_image(second, third):
        images, words = array, ""
    elif second in CHANNELS and _is_image(third, fourth):
        images, words = np.moveaxis(array, 1, -1), "channels first"
    elif third in CHANNELS and _is_image(first, second):
        images, words = np.moveaxis(array, -1, 0), "the last axis counts the images"
    else:
        raise ValueError(
            "no axis of 1, 3 or 4 channels is beside the two sides of an image; images (n, height, width) or "
            "(n, height, width, channels) are needed"
        )
    if images.shape[-1] == 1:
        return images[..., 0], words
    colours = "in RGB" if images.shape[-1] == 3 else "in RGBA"
    return images, f"{words}, {colours}" if words else colours


def white_level(values: Array) -> tuple[float, str]:
    """Return the value of white in an array of pixels, of which 0 is black.

    Args:
        values: Finite numbers or booleans of any shape, of all images together.

    Returns:
        The value, and the scale in words; "" for whole numbers up to 255.

    Raises:
        ValueError: if the scale is unknown.
    """
    low, high = values.min().item(), values.max().item()
    whole = values.dtype.kind != "f" or (high > 1 and bool((values == np.rint(values)).all()))
    span = f"{values.dtype} from {low:.4g} to {high:.4g}"
    fix = "scale the pixels to [0, 1] or to whole numbers from 0 to 255"
    if low < (0 if whole else -OVERSHOOT):
        raise ValueError(f"negative pixels, {span}; the value of black is not known; {fix}")
    if not whole:
        if high <= 1 + OVERSHOOT:
            clipped = ", values outside are clipped" if low < 0 or high > 1 else ""
            return 1, f"white is 1{clipped}"
        if FAINT <= high <= 255:
            return 255, "white is 255"
        raise ValueError(f"{span}; the value of white is not known; {fix}")
    for white in (1, 3, 15, 16):
        if high <= white:
            return white, f"white is {white}" if high else ""
    if high < FAINT:
        raise ValueError(f"{span}; the value of white is not known, 31, 63 or 255; {fix}")
    level = next((level for level in WHITE_LEVELS if high <= level), None)
    if level is None:
        raise ValueError(f"{span}; the value of white is not known; {fix}")
    return level, "" if level == 255 and values.dtype == np.uint8 else f"white is {level:,}"
