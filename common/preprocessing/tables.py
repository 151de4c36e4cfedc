"""Tables: reading and checking CSV files, for training and as raw rows for a saved model.

A column is an array (rows,): float32 with NaN for a missing number, or strings with "" for missing text.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from common.config import Config, Share
from common.data import Array, Data, Examples, RawData
from common.errors import UserError, reading
from common.preprocessing import datasets, splits

if TYPE_CHECKING:
    import pandas as pd

    from common.data import SavedModel


Target = Literal["quantity", "class"]

MISSING = ("", "?", "NA", "N/A", "NaN", "nan", "NULL", "null")
"""Cells without a value."""
COLUMNS = 1000
"""Maximum number of columns of a file, because each is an input of the network."""
LEVELS = 1000
"""Maximum number of values of a column of text, because each is a feature."""
HEADER = 2**20
"""Maximum number of characters of the first line."""
FEWEST = 10
"""Minimum number of rows, for three parts. A class needs half of them."""


@dataclass(frozen=True)
class TableConfig(Config):
    """Settings of every app that can train on a user's table."""

    data: str = ""
    """Built-in data set."""
    csv: str | None = None
    """CSV file to train on instead: comma-separated UTF-8 with column names in the first line. Cells may be empty."""
    target: str | None = None
    """Column of --csv to predict."""
    categories: tuple[str, ...] = ()
    """Columns of --csv that are names although they look like numbers, such as post codes."""
    ignore: tuple[str, ...] = ()
    """Columns of --csv to leave out."""
    test: Share = 0.2
    """Share of the rows in the test set. With the default --validation, the split is 60:20:20."""
    validation: Share = 0.25


def load(config: TableConfig, target: Target) -> Data:
    """Load and split the built-in table `config.data` or the CSV file `config.csv`.

    Args:
        config: The settings.
        target: Whether the target column is a quantity or a class.

    Returns:
        Columns (rows,) by name, and numbers (rows, 1) or integer labels (rows,).
    """
    raw = read_csv(config, target) if config.csv else datasets.load(config.data)
    return splits.split(raw, config.validation, config.seed, config.test)


