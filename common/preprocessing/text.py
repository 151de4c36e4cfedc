"""Sentences: reading, and the layer that turns them into word numbers.

Sentences are an array (sentences,) of Python strings. Keras needs TensorFlow to turn strings into numbers.
"""

import re
import string
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from common.data import Array, Description, Examples, RawData, SavedModel, fingerprint
from common.errors import Problems, UserError
from common.preprocessing import cell_numbers, csv_file, table_files, tables
from common.preprocessing.cells import shortened

TEST_SHARE = 0.2
"""Share of the sentences in the test part, if a data set has none. The part is the same for every seed."""
FEWEST = 10
"""Minimum number of examples of a class, so that each part has some."""
USUAL = 500
"""Number of words of a sentence that a linear model reads in any case."""
LONGEST = 4000
"""Maximum number of words of a sentence that it reads."""
WORDS_AT_ONCE = 50_000_000
"""Maximum number of words, with padding, of all sentences: they are numbers in memory at once."""
WORD = r"[^ \t\n\v\f\r]+"
"""Pattern of a word."""


def read(path: Path, text: str, label: str) -> RawData:
    """Read sentences (rows,) in column `text` of a CSV file, and int32 labels of the classes in column `label`.

    Rows without a sentence or a label are left out, with a note.

    Raises:
        UserError: if the file or a column is missing, or there are too few classes or examples.
    """
    file = table_files.read(path)
    csv_file.require(path, file.frame, [text, label])
    table = file.frame[list(dict.fromkeys([text, label]))]
    problems, notes = Problems(), list(file.notes)
    if text == label:
        problems.add(f"{path}: `text` and `label` are the same column, {text}; name two")
        problems.check()
    for column in (text, label):
        if (empty := table[column].eq("")).any():
            count = f"{empty.sum():,} of {len(table):,} rows have no {column}, first in line {empty.idxmax()}"
            notes.append(f"{count}; left out")
            table = table[~empty]
    table, rare = tables.without_rare(table, label, FEWEST)
    notes += rare
    labels, classes = tables.class_labels(path, table[label], FEWEST)
    sentences = table[text].to_numpy(object)
    return RawData(
        name=path.name,
        digest=fingerprint("\0".join([*sentences, *table[label]])),
        kind="text",
        outputs=classes,
        train=(sentences, labels),
        description=_describe(table[text], labels, notes, len(file.frame)),
    )


def _describe(sentences: "pd.Series[str]", labels: Array, notes: Sequence[str], rows: int) -> Description:
    """Describe sentences: their number, lengths and repetitions."""
    lengths = sentences.str.count(WORD)
    low, middle, high = lengths.quantile([0.0, 0.5, 0.95]).astype(int)
    facts = {
        "rows": f"{rows:,}, of which {len(sentences):,} have a sentence and a class",
        "words of a sentence": f"{low} at least, {middle} in the middle, 95 % up to {high}, {lengths.max():,} at most",
    }
    found = list(notes)
    if copies := int(sentences.duplicated().sum()):
        by_sentence = sentences.groupby(sentences.to_numpy()).ngroup().to_numpy()
        pairs = np.unique(np.stack([by_sentence, labels]), axis=1)
        conflicts = pairs.shape[1] - len(np.unique(by_sentence))
        found.append(
            f"{copies:,} sentences are copies of other ones, so some may be in two parts"
            + (f"; {conflicts:,} of them have another class" if conflicts else "")
        )
    if cut := int((lengths > (most := words_read(lengths.to_numpy()))).sum()):
        found.append(f"{cut:,} sentences have more than {most:,} words, of which the rest is not read")
    if (silent := int((lengths == 0).sum())) > 0:
        found.append(f"{silent:,} sentences have no word, only punctuation")
    return Description(tuple(found), facts)


def longest(sentences: Array) -> int:
    """Return the number of words of `sentences` that a linear model reads."""
    return words_read(np.array([len(re.findall(WORD, sentence)) for sentence in sentences]))


