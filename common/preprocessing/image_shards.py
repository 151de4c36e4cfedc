"""Images in a few large files, the shards, from which each image can be read alone: ArrayRecord files.

The index has the names of the classes and the range of the pixels; `examples.npz` the label and group of each image. A
record is the image's file, byte for byte, so training from shards equals training from the folder.
"""

import dataclasses
import io
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydantic

from common.data import Array, Description, Formats, Pair, PixelRange, RawData
from common.preprocessing import shards
from common.preprocessing.image_decoding import THUMBNAIL, decode, decoding
from common.preprocessing.image_files import StoredImages


@dataclass(frozen=True, kw_only=True)
class Index:
    """Facts about a folder of shards."""

    name: str
    """Name of the data set, which is that of the folder of images."""
    digest: str
    """Fingerprint of the folder of images."""
    outputs: tuple[str, ...]
    """Names of the classes."""
    parts: Mapping[str, int]
    """Number of images by part: train, and validation and test if the folder had them. They follow one another."""
    shards: Mapping[str, int]
    """Size in bytes by name of each shard, in order."""
    pixels: PixelRange | None
    notes: tuple[str, ...]
    facts: Mapping[str, str]


INDICES = pydantic.TypeAdapter(Index)


@dataclass(frozen=True, eq=False)
class ImageShards(StoredImages):
    """Images in shards as an array of bytes (images, side, side, 3). Decoded images are not kept in memory."""

    folder: Path
    records: Sequence[bytes]
    """The image files in the shards; several threads can read them."""
    rows: Array
    """Indices (images,) into `records`."""
    side: int
    pixel_range: PixelRange | None = None
    """Black and white of the images with more than 8 bits per pixel."""

    def __len__(self) -> int:
        return len(self.rows)

    def _decode(self, index: Any) -> Array:
        row = self.rows[index]
        with decoding(self.folder / f"image {row}"):
            return decode(io.BytesIO(self.records[row]), self.side, self.pixel_range)

    def part(self, rows: Array) -> "ImageShards":
        """Return the images at `rows` (n,), without reading them."""
        return dataclasses.replace(self, rows=self.rows[rows])

    def joined(self, others: "ImageShards") -> "ImageShards":
        """Return these images followed by the others of the same shards, without reading them."""
        return dataclasses.replace(self, rows=np.concatenate([self.rows, others.rows]))

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
        UserError: if a file is missing or damaged, or the package that reads shards is missing.
    """
    index, examples, records = shards.read(folder, INDICES, "images")
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


def write(raw: RawData, folder: Path, number: int = 0) -> Index:
    """Write images as shards, with a progress bar on a terminal. A folder that exists is complete.

    Args:
        raw: Images as `ImageFiles`.
        folder: The folder to make.
        number: Number of shards; 0: one for each `shards.SHARD_BYTES`.

    Raises:
        UserError: if the folder exists or cannot be written, an image cannot be read, or the package is missing.
    """
    pairs = {"train": raw.train, "validation": raw.validation, "test": raw.test}
    pairs = {part: pair for part, pair in pairs.items() if pair}
    files = [file for images, _ in pairs.values() for file in images.files]
    with shards.writing(folder) as partial:
        names = _write_records(files, partial, number)
        index = Index(
            name=raw.name,
            digest=raw.digest,
            outputs=raw.outputs,
            parts={part: len(labels) for part, (_, labels) in pairs.items()},
            shards={name: (partial / name).stat().st_size for name in names},
            pixels=raw.formats.pixels,
            notes=raw.description.notes,
            facts=raw.description.facts,
        )
        labels = np.concatenate([labels for _, labels in pairs.values()])
        groups = np.array([]) if raw.groups is None else raw.groups
        shards.write_index(partial, INDICES, index, labels=labels, groups=groups)
    return index


def _write_records(files: list[Path], folder: Path, number: int) -> list[str]:
    """Write each file as a record of one of `number` shards in `folder`, and return the names of the shards."""
    from array_record.python.array_record_module import ArrayRecordWriter

    number = number or -(-sum(file.stat().st_size for file in files) // shards.SHARD_BYTES)
    shares = np.array_split(np.arange(len(files)), min(number, len(files)))
    names = [f"{place:05}.array_record" for place in range(len(shares))]
    progress = shards.progress(files, len(files))
    for name, share in zip(names, shares, strict=True):
        writer = ArrayRecordWriter(str(folder / name), shards.OPTIONS)
        for file in itertools.islice(progress, len(share)):
            writer.write(file.read_bytes())
        writer.close()
    return names
