"""Sentences: reading, and the layer that turns them into word numbers.

Sentences are an array (sentences,) of Python strings. Keras needs TensorFlow to turn strings into numbers.
"""

import re
import string
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np

from common.data import Array, Examples, RawData, fingerprint
from common.errors import UserError, reading
from common.preprocessing import tables

if TYPE_CHECKING:
    from common.data import SavedModel


TEST_SHARE = 0.2
"""Share of the sentences in the test part, if a data set has none. The part is the same for every seed."""
FEWEST = 10
"""Minimum number of examples of a class, so that each part has some."""


def read(path: Path, text: str, label: str) -> RawData:
    """Read sentences (rows,) in column `text` of a CSV file, and int32 labels of the classes in column `label`.

    Raises:
        UserError: if the file or a column is missing, a cell is empty, or there are too few classes or examples.
    """
    table = tables.read_cells(path)
    tables.require(path, table, [text, label])
    for column in (text, label):
        if (empty := table[column].eq("")).any():
            raise UserError(
                f"{path}, line {empty.idxmax()}: the column {column} is empty; fill it in or remove the row"
            )
    labels, classes = tables.class_labels(path, table[label], FEWEST)
    sentences = table[text].to_numpy(object)
    return RawData(
        name=path.name,
        digest=fingerprint("\0".join([*sentences, *table[label]])),
        kind="text",
        outputs=classes,
        train=(sentences, labels),
    )


def vectorizer(sentences: Array, words: int, length: int) -> keras.layers.Layer:
    """Return a layer from sentences (batch,) to word numbers (batch, `length`): 0 is padding, 1 an unknown word.

    Its vocabulary is the `words` most frequent words of `sentences`, in lower case and without punctuation.

    Raises:
        UserError: if the backend has no strings.
    """
    if keras.backend.backend() != "tensorflow":
        raise UserError(f"KERAS_BACKEND={keras.backend.backend()} has no strings; networks on text need tensorflow")
    layer = keras.layers.TextVectorization(max_tokens=words + 2, output_sequence_length=length)
    layer.adapt(sentences)
    return layer


def words(sentence: str) -> list[str]:
    """Split a sentence into words like `vectorizer`, but keep their case and punctuation."""
    return [word for word in re.findall(r"[^ \t\n\v\f\r]+", sentence) if word.strip(string.punctuation)]


def read_sentences(words: Sequence[str], saved: "SavedModel") -> Examples:
    """Read sentences from the arguments of `predict`: sentences, or names of .txt and .csv files.

    A text file has one sentence per line. A CSV file has them in the column of training, or in its only column.

    Returns:
        The sentences (sentences,), which are also their names.

    Raises:
        UserError: if a file cannot be read, or has no sentence.
    """
    sentences: list[str] = []
    for word in words:
        # "I fell asleep.txt" with spaces is more likely a sentence than a missing file.
        path = Path(word)
        if path.suffix in (".txt", ".csv") and (path.exists() or " " not in word):
            found = _lines(path) if path.suffix == ".txt" else _column(path, saved.settings["text"])
        else:
            found = [word] if word.strip() else []
        if not found:
            raise UserError(f"{word!r}: no sentence here")
        sentences += found
    return Examples(sentences, np.array(sentences, dtype=object))


def _lines(path: Path) -> list[str]:
    """Return the lines of a text file that are not blank."""
    with reading(path):
        return [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]


def _column(path: Path, column: str | None) -> list[str]:
    """Return the cells in a column of a CSV file, or in its only column, that are not empty."""
    table = tables.read_cells(path)
    if len(table.columns) > 1:
        tables.require(path, table, [column or "text"])
        table = table[[column or "text"]]
    return [sentence for sentence in table.iloc[:, 0] if sentence]