def read_csv(config: TableConfig, kind: Target) -> RawData:
    """Read the table in `config.csv`, with its column `config.target` as a quantity or a class.

    Raises:
        UserError: if the file cannot be read or used; names the line and the column.
    """
    path, target = Path(config.csv or ""), config.target
    if target is None:
        raise UserError("`csv` needs `target`, the column to predict")
    frame = read_cells(path)
    require(path, frame, [target, *config.categories, *config.ignore])
    if len(frame) < FEWEST:
        raise UserError(f"{path}: {len(frame)} rows; at least {FEWEST} are needed")
    targets = frame.pop(target)
    if not targets.all():
        raise UserError(f"{path}, line {targets.eq('').idxmax()}: no value in the column {target}; remove the row")
    columns = {name: column for name, column in frame.items() if name not in config.ignore}
    if not columns:
        raise UserError(f"{path}: no column is left to predict {target} from")
    if slashed := next((name for name in columns if "/" in str(name)), None):
        raise UserError(f"{path}: column {slashed} has a slash, which Keras does not allow; rename it")
    inputs = {str(name): _column(path, column, name in config.categories) for name, column in columns.items()}
    if kind == "quantity":
        return datasets.raw_table(path.name, inputs, numbers(path, targets)[:, None], (str(target),))
    hint = ", and a quantity needs a regression"
    return datasets.raw_table(path.name, inputs, *class_labels(path, targets, FEWEST // 2, hint))


def class_labels(path: Path, cells: "pd.Series[str]", fewest: int, hint: str = "") -> tuple[Array, tuple[str, ...]]:
    """Return int32 labels (rows,) for a column of class names, and the sorted names.

    Raises:
        UserError: if there is only one class, or a class has less than `fewest` rows; ends with `hint`.
    """
    classes, labels, counts = np.unique(cells.to_numpy(str), return_inverse=True, return_counts=True)
    if len(classes) < 2:
        raise UserError(f"{path}: {len(classes)} classes in the column {cells.name}; at least two are needed")
    if counts.min() < fewest:
        rare = f"{cells.name} {classes[counts.argmin()]} in only {counts.min()} of {len(cells)} rows"
        raise UserError(f"{path}: {rare}; each class needs {fewest}{hint}")
    return labels.astype("int32"), tuple(map(str, classes))


def read_cells(path: Path) -> "pd.DataFrame":
    """Read all cells of a CSV file as stripped text, "" for a missing value. The index is the line number.

    Raises:
        UserError: if the file cannot be read, or is not comma-separated UTF-8 text with rows of equal length.
    """
    import pandas as pd

    rows, lines = [], []
    with reading(path), path.open(encoding="utf-8-sig", newline="") as file:
        header = _header(path, file.read(HEADER))
        file.seek(0)
        reader = csv.reader(file, strict=True)
        try:
            next(reader)
            for row in filter(None, reader):
                if len(row) != len(header):
                    raise UserError(
                        f"{path}, line {reader.line_num}: {len(row)} cells, but there are {len(header)} columns"
                    )
                rows.append(["" if (text := cell.strip()) in MISSING else text for cell in row])
                lines.append(reader.line_num)
        except csv.Error as error:
            raise UserError(f"{path}, line {reader.line_num}: not comma-separated text ({error})") from error
    return pd.DataFrame(rows, columns=header, index=lines, dtype=object)


def require(path: Path, frame: "pd.DataFrame", columns: Sequence[str]) -> None:
    """Check that a file has `columns`.

    Raises:
        UserError: if one is missing.
    """
    if unknown := next((name for name in columns if name not in frame), None):
        raise UserError(f"{path}: no column {unknown}; it has {', '.join(frame.columns[:20])}")


def _header(path: Path, beginning: str) -> list[str]:
    """Return the column names in the `beginning` of a file, and check that none is missing or repeated."""
    names = [name.strip() for name in next(csv.reader(beginning.splitlines(keepends=True)), [])]
    if "\0" in beginning:
        raise UserError(f"{path}: not UTF-8 text; save it as CSV in UTF-8")
    if len(names) > COLUMNS:
        raise UserError(f"{path}: more than {COLUMNS:,} columns; remove some")
    if not any(names):
        raise UserError(f"{path}: no column names in the first line")
    for position, name in enumerate(names, start=1):
        if not name or name in names[: position - 1]:
            fault = f"({name}) repeats the name of another" if name else "has no name"
            raise UserError(f"{path}: column {position} {fault}; rename it")
    return names


def _column(path: Path, cells: "pd.Series[str]", category: bool) -> Array:
    """Return one column: numbers if most of its cells are numbers and it is not a `category`, else text."""
    filled = cells.ne("")
    if not filled.any():
        raise UserError(f"{path}: column {cells.name} is empty; `ignore` {cells.name} to leave it out")
    if not category and _as_numbers(cells)[filled].notna().mean() > 0.5:
        return numbers(path, cells, "fix it, empty the cell, or name a column of text in `categories`")
    levels = cells.nunique()
    if levels > min(LEVELS, len(cells) / 2):
        many = f"column {cells.name} has {levels:,} different values in {len(cells):,} rows"
        raise UserError(f"{path}: {many}, which is too many; `ignore` {cells.name} to leave it out")
    return cells.to_numpy(object)


def _as_numbers(cells: "pd.Series[str]") -> "pd.Series[float]":
    """Convert cells to float32, with NaN for text that is not a finite number."""
    import pandas as pd

    found = pd.to_numeric(cells, errors="coerce")
    return found.where(found.abs() <= np.finfo("float32").max).astype("float32")


def numbers(path: Path, cells: "pd.Series[str]", fix: str = "fix it or empty the cell") -> Array:
    """Convert a column of text to float32 (rows,), with NaN for an empty cell.

    Raises:
        UserError: if a cell is not a finite number; ends with `fix`.
    """
    found = _as_numbers(cells)
    wrong = cells[found.isna() & cells.ne("")]
    if len(wrong):
        place = f"{path}, line {wrong.index[0]}: {wrong.iloc[0]!r} in the column {cells.name}"
        raise UserError(f"{place} is not a number; {fix}")
    return found.to_numpy()


def read_rows(files: Sequence[str], saved: "SavedModel") -> Examples:
    """Read raw rows from CSV files as inputs of the saved model. Columns without an input are ignored.

    Returns:
        Columns (rows,) by name. The name of a row is FILE:LINE.

    Raises:
        UserError: if a file cannot be read, a column is missing, or text was not seen in training.
    """
    names, parts = [], list[Mapping[str, Array]]()
    for path in map(Path, files):
        frame = read_cells(path)
        if frame.empty:
            raise UserError(f"{path}: no rows below the column names")
        names += [f"{path}:{line}" for line in frame.index]
        columns = saved.model.input.items()
        parts.append({name: _model_column(path, frame, name, tensor.dtype, saved) for name, tensor in columns})
    return Examples(names, {name: np.concatenate([part[name] for part in parts]) for name in parts[0]})


def _model_column(path: Path, frame: "pd.DataFrame", name: str, dtype: str, saved: "SavedModel") -> Array:
    """Return the column `name` (rows,) for the model's input of type `dtype`."""
    if name not in frame:
        raise UserError(f"{path}: no column {name}, which {saved.label} was trained on")
    if dtype != "string":
        return numbers(path, frame[name])
    known = saved.model.get_layer(levels_layer(name)).get_vocabulary()
    unseen = frame[name][~frame[name].isin([*known, ""])]
    if len(unseen):
        place = f"{path}, line {unseen.index[0]}: {unseen.iloc[0]!r} in the column {name}"
        seen = ", ".join(filter(None, known[1:20]))
        raise UserError(f"{place} was not seen in training ({seen}); empty the cell to predict without it")
    return frame[name].to_numpy(object)


def levels_layer(column: str) -> str:
    """Return the name of the lookup layer of a column of text, in characters that TensorFlow allows."""
    return f"values_of_{column.encode().hex()}"
