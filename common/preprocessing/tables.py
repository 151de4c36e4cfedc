"""Tables: CSV files as data sets, and as raw rows for a saved model.

A column is an array (rows,): numbers with NaN for a missing one, or strings with "" for missing text. Numbers are
float32 where that suffices, else float64.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from common.config import Config, Share
from common.data import Array, ColumnFormat, Data, Description, Examples, Formats, RawData
from common.errors import Problems, UserError, reading
from common.preprocessing import columns, csv_file, datasets, row_shards, shards, splits, storage
from common.preprocessing.columns import MISSING, Decimal, Decision
from common.preprocessing.csv_file import require

if TYPE_CHECKING:
    import pandas as pd

    from common.data import SavedModel


Target = Literal["auto", "class", "quantity"]
"""What a target column holds. auto: `target_kind` decides."""

FEWEST = 10
"""Minimum number of rows, for three parts. A class needs half of them."""
NAMED = 10
"""Maximum number of ignored columns that the description names."""
GIVEN_AWAY = 0.999
"""Absolute correlation with the target from which a column is reported."""
BEGINNING = 1000
"""Rows that show whether a column has more values than `FEW_LEVELS`."""
MOST_CLASSES = 10
"""Maximum number of different whole numbers from 0 or 1 on that are read as classes."""
SAMPLE = 2**27
"""Bytes of the rows that decide how a file is read of which shards are written."""
FEW_LEVELS = 50
"""Maximum number of values of a column that is compared with the target value by value."""


@dataclass(frozen=True)
class TableConfig(Config):
    """Settings of every app that can train on a user's table."""

    data: str = ""
    """Built-in data set."""
    csv: str | None = None
    """CSV file to train on instead, with column names in the first line, or shards of one. Cells may be empty."""
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
    if config.csv and (copies := _copies(data)):
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
    return _table(path, csv_file.read(path), config, kind)[0]


