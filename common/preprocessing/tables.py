"""Read tables as data sets.

A column is an array (rows,): numbers with NaN for a missing one, or strings with "" for missing text. Numbers are
float32 where that suffices, else float64.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from common.config import Config, Share
from common.data import Array, Data, Description, Formats, RawData
from common.errors import Problems, UserError
from common.preprocessing import (
    cell_numbers,
    columns,
    csv_file,
    datasets,
    row_shards,
    shards,
    splits,
    storage,
    table_checks,
    table_files,
)
from common.preprocessing.cells import MISSING, Cells, strings, wrong_cell
from common.preprocessing.columns import Decimal, Decision
from common.preprocessing.csv_file import require

if TYPE_CHECKING:
    import pandas as pd


Target = Literal["auto", "class", "quantity"]
"""What a target column holds. auto: `target_kind` decides."""

COPIES = "copies"
"""Name of the fact that a file has rows that are copies of others."""
NAMED = 10
"""Maximum number of ignored columns that the description names."""
RAREST = 0.1
"""Maximum share of the rows whose classes are left out because each is too rare."""
MOST_CLASSES = 10
"""Maximum number of different whole numbers from 0 or 1 on that are read as classes."""


@dataclass(frozen=True)
class TableConfig(Config):
    """Settings of every app that can train on a user's table."""

    data: str = ""
    """Built-in data set."""
    csv: str | None = None
    """CSV or Parquet file to train on instead, several ('part-*.csv'), or shards of them. Cells may be empty."""
    target: str | None = None
    """Column of --csv to predict."""
    categories: tuple[str, ...] = ()
    """Columns of --csv that are names although they look like numbers, such as post codes."""
    ignore: tuple[str, ...] = ()
    """Columns of --csv to leave out."""
    decimal: Decimal = "auto"
    """Decimal separator of columns of --csv that fit both, as 4,000 does. auto: the other columns decide."""
    test: Share = 0.2
    """Share of the rows in the test set. With the default --validation, the split is 60:20:20."""
    validation: Share = 0.25


def load(config: TableConfig, target: Target) -> Data:
    """Load and split the built-in table `config.data` or the CSV file `config.csv`.

    Args:
        config: The settings.
        target: Whether the target column of the CSV file is a quantity or a class.

    Returns:
        Columns (rows,) by name, and numbers (rows, 1) or integer labels (rows,).
    """
    raw = read_csv(config, target) if config.csv else datasets.load(config.data)
    if config.csv:
        csv_file.release_memory()
    data = splits.split(raw, config.validation, config.seed, config.test)
    if not isinstance(data.train[0], dict):
        return row_shards.sampled(data)
    if COPIES in raw.description.facts and (copies := table_checks.copies(data)):
        note = f"{copies:,} of {len(data.test[1]):,} test rows are copies of training rows, which flatters the test"
        data = replace(data, description=replace(data.description, notes=(*data.description.notes, note)))
    return data


def read_csv(config: TableConfig, kind: Target) -> RawData:
    """Read the table in `config.csv`, with its column `config.target` as a quantity or a class.

    Raises:
        UserError: if the file cannot be read or used, with one line for each problem.
    """
    target = config.target
    if target is None:
        raise UserError("`csv` needs `target`, the column to predict")
    path = Path(storage.local(config.csv or ""))
    if shards.is_shards(path):
        raw = row_shards.read(path, "table", config)
        found = "quantity" if len(raw.outputs) == 1 else "class"
        if kind not in ("auto", found):
            raise UserError(
                f"{path}: {target} is a {found} there, not a {kind}; choose another app, or write them again"
            )
        return raw
    return table_of(path, table_files.read(path), config, kind)[0]


