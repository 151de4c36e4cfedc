"""Sentences: where they come from, how they are split, and how a network takes them.

A set of sentences is an array (sentences,) of Python strings. Keras turns strings into numbers with TensorFlow alone.
"""

import hashlib
import re
import string
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np

from common.data import Array, RawData
from common.errors import UserError
from common.preprocessing import datasets, tables

if TYPE_CHECKING:
    from common.data import SavedModel


TEST_SHARE = 0.2
"""Share of sentences that come without a test part that is kept for one."""
FEWEST = 10
"""Examples that a class needs, so that each part has some."""


def movie_reviews() -> RawData:
    """Sentences from movie reviews, negative or positive by the sign of their mean rating.

    Those that are rated exactly 0, 37 of 10,605, are neither and are left out.
    """
    sentences, ratings, digest = datasets.load_movie_reviews()
    told = ratings != 0
    labels = (ratings[told] > 0).astype("int32")
    return hold_out("movie_reviews", digest, sentences[told], labels, ("negative", "positive"))


def imdb() -> RawData:
    """25,000 whole reviews for training and 25,000 for test, negative or positive (Maas et al. 2011).

    Keras brings words as numbers: they are put together again, in lower case and without punctuation.

    Raises:
        UserError: where Keras's download fails.
    """
    try:
        parts = keras.datasets.imdb.load_data(start_char=None, oov_char=None, index_from=0)
        words = {rank: word for word, rank in keras.datasets.imdb.get_word_index().items()}
    except Exception as error:  # Keras raises it bare
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"--data imdb: Keras could not fetch it ({reason}); choose movie_reviews or --csv") from error
    train, test = (
        (
            np.array([" ".join(words[rank] for rank in review) for review in reviews], dtype=object),
            labels.astype("int32"),
        )
        for reviews, labels in parts
    )
    return RawData("imdb", _digest(*train[0], *test[0]), ("negative", "positive"), train, test)


def read(path: Path, text: str, label: str) -> RawData:
    """The sentences in column `text` of a CSV file, and their classes in column `label`, sorted by name.

    Raises:
        UserError: for a file or column that is not there, an empty cell, and a single or too small a class.
    """
    table = tables.read_cells(path)
    tables.require(path, table, [text, label])
    for column in (text, label):
        if (empty := table[column].eq("")).any():
            raise UserError(
                f"{path}, line {empty.idxmax()}: the column {column} is empty; fill it in or remove the row"
            )
    names, labels, counts = np.unique(table[label].to_numpy(str), return_inverse=True, return_counts=True)
    if len(names) < 2:
        raise UserError(f"{path}: {len(names)} classes in the column {label}; at least two are needed")
    if counts.min() < FEWEST:
        raise UserError(f"{path}: {label} {names[counts.argmin()]} in only {counts.min()} rows; {FEWEST} are needed")
    sentences = table[text].to_numpy(object)
    digest = _digest(*sentences, *table[label])
    return hold_out(tables.data_name(path), digest, sentences, labels.astype("int32"), tuple(map(str, names)))


def _digest(*strings: str) -> str:
    return hashlib.sha256("\0".join(strings).encode()).hexdigest()[:16]


def hold_out(name: str, digest: str, sentences: Array, labels: Array, classes: tuple[str, ...]) -> RawData:
    """Keep `TEST_SHARE` of the sentences for the test, every class in proportion; no run's seed changes which."""
    from sklearn.model_selection import train_test_split

    x_train, x_test, y_train, y_test = train_test_split(
        sentences, labels, test_size=TEST_SHARE, random_state=0, stratify=labels
    )
    return RawData(name, digest, classes, (x_train, y_train), (x_test, y_test))


def vectorizer(sentences: Array, words: int, length: int) -> keras.layers.Layer:
    """A layer from sentences (batch,) to word numbers (batch, `length`): 0 beyond the end, 1 for an unknown word.

    Knows the `words` most frequent words of `sentences`, in lower case and without punctuation.

    Raises:
        UserError: on a backend that has no strings.
    """
    if keras.backend.backend() != "tensorflow":
        raise UserError(f"KERAS_BACKEND {keras.backend.backend()} has no strings; networks on text need tensorflow")
    layer = keras.layers.TextVectorization(max_tokens=words + 2, output_sequence_length=length)
    layer.adapt(sentences)
    return layer


def words(sentence: str) -> list[str]:
    """The words of a sentence as `vectorizer` counts them, as they are written: what has more than punctuation."""
    return [word for word in re.findall(r"[^ \t\n\v\f\r]+", sentence) if word.strip(string.punctuation)]


def read_sentences(words: Sequence[str], saved: "SavedModel") -> tuple[list[str], Array]:
    """Sentences as the user typed them; a name that ends in .txt or .csv is a file of them.

    A text file has a sentence a line. A CSV file has them in the column of training, or in its only one.

    Raises:
        UserError: for a file that is not there or cannot be read, and where there is nothing to read.
    """
    sentences: list[str] = []
    for word in words:
        # A name has no space: "I fell asleep.txt" is more likely a sentence than a file that is missing.
        path = Path(word)
        if path.suffix in (".txt", ".csv") and (path.exists() or " " not in word):
            found = _lines(path) if path.suffix == ".txt" else _column(path, saved.settings["text"])
        else:
            found = [word] if word.strip() else []
        if not found:
            raise UserError(f"{word!r}: no sentence here")
        sentences += found
    return sentences, np.array(sentences, dtype=object)


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeError as error:
        raise UserError(f"{path}: not UTF-8 text; save it in UTF-8") from error


def _column(path: Path, column: str | None) -> list[str]:
    table = tables.read_cells(path)
    if len(table.columns) > 1:
        tables.require(path, table, [column or "text"])
        table = table[[column or "text"]]
    return [sentence for sentence in table.iloc[:, 0] if sentence]
