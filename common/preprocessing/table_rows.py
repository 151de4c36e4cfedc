"""Read raw rows of CSV files as inputs of a saved model."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from common import layer_names
from common.data import Array, ColumnFormat, Examples, SavedModel
from common.errors import UserError
from common.preprocessing import columns, table_files
from common.preprocessing.cells import MISSING, shortened
from common.preprocessing.csv_file import require


def read_rows(files: Sequence[str], saved: SavedModel) -> Examples:
    """Read raw rows from CSV files as inputs of the saved model. Columns without an input are ignored.

    Returns:
        Columns (rows,) by name. The name of a row is FILE:LINE. Rows with a cell of another type are unusable.

    Raises:
        UserError: if a file cannot be read, a column is missing, or no row is usable.
    """
    formats = saved.formats.columns or {
        name: ColumnFormat("text" if tensor.dtype == "string" else "number", ".")
        for name, tensor in saved.model.input.items()
    }
    names: list[str] = []
    frames, parts, reasons, notes, unseen = [], list[dict[str, Array]](), list[str](), list[str](), list[str]()
    for path in map(Path, files):
        file = table_files.read(path)
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


def _require_inputs(path: Path, frame: pd.DataFrame, formats: Mapping[str, ColumnFormat], label: str) -> None:
    """Check that a file has all columns that the model `label` was trained on."""
    try:
        require(path, frame, list(formats))
    except UserError as error:
        raise UserError("\n".join(f"{line}; {label} was trained on it" for line in str(error).splitlines())) from error


def _model_rows(
    frame: pd.DataFrame, formats: Mapping[str, ColumnFormat], saved: SavedModel
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
            unit = f" in the unit {form.unit}" if form.unit else ""
            wrong = ~np.isfinite(inputs[feature]) & ~cells.isin(MISSING).to_numpy()
            for row in np.flatnonzero(wrong & (reasons == "")):
                reasons[row] = f"{shortened(cells.iloc[row])} in the column {name} is not a {form.kind}{unit}"
    return inputs, list(reasons)


def _unseen(
    path: Path,
    frame: pd.DataFrame,
    inputs: dict[str, Array],
    formats: Mapping[str, ColumnFormat],
    saved: SavedModel,
) -> list[str]:
    """Return a line for each column with text that training never saw. Such text counts as the most frequent value.

    A model that knows missing text takes unseen text like NA for it.
    """
    found = []
    for name in (name for name, form in formats.items() if form.kind == "text"):
        known = saved.model.get_layer(layer_names.values_of(name)).get_vocabulary()
        cells = frame[name]
        if "" in known:
            cells = cells.mask(cells.isin(MISSING) & ~cells.isin(known), "")
            inputs[name] = cells.to_numpy(object)
        unseen = cells[~cells.isin([*known, ""])]
        if len(unseen):
            counts = unseen.value_counts()
            values = ", ".join(shortened(value) for value in counts.index[:3]) + (", …" if len(counts) > 3 else "")
            place = f"{path}, line {unseen.index[0]}: column {name} has values that training did not see ({values})"
            seen = ", ".join(filter(None, known[1:11]))
            found.append(f"{place} in {len(unseen):,} rows; it saw {seen}, and they count as {known[1] or 'missing'}")
    return found