def table_of(path: Path, file: csv_file.Cells, config: TableConfig, kind: Target) -> tuple[RawData, Decision | None]:
    """Return the table in the cells of a file, and how its target is read if it is a quantity."""
    target = str(config.target)
    problems = Problems()
    with problems.collect():
        require(path, file.frame, [target, *config.categories, *config.ignore])
    frame, notes = with_target(file.frame, target)
    if len(frame) < table_checks.FEWEST:
        problems.add(f"{path}: {len(frame)} rows; at least {table_checks.FEWEST} are needed")
        problems.check()
    if kind == "auto" and target in frame:
        kind, note = target_kind(frame[target])
        notes = [*notes, note]
    if kind == "class" and target in frame:
        frame, rare = without_rare(frame, target, table_checks.FEWEST // 2)
        notes = [*notes, *rare]
    labels = frame[target] if kind == "class" and target in frame else None
    left_out = {*config.ignore} - {target} if labels is None else {*config.ignore, target}
    used = frame.drop(columns=[*left_out & {*frame}])
    decisions = columns.decide(path, used, config.categories, config.decimal, file.delimiter)
    quantity = decisions.pop(target, None)
    for decision in decisions.values():
        if decision.problem:
            problems.add(decision.problem)
    inputs = {name: column for decision in decisions.values() for name, column in decision.inputs.items()}
    if not inputs and not problems.found:
        reasons = "".join(f"; {decision.note}" for decision in decisions.values())
        problems.add(f"{path}: no column is left to predict {target} from{reasons}")
    targets: Array = np.zeros((len(frame), 1), "float32")
    outputs: tuple[str, ...] = (target,)
    with problems.collect():
        if quantity:
            targets = _quantity(path, used[target], quantity)[:, None]
        elif labels is not None:
            hint = ", and a quantity needs a regression"
            targets, outputs = class_labels(path, labels, table_checks.FEWEST // 2, hint)
    problems.check()
    description = _describe(file, used, decisions, config, notes)
    warnings = table_checks.notes(inputs, targets, target)
    read = {target, *(name for name, decision in decisions.items() if decision.format)}
    if copies := table_checks.repeated(inputs | _left_out(frame, read), targets):
        warnings.append(f"{copies:,} of {len(frame):,} rows are copies of other rows")
        description = replace(description, facts={**description.facts, COPIES: f"{copies:,} rows"})
    if quantity and quantity.note:
        warnings.insert(0, quantity.note)
    raw = replace(
        datasets.raw_table(path.name, inputs, targets, outputs),
        formats=Formats(columns={name: decision.format for name, decision in decisions.items() if decision.format}),
        description=replace(description, notes=(*description.notes, *warnings)),
    )
    return raw, quantity


def _left_out(frame: "pd.DataFrame", read: set[str]) -> dict[str, Array]:
    """Return the text (rows,) of the columns that are not `read`; not of numbers of rows, in which copies differ."""
    names = [name for name in map(str, frame) if name not in read and not columns.ROW.fullmatch(name)]
    return {f"{name} as text": strings(frame[name]) for name in names}


def with_target(frame: "pd.DataFrame", target: str) -> tuple["pd.DataFrame", list[str]]:
    """Return the rows that have a value in the column `target`, and a note about the others."""
    if target not in frame:
        return frame, []
    cells = frame[target]
    missing = cells.isin(MISSING)
    if missing.any() and not cell_numbers.is_numeric(cells):
        missing = cells.eq("")  # in text, NA is a name
    if not missing.any():
        return frame, []
    note = f"{missing.sum():,} of {len(frame):,} rows have no {target}, first in line {missing.idxmax()}; left out"
    return frame[~missing], [note]


def without_rare(frame: "pd.DataFrame", label: str, fewest: int) -> tuple["pd.DataFrame", list[str]]:
    """Return the rows of classes with at least `fewest` rows, and a note about the others.

    All rows are kept if the others are more than `RAREST` of them, or if a single class would be left.
    """
    counts = frame[label].value_counts()
    rare = counts[counts < fewest]
    if rare.empty or len(counts) - len(rare) < 2 or rare.sum() > RAREST * len(frame):
        return frame, []
    names = ", ".join(f"{name} {count}" for name, count in rare.head(NAMED).items())
    note = f"{label}: classes with fewer than {fewest} rows are left out, and are never predicted: {names}"
    return frame[~frame[label].isin(rare.index)], [note + (", …" if len(rare) > NAMED else "")]


def target_kind(cells: Cells) -> tuple[Target, str]:
    """Decide whether a target column without missing values holds classes or a quantity.

    Names are classes, and so are two different numbers, and few whole numbers that count from 0 or 1 without a gap,
    each in enough rows for a class. Other numbers are a quantity.

    Returns:
        The kind, and a note about it.
    """
    name, advice = cells.name, "set `target_kind` {} if that is wrong"
    reading = cell_numbers.read_numbers(cells)
    if not reading.is_numeric or columns.ranges_beside_numbers(cells, reading):
        return "class", f"{name} is a class: it has names"
    counts = cells.value_counts()
    reading = cell_numbers.read_numbers(counts.index.to_series())
    levels = np.unique(reading.values[reading.decided or "."])
    counts_on = any(np.array_equal(levels, start + np.arange(len(levels))) for start in (0, 1))
    counted = counts_on and len(levels) <= MOST_CLASSES and counts.min() >= table_checks.FEWEST // 2
    if len(levels) <= 2 or counted:
        values = ", ".join(f"{level:g}" for level in levels)
        return "class", f"{name} is a class: its only values are {values}; " + advice.format("quantity")
    return "quantity", f"{name} is a quantity: it has {len(levels):,} different numbers; " + advice.format("class")


def _quantity(path: Path, cells: Cells, decision: Decision) -> Array:
    """Return the numbers (rows,) of a target column."""
    if decision.problem:
        raise UserError(decision.problem)
    if decision.format and decision.format.kind == "number":
        return next(iter(decision.inputs.values()))
    values = cell_numbers.read_numbers(cells).values["."]
    fix = "a class needs a classification, such as apps.logistic_regression"
    raise UserError(wrong_cell(path, cells, values, "number", fix))


def class_labels(path: Path, cells: Cells, fewest: int, hint: str = "") -> tuple[Array, tuple[str, ...]]:
    """Return int32 labels (rows,) for a column of class names, and the sorted names.

    Raises:
        UserError: if there is only one class, or a class has less than `fewest` rows; ends with `hint`.
    """
    import pandas as pd

    labels, classes = pd.factorize(cells, sort=True)
    counts = np.bincount(labels)
    if len(classes) < 2:
        raise UserError(f"{path}: {len(classes)} classes in the column {cells.name}; at least two are needed")
    if counts.min() < fewest:
        rare = f"{cells.name} {classes[int(counts.argmin())]} in only {counts.min()} of {len(cells)} rows"
        raise UserError(f"{path}: {rare}; each class needs {fewest}{hint}")
    return labels.astype("int32"), tuple(map(str, classes))


def _describe(
    file: csv_file.Cells,
    frame: "pd.DataFrame",
    decisions: Mapping[str, Decision],
    config: TableConfig,
    notes: Sequence[str],
) -> Description:
    """Describe a file: its rows, and one row of a table for each column."""
    import pandas as pd

    rows = [_overview(frame[name], decision) for name, decision in decisions.items()]
    used = sum(bool(decision.format) for decision in decisions.values())
    facts = {
        "rows": f"{len(frame):,}",
        "columns": f"{len(file.frame.columns):,}, of which {used:,} are used to predict",
    }
    if config.ignore:
        more = f" and {len(config.ignore) - NAMED:,} more" if len(config.ignore) > NAMED else ""
        facts["ignored"] = ", ".join(config.ignore[:NAMED]) + more
    own = [decision.note for decision in decisions.values() if decision.note]
    return Description((*file.notes, *notes, *own), facts, {"columns": pd.DataFrame(rows)})


def _overview(cells: Cells, decision: Decision) -> dict[str, Any]:
    """Return the row of a column in the overview: type, rule, missing values, different values, and its range."""
    import pandas as pd

    kind = decision.format.kind if decision.format else "left out"
    filled: pd.Series[Any]
    match kind:
        case "number":
            filled = pd.Series(decision.inputs[str(cells.name)]).dropna()
        case "date":
            filled = cells[~cells.isin(MISSING)]
        case _:
            filled = cells[cells.ne("")]
    return {
        "column": cells.name,
        "read as": kind,
        "because": decision.rule,
        "missing": len(cells) - len(filled),
        "different": filled.nunique(),
        "content": decision.content,
    }
