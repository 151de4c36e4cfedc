"""Shards: a data set in a few large files of records, each of which can be read alone (ArrayRecord files).

shards/index.json       facts about the data, and the shards with their sizes
shards/examples.npz     an array for each fact about an example, such as its target
shards/00000.array_record …
"""

import contextlib
import hashlib
import importlib.util
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import pydantic
from rich.console import Console
from rich.progress import track

from common.data import Array
from common.errors import UserError, first_line, reading

INDEX, EXAMPLES = "index.json", "examples.npz"
SHARD_BYTES = 200_000_000
"""Size of a shard, if their number is not given."""
OPTIONS = "group_size:1,uncompressed"
"""ArrayRecord's options, with which each record can be read alone."""


class Index(Protocol):
    """Facts about a folder of shards."""

    @property
    def shards(self) -> Mapping[str, int]:
        """Size in bytes by name of each shard, in order."""


Facts = TypeVar("Facts", bound=Index)


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


def read(folder: Path, facts: pydantic.TypeAdapter[Facts], noun: str) -> tuple[Facts, dict[str, Array], Any]:
    """Open a folder of shards.

    Args:
        folder: The folder.
        facts: Type of its index.
        noun: Word for the examples in error messages.

    Returns:
        The index, the arrays of facts about the examples by name, and the records, which several threads can read.

    Raises:
        UserError: if a file is missing or damaged, or the package that reads shards is missing.
    """
    check_installed()
    from array_record.python.array_record_data_source import ArrayRecordDataSource

    with reading(folder / INDEX):
        content = (folder / INDEX).read_bytes()
    try:
        index = facts.validate_json(content)
        with np.load(folder / EXAMPLES) as examples:
            arrays = dict(examples)
    except Exception as error:  # np.load raises exceptions of any class for a damaged file
        fault = f"{INDEX} or {EXAMPLES} is damaged, or has no {noun}"
        raise UserError(f"{folder}: {fault}; copy or write the folder again") from error
    for name, size in index.shards.items():
        with reading(folder / name):
            found = (folder / name).stat().st_size
        if found != size:
            raise UserError(f"{folder / name}: {found:,} bytes instead of {size:,}; copy it again")
    try:
        records = ArrayRecordDataSource([str(folder / name) for name in index.shards])
    except RuntimeError as error:
        raise damaged(folder, error) from error
    return index, arrays, records


def damaged(folder: Path, error: Exception) -> UserError:
    """Return the error of a shard that cannot be read."""
    return UserError(f"{folder}: a shard is damaged ({first_line(error)}); copy it again")


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[Path]:
    """Make `folder`: the block writes into the folder that it gets, which is renamed at the end.

    Raises:
        UserError: if the folder exists or cannot be written, a file cannot be read, or the package is missing.
    """
    check_installed()
    if folder.exists():
        raise UserError(f"{folder}: exists already; remove it, or choose another folder")
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
        partial.rename(folder)
    except RuntimeError as error:
        raise UserError(f"{folder}: cannot be written ({first_line(error)})") from error
    except OSError as error:
        raise UserError(f"{error.filename or folder}: cannot be read or written ({error.strerror})") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_index(folder: Path, facts: pydantic.TypeAdapter[Facts], index: Facts, **examples: Any) -> None:
    """Write the index of a folder of shards, and arrays of facts about the examples by name."""
    np.savez(folder / EXAMPLES, **examples)
    (folder / INDEX).write_bytes(facts.dump_json(index, indent=2))


def write_records(records: Iterable[bytes], folder: Path) -> tuple[dict[str, int], str]:
    """Write records into shards of `SHARD_BYTES`.

    Returns:
        The size of each shard by name, and a fingerprint of the records.
    """
    from array_record.python.array_record_module import ArrayRecordWriter

    names, writer, room, digest = list[str](), None, 0, hashlib.sha256()
    for record in records:
        if writer is None or room < len(record):
            if writer:
                writer.close()
            names.append(f"{len(names):05}.array_record")
            writer, room = ArrayRecordWriter(str(folder / names[-1]), OPTIONS), SHARD_BYTES
        writer.write(record)
        room -= len(record)
        digest.update(record + b"\0")
    if writer:
        writer.close()
    return {name: (folder / name).stat().st_size for name in names}, digest.hexdigest()


def progress(items: Iterable[Any], total: int, words: str = "writing shards") -> Iterator[Any]:
    """Yield `items`, of which there are about `total`, with a progress bar on a terminal."""
    console, quiet = Console(stderr=True), not sys.stderr.isatty()
    yield from track(items, words, total, console=console, transient=True, disable=quiet)
