"""Convert rows of a table, or sentences, to the numbers that the network in this folder takes. It needs NumPy alone.

    from inputs import convert

    numbers = convert({"colour": ["red", ""], "size": [1.5, 2.0]})    # a table: all columns, "" for missing text
    numbers = convert(["a fine film"])                                # sentences

`inputs.json` beside this file has the values of each column of text, or the words that the network knows.
"""

import json
import string
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def convert(rows: Mapping[str, Sequence[Any]] | Sequence[str], file: Path | None = None) -> dict[str, Any]:
    """Return the inputs of the network by their names.

    Args:
        rows: Columns of a table by name, or sentences.
        file: `inputs.json`; by default, that beside this file.
    """
    form = json.loads((file or Path(__file__).with_name("inputs.json")).read_text(encoding="utf-8"))
    if isinstance(rows, Mapping):
        return {column["input"]: _numbers(rows[name], column) for name, column in form["columns"].items()}
    numbers = {word: number for number, word in enumerate(form["words"])}
    found = np.zeros((len(rows), form["length"]), form["dtype"])
    for row, sentence in enumerate(rows):
        # Lower case and spaces as in TensorFlow: those of ASCII alone.
        words = str(sentence).encode().lower().translate(None, string.punctuation.encode()).split()
        known = [numbers.get(word.decode(), form["unknown"]) for word in words[: form["length"]]]
        found[row, : len(known)] = known
    return {form["input"]: found}


def _numbers(cells: Sequence[Any], column: Mapping[str, Any]) -> Any:
    """Return a column of numbers (rows, 1), or the indicators of text, (rows, values + 1), the first for other text."""
    if "values" not in column:
        return np.asarray(cells, column["dtype"]).reshape(-1, 1)
    places = {value: place for place, value in enumerate(column["values"], start=1)}
    rows = [places.get(str(cell), 0) for cell in np.asarray(cells, object).reshape(-1)]
    return np.eye(1 + len(places), dtype=column["dtype"])[rows]
