"""Image files as an array of bytes, which are read at their use."""

import abc
import dataclasses
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from common.data import Array, PixelRange
from common.preprocessing.image_decoding import THREADS, THUMBNAIL, decode, decoding

CACHE_BYTES = psutil.virtual_memory().total // 4
"""Largest size of the decoded images in memory: a quarter of the machine's."""


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
        with ThreadPoolExecutor(THREADS) as pool:
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
