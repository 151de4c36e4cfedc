"""Sentences: where they come from, how they are split, and how a network takes them.

A set of sentences is an array (sentences,) of Python strings. Keras turns strings into numbers with TensorFlow alone.
"""

import re
import string
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np

from common.data import Array, RawData, fingerprint
from common.errors import UserError
from common.preprocessing import tables

if TYPE_CHECKING:
    from common.data import SavedModel


TEST_SHARE = 0.2
"""Share of the sentences in the test part, if a data set has none; no seed changes which."""
FEWEST = 10
"""Examples that a class needs, so that each part has some."""


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
    return RawData(
        name=path.name,
        digest=fingerprint("\0".join([*sentences, *table[label]])),
        kind="text",
        outputs=tuple(map(str, names)),
        train=(sentences, labels.astype("int32")),
    )


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
