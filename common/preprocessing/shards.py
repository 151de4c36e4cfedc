"""Shards: a data set in a few large files of records, each of which can be read alone.

shards/index.json       facts about the data, and the shards with their sizes
shards/examples.npz     an array for each fact about an example, such as its target
shards/00000.array_record …   images and sentences
shards/00000.rows …           rows of a table, as in memory: reading one costs much less than a record of ArrayRecord
"""

import dataclasses
import hashlib
import importlib.util
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pydantic
from rich.console import Console
from rich.progress import track

from common.data import Array, ColumnFormat, PixelRange, fingerprint
from common.errors import UserError, first_line, reading
from common.preprocessing.row_files import RowFiles

INDEX, EXAMPLES = "index.json", "examples.npz"
SHARD_BYTES = 200_000_000
"""Size of a shard, if their number is not given."""
OPTIONS = "group_size:1,uncompressed"
"""ArrayRecord's options, with which each record can be read alone."""
Kind = Literal["image", "table", "text"]


@dataclass(frozen=True, kw_only=True)
class Index:
    """Facts about a folder of shards."""

    name: str
    """Name of the data set, which is that of the file or of the folder of images."""
    digest: str
    """Fingerprint of the records, the facts about them and the names of the outputs; that of the folder of images."""
    kind: Kind
    outputs: tuple[str, ...]
    """Names of the classes, or of the quantity."""
    shards: Mapping[str, int]
    """Size in bytes by name of each shard, in order."""
    notes: tuple[str, ...] = ()
    facts: Mapping[str, str] = dataclasses.field(default_factory=dict)
    parts: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Number of images by part: train, and validation and test if the folder had them. They follow one another."""
    pixels: PixelRange | None = None
    settings: Mapping[str, str | tuple[str, ...]] = dataclasses.field(default_factory=dict)
    """Settings that decided how the file was read."""
    inputs: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """NumPy's name of the type of each column in a row."""
    levels: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    """Values of each column of text."""
    formats: Mapping[str, ColumnFormat] = dataclasses.field(default_factory=dict)
    overview: Mapping[str, tuple[str | int, ...]] = dataclasses.field(default_factory=dict)
    """Table of the columns, of the rows that decided their types."""


INDICES = pydantic.TypeAdapter(Index)


@dataclass(frozen=True, eq=False)
class Records:
    """Examples in shards, which a subclass reads."""

    folder: Path
    records: Any
    """All records of the shards; several threads can read them."""
    rows: Array
    """Indices (examples,) into `records`."""

    def __len__(self) -> int:
        return len(self.rows)

    def part(self, rows: Array) -> Self:
        """Return the examples at `rows` (n,), without reading them."""
        return dataclasses.replace(self, rows=self.rows[rows])

    def joined(self, others: Self) -> Self:
        """Return these examples followed by the others of the same shards, without reading them."""
        return dataclasses.replace(self, rows=np.concatenate([self.rows, others.rows]))


def check_installed() -> None:
    """Check that ArrayRecord files can be read and written.

    Raises:
        UserError: if the package is missing.
    """
    if importlib.util.find_spec("array_record") is None:
        raise UserError(f"shards need array-record; {sys.executable} -m pip install -r requirements-shards.txt")


def is_shards(folder: Path) -> bool:
    """Return whether `folder` is one of shards."""
    return (folder / INDEX).is_file() and (folder / EXAMPLES).is_file()


def file_size(path: Path) -> int:
    """Return the size of a file in bytes.

    Raises:
        UserError: if there is none.
    """
    with reading(path):
        return path.stat().st_size


