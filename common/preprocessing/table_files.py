"""The cells of a table in a CSV or Parquet file, or in several, which a pattern such as `part-*.csv` names.

The values of a Parquet file become the text that a CSV file has, so that both are read by the same rules.
"""

import glob
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UserError, first_line, reading
from common.preprocessing import csv_file
from common.preprocessing.csv_file import Cells

ROWS = 2**16
"""Rows of a Parquet file that are read at once."""


def files(path: Path) -> list[Path]:
    """Return the files that `path` names: itself, or, if it is a pattern, all that fit it, in order.

    Raises:
        UserError: if no file fits the pattern.
    """
    if path.exists() or not glob.has_magic(str(path)):
        return [path]
    found = sorted(file for file in Path(path.anchor).glob(str(path.relative_to(path.anchor))) if file.is_file())
    if not found:
        raise UserError(f"{path}: no file fits this pattern")
    return found


def read(path: Path) -> Cells:
    """Read all cells of the files, one file below the other.

    If there are several, the index of the cells is such as "2 of part-1.csv", else as of `csv_file.read`. The lines of
    a Parquet file are its rows, from 1.

    Raises:
        UserError: as `csv_file.read`, or if a file is damaged, or has other columns than the first.
    """
    return joined(list(_parts(path, lambda file: [csv_file.read(file)])))


def read_chunks(path: Path) -> Iterator[Cells]:
    """Read the cells of the files in parts, those of a CSV file of about `csv_file.CHUNK` bytes.

    Raises:
        UserError: as `read`, or if a CSV file is not in UTF-8.
    """
    return _parts(path, csv_file.read_chunks)


def joined(parts: Sequence[Cells]) -> Cells:
    """Return cells one below the other."""
    import pandas as pd

    if len(parts) == 1:
        return parts[0]
    notes = dict.fromkeys(note for part in parts for note in part.notes)
    return replace(parts[0], frame=pd.concat([part.frame for part in parts]), notes=tuple(notes))


def _parts(path: Path, read_csv: Callable[[Path], Iterable[Cells]]) -> Iterator[Cells]:
    """Yield the cells of the files in parts, with the columns of the first file."""
    names, columns = files(path), list[str]()
    for file in names:
        for cells in _read_parquet(file) if file.suffix == ".parquet" else read_csv(file):
            frame = cells.frame
            columns = columns or list(map(str, frame))
            csv_file.require(file, frame, columns)
            if others := [name for name in frame if name not in columns]:
                fix = "the files of a table have the same columns"
                raise UserError(f"{file}: {names[0]} has no column {others[0]}; {fix}")
            if list(frame) != columns:
                frame = frame[columns]
            if len(names) > 1:
                frame = frame.set_axis(frame.index.astype("str") + f" of {file}")
            yield replace(cells, frame=frame)


def _read_parquet(path: Path) -> Iterator[Cells]:
    """Read the cells of a Parquet file in parts of `ROWS` rows."""
    import pandas as pd
    import pyarrow as pa
    from pyarrow import parquet

    string, start = pd.StringDtype(na_value=np.nan), 1
    with reading(path):
        file = path.open("rb")
    with file:
        try:
            content = parquet.ParquetFile(file)
            csv_file.check_number(path, content.schema_arrow.names)
            csv_file.check_names(path, content.schema_arrow.names)
            for batch in content.iter_batches(ROWS) if content.metadata.num_rows else [content.read()]:
                names = batch.schema.names
                texts = [_texts(path, name, batch[name]) for name in names]
                frame = pa.table(texts, names).to_pandas(types_mapper={pa.large_string(): string}.get)
                yield Cells(frame.set_axis(pd.RangeIndex(start, start + len(frame))), ",")
                start += len(frame)
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{path}: not a Parquet file that can be read ({first_line(error)})") from error


def _texts(path: Path, name: str, values: Any) -> Any:
    """Return the values of a column as text, "" for a missing one and for NaN."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_nan(values), None, values)
    if pa.types.is_boolean(values.type):  # as pandas writes it to a CSV file
        values = pc.if_else(values, "True", "False")
    try:
        texts = pc.cast(values, pa.large_string())
    except (NotImplementedError, pa.ArrowInvalid) as error:
        fix = "write the file without it, or with numbers, text or times"
        raise UserError(f"{path}: column {name} has values of the type {values.type}; {fix}") from error
    return pc.utf8_trim_whitespace(pc.fill_null(texts, ""))
