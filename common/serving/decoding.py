"""Requests for predictions, in JSON or CSV, decoded into the arrays that the network takes.

No number is changed on the way, and text in a column of numbers or dates is read as `predict` reads it: a request that
does not fit the signature of the model is refused.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import keras
import numpy as np
import pandas as pd

from common.data import Array, ColumnFormat, Inputs
from common.preprocessing import csv_file, image_arrays
from common.preprocessing.cells import MISSING, shortened
from common.preprocessing.columns import as_inputs
from common.preprocessing.image_facts import DARKEST
from common.tracking import InputSpec

JSON, CSV = "application/json", "text/csv"
FORMS = ("inputs", "instances", "dataframe_split", "dataframe_records")
"""Keys of a request in JSON; under each the examples are arranged in another way."""


class RequestError(Exception):
    """A request that cannot be answered: one sentence that says what fits, and the HTTP status."""

    def __init__(self, sentence: str, status: int = 400) -> None:
        super().__init__(sentence)
        self.status = status


class _Table(dict[str, Sequence[Any]]):
    """Columns by name, from a request with rows: a model whose input has no name takes them side by side."""


def decode(
    body: bytes,
    kind: str,
    specs: Sequence[InputSpec],
    missing: bool = True,
    columns: Mapping[str, ColumnFormat] = MappingProxyType({}),
) -> Inputs:
    """Decode a request.

    Args:
        body: A CSV file with column names, or one JSON object: `{"inputs": one array, or one per named input}`,
            `{"instances": one array, or a list of {input: value}}`, `{"dataframe_records": a list of {input: value}}`,
            or `{"dataframe_split": {"columns": names, "data": rows}}`. A missing number is null, or an empty cell.
        kind: `JSON` or `CSV`.
        specs: The signature of the model's inputs.
        missing: Whether a number may be missing.
        columns: Formats of the columns of the table that the model was trained on. Text in a column of numbers or dates
            is read as in such a table.

    Returns:
        One array (examples, …), or one per named input.

    Raises:
        RequestError: with the part of the request that does not fit, and the inputs that the model takes.
    """
    try:
        data = _read_json(body) if kind == JSON else _read_csv(body, specs, columns)
        if isinstance(data, Mapping) and columns:
            data = _read_cells(data, columns)
        inputs = _inputs(data, specs)
        if not missing and any(np.isnan(part).any() for part in keras.tree.flatten(inputs) if part.dtype.kind == "f"):
            raise RequestError("a number is missing")
        return inputs
    except RequestError as error:
        words = [f"{spec.name}: {_words(spec)}" if spec.name else _words(spec) for spec in specs]
        more = f" and {len(words) - 5} more" if len(words) > 5 else ""
        raise RequestError(f"{error}; this model takes inputs of {', '.join(words[:5])}{more}") from error


def _read_json(body: bytes) -> Any:
    """The examples in a request: a `_Table`, or the value of "inputs" or "instances" as it is."""
    try:
        content = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"the JSON cannot be read ({error})") from error
    forms = [form for form in FORMS if isinstance(content, dict) and form in content]
    if len(forms) != 1:
        raise RequestError(f"a request is a JSON object with one of the keys {', '.join(map(repr, FORMS))}")
    match forms[0], content[forms[0]]:
        case ("dataframe_records" | "instances", [{}, *_] as rows) if all(isinstance(row, dict) for row in rows):
            names = dict.fromkeys(name for row in rows for name in row)
            for number, row in enumerate(rows, start=1):
                if gone := next((name for name in names if name not in row), None):
                    raise RequestError(f"row {number} has no {gone}, which others have; send null for a missing number")
            return _Table({name: [row[name] for row in rows] for name in names})
        case "dataframe_records", _:
            raise RequestError("'dataframe_records' is a list of objects, each with one value per column")
        case "dataframe_split", {"columns": [*names], "data": [*rows]}:
            return _table(list(map(str, names)), rows)
        case "dataframe_split", _:
            raise RequestError("'dataframe_split' is an object with the lists 'columns' and 'data'")
        case _, data:
            return data


def _refuse_constant(name: str) -> None:
    """Refuse NaN and Infinity, which Python's JSON has and the standard has not."""
    raise RequestError(f"{name} is not JSON; send null for a missing number")


def _read_csv(body: bytes, specs: Sequence[InputSpec], columns: Mapping[str, ColumnFormat]) -> _Table:
    """The columns that the model has inputs for; all of them where its input has no name."""
    try:
        text = body.decode("utf-8-sig")
        delimiter = csv_file.find_delimiter(text[: csv_file.SAMPLE]) if columns else ","
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True) if row]
    except (ValueError, csv.Error) as error:
        raise RequestError(f"the CSV cannot be read ({error})") from error
    if not rows:
        raise RequestError("the CSV has no line of column names")
    table = _table([name.strip() for name in rows[0]], rows[1:])
    inputs = {spec.name: spec for spec in specs}
    known = {name: inputs.get(name) or inputs.get(None) for name in table}
    cells = {name: table[name] for name in table if name in columns and columns[name].kind != "text"}
    others = {name: spec for name, spec in known.items() if spec and name not in cells}
    return _Table(cells | {name: _cells(name, table[name], spec) for name, spec in others.items()})