def words_read(lengths: Array) -> int:
    """Return the number of words that are read of sentences with `lengths` words (sentences,).

    All sentences are padded to this number. Up to `USUAL`, it is the length of the longest sentence. Above, it is the
    length that 99 of 100 sentences do not exceed.
    """
    most = min(int(np.quantile(lengths, 0.99)), LONGEST, WORDS_AT_ONCE // len(lengths))
    return min(int(lengths.max()), max(USUAL, most))


def vectorizer(sentences: Array, words: int, length: int) -> "keras.layers.Layer":
    """Return a layer from sentences (batch,) to word numbers (batch, `length`): 0 is padding, 1 an unknown word.

    Its vocabulary is the `words` most frequent words of `sentences`, in lower case and without punctuation.

    Raises:
        UserError: if the backend has no strings.
    """
    if keras.backend.backend() != "tensorflow":
        raise UserError(f"`backend` {keras.backend.backend()} has no strings; networks on text need tensorflow")
    layer = keras.layers.TextVectorization(max_tokens=words + 2, output_sequence_length=length)
    layer.adapt(sentences)
    return layer


def words(sentence: str) -> list[str]:
    """Split a sentence into words like `vectorizer`, but keep their case and punctuation."""
    return [word for word in re.findall(WORD, sentence) if word.strip(string.punctuation)]


def read_sentences(words: Sequence[str], saved: SavedModel) -> Examples:
    """Read sentences from the arguments of `predict`: sentences, or names of .txt, .csv and .tsv files.

    A text file has one sentence per line. A CSV file has them in the column of training, or in its only column. For a
    model of built-in data, they are in its only column that has no numbers, or in the column text.

    Returns:
        The sentences (sentences,). The name of each is the sentence itself. Empty ones are unusable, and those without
        a word that training saw.

    Raises:
        UserError: if a file cannot be read, or no sentence is usable.
    """
    names: list[str] = []
    frames: list[pd.DataFrame] = []
    notes: list[str] = []
    for word in words:
        # "I fell asleep.txt" with spaces is more likely a sentence than a missing file.
        path = Path(word)
        if path.suffix in (".txt", ".csv", ".tsv", ".parquet") and (path.exists() or " " not in word):
            if path.suffix == ".txt":
                content, encoding = csv_file.read_text(path)
                found = content.rstrip().splitlines()
                notes += encoding
            else:
                file = table_files.read(path)
                name = _column(path, file.frame, saved.settings["text"])
                found = list(file.frame[name])
                notes += [] if name == saved.settings["text"] else [f"{path.name}: the sentences are in column {name}"]
                frames.append(file.frame)
                notes += file.notes
        else:
            found = [word]
        if not any(sentence.strip() for sentence in found):
            raise UserError(f"{word!r}: no sentence here")
        names += found
    known = _vocabulary(saved)
    reasons = {row: reason for row, sentence in enumerate(names) if (reason := _unusable(sentence, known))}
    if len(reasons) == len(names):
        raise UserError(f"{shortened(names[0])}: {reasons[0]}, nor has any other sentence")
    sentences = np.array([name for row, name in enumerate(names) if row not in reasons], dtype=object)
    rows = pd.concat(frames, ignore_index=True) if frames else None
    complete = rows is not None and len(rows) == len(names)
    return Examples(names, sentences, reasons, tuple(notes), rows if complete else None)


def _vocabulary(saved: SavedModel) -> set[str] | None:
    """Return the words that a model knows; None if it has no layer that turns words into numbers."""
    layers = (layer for layer in saved.model.layers if isinstance(layer, keras.layers.TextVectorization))
    vectorization = next(layers, None)
    return set(vectorization.get_vocabulary(include_special_tokens=False)) if vectorization else None


def _unusable(sentence: str, known: set[str] | None) -> str:
    """Return the reason why a sentence has no prediction, or ""."""
    if not sentence.strip():
        return "the sentence is empty"
    plain = sentence.lower().translate(str.maketrans("", "", string.punctuation)).split()
    if not plain:
        return "the sentence has no word"
    if known is not None and known.isdisjoint(plain):
        return "the sentence has no word that training saw"
    return ""


def _column(path: Path, frame: pd.DataFrame, column: str | None) -> str:
    """Return the name of the column of sentences: that of training, or else the only one that has no numbers."""
    if column and column in frame:
        return column
    words = [str(name) for name in frame if not cell_numbers.is_numeric(frame[name])]
    candidates = list(frame) if len(frame.columns) == 1 else [] if column else words
    if len(candidates) != 1:
        csv_file.require(path, frame, [column or "text"])
        return column or "text"
    return str(candidates[0])
