"""Images in a few large files, the shards, from which each image can be read alone: ArrayRecord files.

    shards/index.json       names of the classes, the shards with their sizes, and the range of the pixels
    shards/examples.npz     label and group of each image
    shards/00000.array_record …

A record is the image's file, byte for byte, so training from shards equals training from the folder.
"""

import dataclasses
import importlib.util
import io
import itertools
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
from rich.console import Console
from rich.progress import track

from common.data import Array, Description, Formats, Pair, PixelRange, RawData
from common.errors import UserError, first_line, reading
from common.preprocessing.image_decoding import THUMBNAIL, decode, decoding
from common.preprocessing.image_files import StoredImages

INDEX, EXAMPLES = "index.json", "examples.npz"
SHARD_BYTES = 200_000_000
"""Size of a shard, if their number is not given."""


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


def check_installed() -> None:
    """Check that ArrayRecord files can be read and written.

    Raises:
        UserError: if the package is missing.
    """
    if importlib.util.find_spec("array_record") is None:
        raise UserError(f"shards need array-record; {sys.executable} -m pip install -r requirements-shards.txt")


def is_shards(folder: Path) -> bool:
    """Return whether `folder` is one that `write` made."""
    return (folder / INDEX).is_file() and (folder / EXAMPLES).is_file()


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
    check_installed()
    from array_record.python.array_record_data_source import ArrayRecordDataSource

    with reading(folder / INDEX):
        content = (folder / INDEX).read_bytes()
    try:
        index = INDICES.validate_json(content)
        with np.load(folder / EXAMPLES) as examples:
            labels, groups = examples["labels"], examples["groups"]
    except Exception as error:  # np.load raises exceptions of any class for a damaged file
        raise UserError(f"{folder}: {INDEX} or {EXAMPLES} is damaged; copy the folder again") from error
    for name, size in index.shards.items():
        with reading(folder / name):
            found = (folder / name).stat().st_size
        if found != size:
            raise UserError(f"{folder / name}: {found:,} bytes instead of {size:,}; copy it again")
    try:
        records = ArrayRecordDataSource([str(folder / name) for name in index.shards])
    except RuntimeError as error:
        raise UserError(f"{folder}: a shard is damaged ({first_line(error)}); copy it again") from error
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
        number: Number of shards; 0: one for each `SHARD_BYTES`.

    Raises:
        UserError: if the folder exists or cannot be written, an image cannot be read, or the package is missing.
    """
    check_installed()
    if folder.exists():
        raise UserError(f"{folder}: exists already; remove it, or choose another folder")
    pairs = {"train": raw.train, "validation": raw.validation, "test": raw.test}
    pairs = {part: pair for part, pair in pairs.items() if pair}
    files = [file for images, _ in pairs.values() for file in images.files]
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
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
        np.savez(partial / EXAMPLES, labels=labels, groups=[] if raw.groups is None else raw.groups)
        (partial / INDEX).write_bytes(INDICES.dump_json(index, indent=2))
        partial.rename(folder)
    except RuntimeError as error:
        raise UserError(f"{folder}: cannot be written ({first_line(error)})") from error
    except OSError as error:
        raise UserError(f"{error.filename or folder}: cannot be read or written ({error.strerror})") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return index


def _write_records(files: list[Path], folder: Path, number: int) -> list[str]:
    """Write each file as a record of one of `number` shards in `folder`, and return the names of the shards."""
    from array_record.python.array_record_module import ArrayRecordWriter

    number = number or -(-sum(file.stat().st_size for file in files) // SHARD_BYTES)
    shares = np.array_split(np.arange(len(files)), min(number, len(files)))
    names = [f"{place:05}.array_record" for place in range(len(shares))]
    console, quiet = Console(stderr=True), not sys.stderr.isatty()
    progress = iter(track(files, "writing shards", console=console, transient=True, disable=quiet))
    for name, share in zip(names, shares, strict=True):
        # Each image can be read alone; image files are compressed already.
        writer = ArrayRecordWriter(str(folder / name), "group_size:1,uncompressed")
        for file in itertools.islice(progress, len(share)):
            writer.write(file.read_bytes())
        writer.close()
    return names
