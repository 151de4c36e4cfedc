"""Images in a few large files, the shards, from which each image can be read alone: ArrayRecord files.

The index has the names of the classes and the range of the pixels; `examples.npz` the label and group of each image. A
record is the image's file, byte for byte, so training from shards equals training from the folder.
"""

import dataclasses
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.data import Array, Description, Formats, Pair, PixelRange, RawData
from common.preprocessing import shards
from common.preprocessing.image_decoding import THUMBNAIL, decode, decoding
from common.preprocessing.image_files import StoredImages


@dataclass(frozen=True, eq=False)
class ImageShards(shards.Records, StoredImages):
    """Images in shards as an array of bytes (images, side, side, 3). Decoded images are not kept in memory."""

    side: int
    pixel_range: PixelRange | None = None
    """Black and white of the images with more than 8 bits per pixel."""

    def _decode(self, index: Any) -> Array:
        row = self.rows[index]
        with decoding(self.folder / f"image {row}"):
            return decode(io.BytesIO(self.records[row]), self.side, self.pixel_range)

    def thumbnails(self) -> Array:
        return dataclasses.replace(self, side=THUMBNAIL)[:]


def read(folder: Path, side: int) -> RawData:
    """Read the index of a folder of shards, without the images.

    Args:
        folder: The folder.
        side: Side of the images in pixels, after scaling.

    Returns:
        `ImageShards` (images, side, side, 3) and int32 labels (images,).

    Raises:
        UserError: as `shards.read`.
    """
    index, examples, records = shards.read(folder, "image")
    labels, groups = examples["labels"], examples["groups"]
    starts = np.cumsum([0, *index.parts.values()])
    pairs = dict[str, Pair]()
    for part, start, stop in zip(index.parts, starts, starts[1:], strict=False):
        pairs[part] = ImageShards(folder, records, np.arange(start, stop), side, index.pixels), labels[start:stop]
    return RawData(
        name=index.name,
        digest=index.digest,
        kind="image",
        outputs=index.outputs,
        train=pairs["train"],
        validation=pairs.get("validation"),
        test=pairs.get("test"),
        formats=Formats(pixels=index.pixels),
        groups=groups if len(groups) else None,
        description=Description(index.notes, {**index.facts, "shards": f"{len(index.shards):,}"}),
    )


def write(raw: RawData, folder: Path, number: int = 0) -> shards.Index:
    """Write images as shards, with a progress bar on a terminal.

    Args:
        raw: Images as `ImageFiles`.
        folder: The folder to make.
        number: Largest number of shards; 0: one for each `shards.SHARD_BYTES`.

    Raises:
        UserError: as `shards.write`, or if an image cannot be read.
    """
    pairs = {"train": raw.train, "validation": raw.validation, "test": raw.test}
    found = {part: pair for part, pair in pairs.items() if pair}
    files = [file for images, _ in found.values() for file in images.files]
    facts = {
        "name": raw.name,
        "digest": raw.digest,
        "outputs": raw.outputs,
        "parts": {part: len(labels) for part, (_, labels) in found.items()},
        "pixels": raw.formats.pixels,
        "notes": raw.description.notes,
        "facts": raw.description.facts,
    }
    labels = np.concatenate([labels for _, labels in found.values()])
    arrays = {"labels": labels, "groups": np.array([]) if raw.groups is None else raw.groups}
    records = (file.read_bytes() for file in shards.progress(files, len(files)))
    full = -(-sum(map(shards.file_size, files)) // number) if number else 0
    return shards.write(folder, "image", records, lambda: (arrays, facts), full)