def _table(path: Path, file: csv_file.Cells, config: TableConfig, kind: Target) -> tuple[RawData, Decision | None]:
    """Return the table in the cells of a file, and how its target is read if it is a quantity."""
    target = str(config.target)
    problems = Problems()
    with problems.collect():
        require(path, file.frame, [target, *config.categories, *config.ignore])
    frame, notes = _with_target(file.frame, target)
    if len(frame) < FEWEST:
        problems.add(f"{path}: {len(frame)} rows; at least {FEWEST} are needed")
        problems.check()
    if kind == "auto" and target in frame:
        kind, note = target_kind(frame[target])
        notes = [*notes, note]
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
        problems.add(f"{path}: no column is left to predict {target} from")
    targets: Array = np.zeros((len(frame), 1), "float32")
    outputs: tuple[str, ...] = (target,)
    with problems.collect():
        if quantity:
            targets = _quantity(path, used[target], quantity)[:, None]
        elif labels is not None:
            hint = ", and a quantity needs a regression"
            targets, outputs = class_labels(path, labels, FEWEST // 2, hint)
    problems.check()
    description = _describe(file, used, decisions, config, notes)
    warnings = _warnings(inputs, targets, target)
    if quantity and quantity.note:
        warnings.insert(0, quantity.note)
    raw = replace(
        datasets.raw_table(path.name, inputs, targets, outputs),
        formats=Formats(columns={name: decision.format for name, decision in decisions.items() if decision.format}),
        description=replace(description, notes=(*description.notes, *warnings)),
    )
    return raw, quantity


def write_shards(config: TableConfig, kind: Target, folder: Path) -> row_shards.Index:
    """Write the table in `config.csv` as shards, in memory that does not depend on its size.

    Every n-th row, of about `SAMPLE` bytes in all, decides the types of the columns, as all rows do in `read_csv`.

    Args:
        config: The settings.
        kind: Whether the target is a quantity or a class.
        folder: The folder to make.

    Raises:
        UserError: as `read_csv`; if a later cell has another type; if the folder cannot be written.
    """
    if config.target is None:
        raise UserError(f"`target` is missing: the column of {config.csv} to predict")
    target, path = config.target, Path(storage.local(config.csv or ""))
    with reading(path):
        size = path.stat().st_size
    step, rows, frames, parts = -(-size // SAMPLE) or 1, 0, list["pd.DataFrame"](), -(-size // csv_file.CHUNK)
    for file in shards.progress(csv_file.read_chunks(path), parts, "deciding the types of the columns"):
        frames.append(file.frame.iloc[-rows % step :: step])
        rows += len(file.frame)
    raw, quantity = _table(path, replace(file, frame=_joined(frames)), config, kind)
    csv_file.release_memory()
    kinds = {name: "<u2" if column.dtype == object else column.dtype.str for name, column in raw.train[0].items()}
    levels = {name: dict[str, int]() for name, dtype in kinds.items() if dtype == "<u2"}
    found = list[Array]()

    def records() -> Iterator[bytes]:
        for file in shards.progress(csv_file.read_chunks(path), parts):
            frame, _ = _with_target(file.frame, target)
            block = np.empty(len(frame), list(kinds.items()))
            for name, form in raw.formats.columns.items():
                for column, values in columns.converted(path, frame[name], form).items():
                    block[column] = _codes(path, column, values, levels[column]) if column in levels else values
            answer = quantity.format if quantity and quantity.format else ColumnFormat("text")
            found.append(columns.converted(path, frame[target], answer)[target])
            content, length = block.tobytes(), block.itemsize
            yield from (content[start : start + length] for start in range(0, len(content), length))

    def index() -> tuple[Array, dict[str, Any]]:
        import pandas as pd

        targets, outputs = np.concatenate(found), raw.outputs
        if quantity:
            targets = targets.astype(raw.train[1].dtype)[:, None]
        else:
            targets, outputs = class_labels(path, pd.Series(targets, name=target), FEWEST // 2)
        description, notes = raw.description, list(raw.description.notes)
        if step > 1:
            notes.append(f"{len(raw.train[1]):,} of the {rows:,} rows decided the types of the columns and these notes")
        return targets, {
            "name": path.name,
            "kind": "table",
            "outputs": outputs,
            "settings": {name: getattr(config, name) for name in ("target", "categories", "ignore", "decimal")},
            "inputs": kinds,
            "levels": {name: tuple(known) for name, known in levels.items()},
            "formats": raw.formats.columns,
            "notes": tuple(notes),
            "facts": {**description.facts, "rows": f"{len(targets):,}"},
            "overview": {str(name): tuple(column.tolist()) for name, column in description.tables["columns"].items()},
        }

    return row_shards.write(folder, records(), index)


def _joined(frames: "Sequence[pd.DataFrame]") -> "pd.DataFrame":
    """Return tables one below the other."""
    import pandas as pd

    return pd.concat(frames)


def _codes(path: Path, name: str, values: Array, levels: dict[str, int]) -> Array:
    """Return the numbers of texts (rows,), and add new ones to `levels`."""
    import pandas as pd

    codes, found = pd.factorize(values)
    numbers = np.array([levels.setdefault(level, len(levels)) for level in found], "int64")
    if len(levels) > columns.LEVELS + 1:
        raise UserError(
            f"{path}: column {name} has more than {columns.LEVELS:,} values; `ignore` {name} to leave it out"
        )
    return numbers[codes]


def _with_target(frame: "pd.DataFrame", target: str) -> tuple["pd.DataFrame", list[str]]:
    """Return the rows that have a value in the column `target`, and a note about the others."""
    if target not in frame:
        return frame, []
    cells = frame[target]
    missing = cells.isin(MISSING)
    if missing.any() and not columns.is_numeric(cells):
        missing = cells.eq("")  # in text, NA is a name
    if not missing.any():
        return frame, []
    note = f"{missing.sum():,} of {len(frame):,} rows have no {target}, first in line {missing.idxmax()}; left out"
    return frame[~missing], [note]


def target_kind(cells: "pd.Series[str]") -> tuple[Target, str]:
    """Decide whether a target column without missing values holds classes or a quantity.

    Names are classes, and so are two different numbers, and few whole numbers that count from 0 or 1 without a gap,
    each in enough rows for a class. Other numbers are a quantity.

    Returns:
        The kind, and a note about it.
    """
    name, advice = cells.name, "set `target_kind` {} if that is wrong"
    if not columns.is_numeric(cells):
        return "class", f"{name} is a class: it has names"
    counts = cells.value_counts()
    reading = columns.read_numbers(counts.index.to_series())
    levels = np.unique(reading.values[reading.decided or "."])
    counts_on = any(np.array_equal(levels, start + np.arange(len(levels))) for start in (0, 1))
    counted = counts_on and len(levels) <= MOST_CLASSES and counts.min() >= FEWEST // 2
    if len(levels) <= 2 or counted:
        values = ", ".join(f"{level:g}" for level in levels)
        return "class", f"{name} is a class: its only values are {values}; " + advice.format("quantity")
    return "quantity", f"{name} is a quantity: it has {len(levels):,} different numbers; " + advice.format("class")


def _quantity(path: Path, cells: "pd.Series[str]", decision: Decision) -> Array:
    """Return the numbers (rows,) of a target column."""
    if decision.problem:
        raise UserError(decision.problem)
    if decision.format and decision.format.kind == "number":
        return next(iter(decision.inputs.values()))
    values = columns.read_numbers(cells).values["."]
    fix = "a class needs a classification, such as apps.logistic_regression"
    raise UserError(columns.wrong_cell(path, cells, values, "number", fix))


def class_labels(path: Path, cells: "pd.Series[str]", fewest: int, hint: str = "") -> tuple[Array, tuple[str, ...]]:
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


def _overview(cells: "pd.Series[str]", decision: Decision) -> dict[str, Any]:
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


def _warnings(inputs: Mapping[str, Array], targets: Array, target: str) -> list[str]:
    """Return notes about constants, row numbers, columns that give the target away, and repeated rows."""
    import pandas as pd

    notes = []
    for name, column in inputs.items():
        codes, levels = pd.factorize(column[:BEGINNING])
        if len(levels) <= FEW_LEVELS:
            codes, levels = pd.factorize(column)
        if len(levels) == 1 and codes.min() == 0:
            notes.append(f"column {name} has the same value in every row, so it does not contribute")
        elif column.dtype != object and _counts_rows(column):
            notes.append(f"column {name} counts the rows; `ignore` {name} if it is only a number for each row")
        elif len(inputs) > 1 and _gives_away(column, codes, len(levels), targets):
            notes.append(f"column {name} alone gives {target} away; `ignore` {name} if it is not known beforehand")
    repeated = _hashes((inputs, targets)).duplicated().sum()
    if repeated:
        notes.append(f"{repeated:,} of {len(targets):,} rows are copies of other rows")
    return notes


def _counts_rows(column: Array) -> bool:
    """Return whether a column has consecutive integers in order."""
    return bool(np.all(np.diff(column) == 1)) and bool(column[0] in (0, 1))


def _gives_away(column: Array, codes: Array, levels: int, targets: Array) -> bool:
    """Return whether the target follows from one column.

    A number: its correlation with a quantity, or the separation of two classes by a threshold. A column with few
    values: each has one class.

    Args:
        column: The column (rows,).
        codes: Number of its value in each row, -1 for a missing one.
        levels: Number of different values.
        targets: Numbers (rows, 1) or integer labels (rows,).
    """
    if targets.ndim == 2:
        if column.dtype == object:
            return False
        known = np.isfinite(column)
        x, y = column[known].astype("float64"), targets[known, 0].astype("float64")
        if len(x) < FEWEST or np.ptp(x) == 0 or np.ptp(y) == 0:
            return False
        return bool(abs(np.corrcoef(x - x[0], y - y[0])[0, 1]) > GIVEN_AWAY)
    if levels <= FEW_LEVELS:
        pairs = np.unique(np.stack([codes[codes >= 0], targets[codes >= 0]]), axis=1)
        return levels > 1 and pairs.shape[1] == levels
    if column.dtype == object or targets.max() > 1:
        return False
    first, second = (column[(targets == label) & np.isfinite(column)] for label in (0, 1))
    return bool(len(first) and len(second) and (first.max() < second.min() or second.max() < first.min()))


def _copies(data: Data) -> int:
    """Return the number of test rows that are copies of training rows."""
    return int(_hashes(data.test).isin(_hashes(data.train)).sum())


def _hashes(pair: tuple[Mapping[str, Array], Array]) -> "pd.Series[Any]":
    """Return a hash of each row (rows,), equal for rows of equal values."""
    import pandas as pd

    columns = enumerate((*pair[0].values(), pair[1].ravel()))
    equal = {index: column if column.dtype == object else column + 0 for index, column in columns}  # -0 becomes 0
    return pd.util.hash_pandas_object(pd.DataFrame(equal, copy=False), index=False)


def read_rows(files: Sequence[str], saved: "SavedModel") -> Examples:
    """Read raw rows from CSV files as inputs of the saved model. Columns without an input are ignored.

    Returns:
        Columns (rows,) by name. The name of a row is FILE:LINE. Rows with a cell of another type are unusable.

    Raises:
        UserError: if a file cannot be read, a column is missing, or no row is usable.
    """
    import pandas as pd

    formats = saved.formats.columns or {
        name: ColumnFormat("text" if tensor.dtype == "string" else "number", ".")
        for name, tensor in saved.model.input.items()
    }
    names: list[str] = []
    frames, parts, reasons, notes, unseen = [], list[dict[str, Array]](), list[str](), list[str](), list[str]()
    for path in map(Path, files):
        file = csv_file.read(path)
        if file.frame.empty:
            raise UserError(f"{path}: no rows below the column names")
        _require_inputs(path, file.frame, formats, saved.label)
        inputs, wrong = _model_rows(file.frame, formats, saved)
        unseen += _unseen(path, file.frame, inputs, formats, saved)
        names += [f"{path}:{line}" for line in file.frame.index]
        notes += file.notes
        frames.append(file.frame)
        parts.append(inputs)
        reasons += wrong
    unusable = {row: reason for row, reason in enumerate(reasons) if reason}
    usable = np.array([not reason for reason in reasons])
    rows = {name: np.concatenate([part[name] for part in parts])[usable] for name in parts[0]}
    cells = pd.concat(frames, ignore_index=True).fillna("")
    examples = Examples(names, rows, unusable, tuple(dict.fromkeys(notes)), cells, tuple(unseen))
    examples.check_usable(lambda name: ", line ".join(name.rsplit(":", 1)))
    return examples


def _require_inputs(path: Path, frame: "pd.DataFrame", formats: Mapping[str, ColumnFormat], label: str) -> None:
    """Check that a file has all columns that the model `label` was trained on."""
    try:
        require(path, frame, list(formats))
    except UserError as error:
        raise UserError("\n".join(f"{line}; {label} was trained on it" for line in str(error).splitlines())) from error


def _model_rows(
    frame: "pd.DataFrame", formats: Mapping[str, ColumnFormat], saved: "SavedModel"
) -> tuple[dict[str, Array], list[str]]:
    """Return the model's inputs (rows,) by name, and for each row the reason why it is unusable, or ""."""
    inputs: dict[str, Array] = {}
    reasons = np.where((frame[list(formats)] == "").all(axis=1), "the row is empty", "").astype(object)
    for name, form in formats.items():
        cells = frame[name]
        for feature, values in columns.as_inputs(name, cells, form).items():
            dtype = saved.model.input[feature].dtype
            if dtype == "string":
                inputs[feature] = values
                continue
            with np.errstate(over="ignore"):
                inputs[feature] = values.astype(dtype)
            wrong = ~np.isfinite(inputs[feature]) & ~cells.isin(MISSING).to_numpy()
            for row in np.flatnonzero(wrong & (reasons == "")):
                reasons[row] = f"{columns.shortened(cells.iloc[row])} in the column {name} is not a {form.kind}"
    return inputs, list(reasons)


def _unseen(
    path: Path,
    frame: "pd.DataFrame",
    inputs: dict[str, Array],
    formats: Mapping[str, ColumnFormat],
    saved: "SavedModel",
) -> list[str]:
    """Return a line for each column with text that training never saw. Such text counts as the most frequent value.

    A model that knows missing text takes unseen text like NA for it.
    """
    found = []
    for name in (name for name, form in formats.items() if form.kind == "text"):
        known = saved.model.get_layer(levels_layer(name)).get_vocabulary()
        cells = frame[name]
        if "" in known:
            cells = cells.mask(cells.isin(MISSING) & ~cells.isin(known), "")
            inputs[name] = cells.to_numpy(object)
        unseen = cells[~cells.isin([*known, ""])]
        if len(unseen):
            counts = unseen.value_counts()
            values = ", ".join(columns.shortened(value) for value in counts.index[:3]) + (
                ", …" if len(counts) > 3 else ""
            )
            place = f"{path}, line {unseen.index[0]}: column {name} has values that training did not see ({values})"
            seen = ", ".join(filter(None, known[1:11]))
            found.append(f"{place} in {len(unseen):,} rows; it saw {seen}, and they count as {known[1] or 'missing'}")
    return found


def levels_layer(column: str) -> str:
    """Return the name of the lookup layer of a column of text, in characters that TensorFlow allows."""
    return f"values_of_{column.encode().hex()}"