def _read_cells(data: Mapping[str, Any], columns: Mapping[str, ColumnFormat]) -> Mapping[str, Any]:
    """Replace columns of numbers and dates that are given as text by numbers, in the formats of training."""
    found = _Table(data) if isinstance(data, _Table) else dict(data)
    for name, form in columns.items():
        values = data.get(name)
        if form.kind == "date" and values is None and not any(feature.startswith(f"{name} ") for feature in data):
            raise RequestError(f"there is no column {name}")
        if form.kind == "text" or not isinstance(values, list) or not any(isinstance(value, str) for value in values):
            continue
        cells = pd.Series(["" if value is None else str(value).strip() for value in values], dtype=object, name=name)
        inputs = as_inputs(name, cells, form)
        wrong = cells[~np.isfinite(next(iter(inputs.values()))) & ~cells.isin(MISSING).to_numpy()]
        if len(wrong):
            raise RequestError(f"{name} has values of another kind, such as {shortened(wrong.iloc[0])}")
        for feature, numbers in inputs.items():
            found[feature] = [None if np.isnan(number) else number for number in numbers.tolist()]
    return found


def _cells(name: str, cells: Sequence[str], spec: InputSpec) -> Sequence[Any]:
    """The text or the numbers in a column of a CSV file."""
    if spec.dtype.kind == "O":
        return [cell.strip() for cell in cells]
    values = [None if (text := cell.strip()) in MISSING else text for cell in cells]
    try:
        numbers: Array = pd.to_numeric(np.array(values, object))
    except ValueError as error:
        raise RequestError(f"{name} has values of another kind") from error
    return numbers.tolist()


def _table(names: Sequence[str], rows: Sequence[Any]) -> _Table:
    """Columns from column names and rows of values."""
    if len(set(names)) < len(names):
        raise RequestError("two columns have the same name")
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, list) or len(row) != len(names):
            raise RequestError(f"row {number} does not have one value for each of the {len(names)} columns")
    return _Table({name: [row[column] for row in rows] for column, name in enumerate(names)})


def _inputs(data: Any, specs: Sequence[InputSpec]) -> Inputs:
    """Arrays as the network takes them."""
    if specs[0].name is None:
        if isinstance(data, _Table):
            one = len(data) == 1 and len(specs[0].shape) == 1
            data = next(iter(data.values())) if one else list(zip(*data.values(), strict=True))
        return _fitting(data, specs[0], "the input")
    if not isinstance(data, Mapping):
        raise RequestError("there are no named columns")
    columns = {}
    for spec in specs:
        if spec.name not in data:
            raise RequestError(f"there is no column {spec.name}")
        columns[str(spec.name)] = _fitting(data[spec.name], spec, str(spec.name))
    if len({len(column) for column in columns.values()}) > 1:
        raise RequestError("the columns differ in length")
    return columns


def _fitting(values: Any, spec: InputSpec, name: str) -> Array:
    """The array that `spec` asks for; of numbers, null becomes NaN."""
    text = spec.dtype.kind == "O"
    try:
        array = np.asarray(values, object if text else None)
    except ValueError as error:
        raise RequestError(f"{name} has lists of different lengths") from error
    sizes = [given if size is None else size for size, given in zip(spec.shape, array.shape, strict=False)]
    if array.ndim != len(spec.shape) or sizes != list(array.shape):
        raise RequestError(f"{name} has the shape {array.shape}")
    if not array.size:
        raise RequestError(f"{name} is empty")
    if array.dtype == object and spec.dtype.kind == "f":
        array = np.array([np.nan if value is None else value for value in array.flat]).reshape(array.shape)
    if text:
        fits = all(isinstance(value, str) for value in array.flat)
    elif spec.dtype.kind == "f":
        fits = array.dtype.kind in "iuf" and not np.any(np.abs(array) > np.finfo(spec.dtype).max)
    else:
        bounds = np.iinfo(spec.dtype)
        fits = array.dtype.kind in "iu" and bounds.min <= array.min() and array.max() <= bounds.max
    if not fits:
        raise RequestError(f"{name} has values of another kind")
    if spec.dtype == np.uint8 and array.ndim > 2 and 0 < array.max() <= DARKEST:
        # `predict` scales such images and says so in a note; an answer of the server has none.
        white, _ = image_arrays.white_level(array)
        raise RequestError(f"{name} has pixels up to {array.max()}, but white is 255; multiply by {255 / white:g}")
    return array.astype(spec.dtype)


def _words(spec: InputSpec) -> str:
    """The values and the shape of an input, in words."""
    match spec.dtype.kind:
        case "O":
            kind = "text"
        case "f":
            kind = "numbers"
        case _:
            kind = "whole numbers {0.min} to {0.max}".format(np.iinfo(spec.dtype))
    return f"{kind} ({', '.join(['examples', *map(str, spec.shape[1:])])})"
