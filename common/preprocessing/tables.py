"""Tables: CSV files read and checked, rows of named columns split, and raw rows read for a saved model.

A column is an array (rows,): float32 with NaN where a number is missing, or strings with "" where one is missing.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from common.config import Config, Share
from common.data import Array, Data, RawData
from common.errors import UserError
from common.preprocessing import datasets, splits

if TYPE_CHECKING:
    import pandas as pd

    from common.data import SavedModel


Target = Literal["quantity", "class"]

MISSING = ("", "?", "NA", "N/A", "NaN", "nan", "NULL", "null")
"""What is written in a cell that holds nothing."""
COLUMNS = 1000
"""Columns of a file, at most: each is an input of the network."""
LEVELS = 1000
"""Different values of a column of text, at most: each is a feature."""
HEADER = 2**20
"""Characters within which the first line ends."""
FEWEST = 10
"""Rows below which three parts make no sense; a class needs half of them."""


@dataclass(frozen=True)
class TableConfig(Config):
    """Settings of every app that takes a user's table."""

    data: str = ""
    """Built-in data set."""
    csv: str | None = None
    """Train on this file instead: comma-separated UTF-8, column names in the first line, gaps allowed."""
    target: str | None = None
    """Column of --csv that is to be predicted."""
    categories: tuple[str, ...] = ()
    """Columns of --csv that hold names though they look like numbers, such as post codes."""
    ignore: tuple[str, ...] = ()
    """Columns of --csv to leave out."""
    test: Share = 0.2
    """Share of the rows that is kept apart for the test set; with the share below 60 : 20 : 20."""
    validation: Share = 0.25


def load(config: TableConfig, target: Target) -> Data:
    """Load the table that the settings name, built-in or in a CSV file, and split it.

    Args:
        config: The settings, with a field `data` that names a built-in table.
        target: Whether the target column is a quantity or a class.

    Returns:
        Columns (rows,) by name; quantities (rows, 1) or integer labels (rows,).
    """
    raw = read_csv(config, target) if config.csv else datasets.load(config.data)
    return splits.split(raw, config.validation, config.seed, config.test)


def read_csv(config: TableConfig, kind: Target) -> RawData:
    """The table in `config.csv`, its column `config.target` taken for a quantity or for a class.

    Raises:
        UserError: for what is wrong with the file, with the line and the column.
    """
    path, target = Path(config.csv or ""), config.target
    if target is None:
        raise UserError("`csv` needs `target`, the column to predict")
    frame = read_cells(path)
    require(path, frame, [target, *config.categories, *config.ignore])
    if len(frame) < FEWEST:
        raise UserError(f"{path}: {len(frame)} rows; at least {FEWEST} are needed to train, choose and test")
    answers = frame.pop(target)
    if not answers.all():
        raise UserError(
            f"{path}, line {answers.eq('').idxmax()}: no value in the column {target} that is to be learned"
        )
    columns = {name: column for name, column in frame.items() if name not in config.ignore}
    if not columns:
        raise UserError(f"{path}: no column is left to predict {target} from")
    if slashed := next((name for name in columns if "/" in str(name)), None):
        raise UserError(f"{path}: column {slashed} has a slash, which Keras cannot take; rename it")
    inputs = {str(name): _column(path, column, name in config.categories) for name, column in columns.items()}
    if kind == "quantity":
        return datasets.raw_table(path.name, inputs, numbers(path, answers)[:, None], (str(target),))
    classes, labels, counts = np.unique(answers.to_numpy(str), return_inverse=True, return_counts=True)
    if len(classes) < 2:
        raise UserError(f"{path}: every {target} is {classes[0]}; at least two classes are needed")
    if counts.min() < FEWEST // 2:
        rare = f"{target} {classes[counts.argmin()]} in only {counts.min()} of {len(frame)} rows"
        raise UserError(f"{path}: {rare}; each class needs {FEWEST // 2}, and a quantity needs a regression")
    return datasets.raw_table(path.name, inputs, labels.astype("int32"), tuple(map(str, classes)))


def read_cells(path: Path) -> "pd.DataFrame":
    """All cells of a CSV file as text without space around it, "" where there is none; the index is the line.

    Raises:
        UserError: where there is no such file, it is no UTF-8 text, or its rows have different lengths.
    """
    import pandas as pd

    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = _header(path, file.read(HEADER))
            file.seek(0)
            reader = csv.reader(file, strict=True)
            next(reader)
            rows, lines = [], []
            for row in reader:
                if len(row) != len(header) and row:
                    raise UserError(
                        f"{path}, line {reader.line_num}: {len(row)} cells where there are {len(header)} columns"
                    )
                if row:
                    rows.append(["" if (text := cell.strip()) in MISSING else text for cell in row])
                    lines.append(reader.line_num)
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text; save it as CSV in UTF-8") from error
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: not comma-separated text ({error})") from error
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except OSError as error:
        raise UserError(f"{path}: cannot read this file ({error.strerror})") from error
    return pd.DataFrame(rows, columns=header, index=lines, dtype=object)


