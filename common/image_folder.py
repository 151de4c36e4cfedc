"""Photographs in a folder per class: looked through once, then read from the disk whenever they are asked for."""

import hashlib
import io
import sys
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from common.app import Array, Data, Pair
from common.errors import UserError
from common.preprocessing import on_paper

LARGEST = 100_000_000
"""Pixels of a picture beyond which it is not decoded: a small file can unpack to more than the memory."""
NAMED = 20
"""Files that are named among those that are skipped."""
THUMBNAIL = 16
"""Pixels along each side of a thumbnail."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """Picture files as an array of bytes (pictures, side, side, 3), which is never in memory as a whole.

    An index, a slice or an array of indices reads the files it names, several at once.
    """

    files: tuple[Path, ...]
    side: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of pictures, height, width, colours."""
        return (len(self.files), self.side, self.side, 3)

    @property
    def ndim(self) -> int:
        """Four."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of bytes in all pictures."""
        return int(np.prod(self.shape))

    @property
    def nbytes(self) -> int:
        """The same."""
        return self.size

    @property
    def dtype(self) -> "np.dtype[Any]":
        """Bytes."""
        return np.dtype(np.uint8)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, indices: Any) -> Array:
        if isinstance(indices, int | np.integer):
            return decode(self.files[indices], self.side)
        chosen = np.arange(len(self))[indices]
        with ThreadPoolExecutor() as pool:
            pictures = list(pool.map(lambda index: decode(self.files[index], self.side), chosen))
        return np.stack(pictures) if pictures else np.empty((0, *self.shape[1:]), np.uint8)

    def part(self, indices: Array) -> "Pictures":
        """Some of the pictures, still on the disk."""
        return Pictures(tuple(self.files[index] for index in indices), self.side)

    def joined(self, others: "Pictures") -> "Pictures":
        """These pictures, then the others."""
        return Pictures(self.files + others.files, self.side)

    def thumbnails(self) -> Array:
        """All pictures, (pictures, THUMBNAIL, THUMBNAIL, 3), in memory."""
        return Pictures(self.files, THUMBNAIL)[:]


def decode(file: Any, side: int) -> Array:
    """A picture file as bytes (side, side, 3): its shorter side scaled to `side`, the middle of the longer one kept.

    Raises:
        ValueError: for a picture of more than `LARGEST` pixels; and what its decoder raises where it is damaged.
    """
    with Image.open(file) as picture:
        if picture.width * picture.height > LARGEST:
            raise ValueError(f"{picture.width} x {picture.height} pixels are more than {LARGEST:,}")
        picture.draft("RGB", (side, side))  # spares most of the decoding of a large JPEG
        return np.asarray(ImageOps.fit(on_paper(picture), (side, side), Image.Resampling.BILINEAR))


@dataclass(frozen=True)
class _Checked:
    """What a look at one file found: a fingerprint of its content, and what is wrong with it, if something is."""

    file: Path
    digest: bytes
    fault: str | None


def check(files: Sequence[Path], side: int) -> list[_Checked]:
    """Read and decode every file once, to find those that cannot be."""

    def look(file: Path) -> _Checked:
        try:
            content = file.read_bytes()
            decode(io.BytesIO(content), side)
        except Exception as error:  # a decoder raises whatever it trips over: the file is the user's
            return _Checked(file, b"", next(iter(str(error).splitlines()), type(error).__name__))
        return _Checked(file, hashlib.sha256(content).digest(), None)

    with warnings.catch_warnings(), ThreadPoolExecutor() as pool:
        warnings.simplefilter("ignore")  # of large pictures and damaged metadata
        return list(pool.map(look, files))


def load(folder: str, side: int, validation: float, seed: int) -> Data:
    """The pictures of `folder`, in a folder per class, split; the pictures are `Pictures`, the labels int32.

    A file that cannot be decoded is named on stderr and left out. The test part is as large a share as `validation` and
    the same for every seed; every class is in each part in proportion. The fingerprint is of the files' content.

    Raises:
        UserError: where there is no such folder, or too little in it to learn from.
    """
    root = Path(folder)
    if not root.is_dir():
        raise UserError(f"--images {folder}: no such folder")
    found = {path.name: _picture_files(path) for path in sorted(root.iterdir()) if path.is_dir()}
    classes = tuple(name for name, files in found.items() if files)
    if len(classes) < 2:
        raise UserError(f"--images {folder}: {len(classes)} folders with pictures; put those of each class into one")
    checked = check([file for name in classes for file in found[name]], side)
    _tell([entry for entry in checked if entry.fault])
    whole = [entry for entry in checked if not entry.fault]
    labels = np.array([classes.index(entry.file.relative_to(root).parts[0]) for entry in whole], dtype=np.int32)
    digest = hashlib.sha256()
    for entry, label in zip(whole, labels, strict=True):
        digest.update(entry.digest + classes[label].encode())
    rest, test = _split(folder, np.arange(len(labels)), labels, validation, 0)
    train, held = _split(folder, rest, labels, validation / (1 - validation), seed)
    pictures = Pictures(tuple(entry.file for entry in whole), side)

    def part(indices: Array) -> Pair:
        return pictures.part(indices), labels[indices]

    return Data(root.resolve().name, digest.hexdigest()[:16], part(train), part(held), part(test), classes)


def _picture_files(folder: Path) -> list[Path]:
    """The picture files in `folder` and the folders in it, hidden ones left out."""
    known = Image.registered_extensions()
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in known and path.is_file() and not path.name.startswith(".")
    )


def _tell(skipped: Sequence[_Checked]) -> None:
    for entry in skipped[:NAMED]:
        print(f"{entry.file}: skipped, not a picture that can be read ({entry.fault})", file=sys.stderr)
    if skipped:
        more = f", {len(skipped) - NAMED} more than are named" if len(skipped) > NAMED else ""
        print(f"{len(skipped)} pictures skipped{more}", file=sys.stderr)


def _split(folder: str, indices: Array, labels: Array, share: float, seed: int) -> tuple[Array, Array]:
    """Split `share` from `indices`, every class in proportion."""
    from sklearn.model_selection import train_test_split  # two seconds, which --help need not wait for

    try:
        first, second = train_test_split(indices, test_size=share, random_state=seed, stratify=labels[indices])
    except ValueError as error:
        fewest = min(np.bincount(labels), default=0)
        raise UserError(
            f"--images {folder}: too few pictures to keep some of each class apart for validation and test "
            f"(the smallest class has {fewest} that can be read); add some, or choose another --validation"
        ) from error
    return first, second


def read(files: Sequence[str], side: int) -> tuple[list[str], Pictures]:
    """The pictures of files and folders of files, for a network that takes (side, side, 3); a name for each.

    Raises:
        UserError: for a path that is missing or no picture.
    """
    paths = list(_paths(files))
    for entry in check(paths, side):
        if entry.fault:
            raise UserError(f"{entry.file}: not a picture that can be read ({entry.fault})")
    return [str(path) for path in paths], Pictures(tuple(paths), side)


def _paths(files: Sequence[str]) -> Iterator[Path]:
    for file in map(Path, files):
        if not file.exists():
            raise UserError(f"{file}: no such file")
        if file.is_dir():
            pictures = _picture_files(file)
            if not pictures:
                raise UserError(f"{file}: no pictures in this folder")
            yield from pictures
        else:
            yield file