def read(folder: Path, kind: Kind) -> tuple[Index, dict[str, Array], Any]:
    """Open a folder of shards.

    Args:
        folder: The folder.
        kind: Kind of the examples.

    Returns:
        The index, the arrays of facts about the examples by name, and the records, which several threads can read:
        `RowFiles` of a table, else ArrayRecord's.

    Raises:
        UserError: if a file is missing or damaged, the shards have other examples, or the package that reads shards is
            missing.
    """
    with reading(folder / INDEX):
        content = (folder / INDEX).read_bytes()
    try:
        index = INDICES.validate_json(content)
        with np.load(folder / EXAMPLES) as examples:
            arrays = dict(examples)
    except Exception as error:  # np.load raises exceptions of any class for a damaged file
        raise UserError(f"{folder}: {INDEX} or {EXAMPLES} is damaged; copy or write the folder again") from error
    if index.kind != kind:
        raise UserError(f"{folder}: shards of a {index.kind}, not of a {kind}; choose another app")
    for name, size in index.shards.items():
        if (found := file_size(folder / name)) != size:
            raise UserError(f"{folder / name}: {found:,} bytes instead of {size:,}; copy it again")
    files = [folder / name for name in index.shards]
    try:
        if kind == "table":
            return index, arrays, RowFiles(files, np.dtype(list(index.inputs.items())))
        check_installed()
        from array_record.python.array_record_data_source import ArrayRecordDataSource

        return index, arrays, ArrayRecordDataSource(list(map(str, files)))
    except (RuntimeError, ValueError) as error:
        raise damaged(folder, error) from error


def damaged(folder: Path, error: Exception) -> UserError:
    """Return the error of a shard that cannot be read."""
    return UserError(f"{folder}: a shard is damaged ({first_line(error)}); copy it again")


def write(
    folder: Path,
    kind: Kind,
    records: Iterable[bytes],
    index: Callable[[], tuple[Mapping[str, Any], Mapping[str, Any]]],
    shard_bytes: int = 0,
) -> Index:
    """Write records as shards. A folder that exists is complete.

    Args:
        folder: The folder to make.
        kind: Kind of the examples.
        records: The records; of a table, the bytes of some rows by `row_files.content`.
        index: Returns, after all records, the arrays of facts about the examples by name, and the fields of the
            `Index`, but for its kind and shards, and its fingerprint if that is the one of the records.
        shard_bytes: Size from which a shard is full; 0: `SHARD_BYTES`.

    Raises:
        UserError: if the folder exists or cannot be written, or a file cannot be read.
    """
    if folder.exists():
        raise UserError(f"{folder}: exists already; remove it, or choose another folder")
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        sizes, content = _write_records(partial, kind, records, shard_bytes or SHARD_BYTES)
        arrays, facts = index()
        digest = fingerprint(content, *(array.tobytes() for array in arrays.values()), repr(facts["outputs"]))
        found = Index(kind=kind, shards=sizes, **{"digest": digest, **facts})
        np.savez(partial / EXAMPLES, **arrays)
        (partial / INDEX).write_bytes(INDICES.dump_json(found, indent=2))
        partial.rename(folder)
    except RuntimeError as error:
        raise UserError(f"{folder}: cannot be written ({first_line(error)})") from error
    except OSError as error:
        raise UserError(f"{error.filename or folder}: cannot be read or written ({error.strerror})") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return found


def _write_records(folder: Path, kind: Kind, records: Iterable[bytes], full: int) -> tuple[dict[str, int], str]:
    """Write records into shards of at least `full` bytes; returns the size of each by name, and a fingerprint."""
    names, writer, room, digest = list[str](), None, 0, hashlib.sha256()
    try:
        for record in records:
            if writer is None or room <= 0:
                if writer:
                    writer.close()
                names.append(f"{len(names):05}.{'rows' if kind == 'table' else 'array_record'}")
                writer, room = _writer(folder / names[-1], kind), full
            writer.write(record)
            room -= len(record)
            digest.update(record + b"\0")
    finally:
        if writer:
            writer.close()
    return {name: (folder / name).stat().st_size for name in names}, digest.hexdigest()


def _writer(path: Path, kind: Kind) -> Any:
    """Return a writer of a shard, which writes records and closes."""
    if kind == "table":
        return path.open("wb")
    from array_record.python.array_record_module import ArrayRecordWriter

    return ArrayRecordWriter(str(path), OPTIONS)


def progress(items: Iterable[Any], total: int, words: str = "writing shards") -> Iterator[Any]:
    """Yield `items`, of which there are about `total`, with a progress bar on a terminal."""
    console, quiet = Console(stderr=True), not sys.stderr.isatty()
    yield from track(items, words, total, console=console, transient=True, disable=quiet)