def require(path: Path, frame: "pd.DataFrame", columns: Sequence[str]) -> None:
    """Hold a file to have `columns`.

    Raises:
        UserError: with the first that it has not.
    """
    if unknown := next((name for name in columns if name not in frame), None):
        raise UserError(f"{path}: no column {unknown}; it has {', '.join(frame.columns[:20])}")


def _header(path: Path, beginning: str) -> list[str]:
    """The column names in the beginning of a file, none of them missing, twice there, or of too many."""
    names = [name.strip() for name in next(csv.reader(beginning.splitlines(keepends=True)), [])]
    if "\0" in beginning:
        raise UserError(f"{path}: not UTF-8 text; save it as CSV in UTF-8")
    if len(names) > COLUMNS:
        raise UserError(f"{path}: more than {COLUMNS:,} columns; keep those that matter")
    if not any(names):
        raise UserError(f"{path}: no column names in the first line")
    for position, name in enumerate(names, start=1):
        if not name or name in names[: position - 1]:
            wrong = f"({name}) is there twice" if name else "has no name"
            raise UserError(f"{path}: column {position} {wrong}; rename it")
    return names


def _column(path: Path, cells: "pd.Series[str]", category: bool) -> Array:
    """One column: numbers where most of its cells are, else text."""
    filled = cells.ne("")
    if not filled.any():
        raise UserError(f"{path}: column {cells.name} is empty; `ignore` {cells.name} to leave it out")
    if not category and _as_numbers(cells)[filled].notna().mean() > 0.5:
        return numbers(path, cells, "mend it, empty the cell, or name a column of text in `categories`")
    levels = cells.nunique()
    if levels > min(LEVELS, len(cells) / 2):
        many = f"column {cells.name} has {levels:,} different values in {len(cells):,} rows"
        raise UserError(f"{path}: {many}, too many to learn from; `ignore` {cells.name} to leave it out")
    return cells.to_numpy(object)


def _as_numbers(cells: "pd.Series[str]") -> "pd.Series[float]":
    """Finite float32, NaN for every other text."""
    import pandas as pd

    found = pd.to_numeric(cells, errors="coerce")
    return found.where(found.abs() <= np.finfo("float32").max).astype("float32")


def numbers(path: Path, cells: "pd.Series[str]", mend: str = "mend it or empty the cell") -> Array:
    """A column of text as float32, NaN where it is empty.

    Raises:
        UserError: for a cell that is no finite number.
    """
    found = _as_numbers(cells)
    wrong = cells[found.isna() & cells.ne("")]
    if len(wrong):
        what = f"{path}, line {wrong.index[0]}: {wrong.iloc[0]!r} in the column {cells.name} is no number"
        raise UserError(f"{what}; {mend}")
    return found.to_numpy()


def read_rows(files: Sequence[str], saved: "SavedModel") -> tuple[list[str], dict[str, Array]]:
    """Raw rows from CSV files that have the columns that the saved model was trained on; others do not matter.

    Gives FILE:LINE a row, and the columns.

    Raises:
        UserError: as `read_csv`, where a column is missing, and for a text that training never saw.
    """
    names, parts = [], list[Mapping[str, Array]]()
    for path in map(Path, files):
        frame = read_cells(path)
        if frame.empty:
            raise UserError(f"{path}: no rows below the column names")
        names += [f"{path}:{line}" for line in frame.index]
        columns = saved.model.input.items()
        parts.append({name: _model_column(path, frame, name, tensor.dtype, saved) for name, tensor in columns})
    return names, {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _model_column(path: Path, frame: "pd.DataFrame", name: str, dtype: str, saved: "SavedModel") -> Array:
    """Return the column `name` as the model's input of type `dtype` takes it."""
    if name not in frame:
        raise UserError(f"{path}: no column {name}, which {saved.label} was trained on")
    if dtype != "string":
        return numbers(path, frame[name])
    known = saved.model.get_layer(levels_layer(name)).get_vocabulary()
    unseen = frame[name][~frame[name].isin([*known, ""])]
    if len(unseen):
        what = f"{path}, line {unseen.index[0]}: {unseen.iloc[0]!r} in the column {name} was not seen in training"
        raise UserError(f"{what} ({', '.join(filter(None, known[1:20]))}); empty the cell to predict without it")
    return frame[name].to_numpy(object)


def levels_layer(column: str) -> str:
    """What the layer is called that knows the values of a column of text; TensorFlow takes few characters in it."""
    return f"values_of_{column.encode().hex()}"
