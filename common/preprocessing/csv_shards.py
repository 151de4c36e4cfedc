"""Write a CSV file that does not fit into memory, of a table or of sentences, as shards."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from common.data import Array, ColumnFormat
from common.errors import UserError
from common.preprocessing import columns, csv_file, row_files, shards, storage, table_checks, table_files, tables, text
from common.preprocessing.cells import strings

SAMPLE = 2**27
"""Bytes of the rows that decide how a file is read of which shards are written."""


def write_table(config: tables.TableConfig, kind: tables.Target, folder: Path) -> shards.Index:
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
    size = _size(path)
    step, rows, sampled, parts = -(-size // SAMPLE) or 1, 0, list[csv_file.Cells](), -(-size // csv_file.CHUNK)
    for file in shards.progress(table_files.read_chunks(path), parts, "deciding the types of the columns"):
        sampled.append(replace(file, frame=file.frame.iloc[-rows % step :: step]))
        rows += len(file.frame)
    raw, quantity = tables.table_of(path, table_files.joined(sampled), config, kind)
    csv_file.release_memory()
    kinds = {name: "<u2" if column.dtype == object else column.dtype.str for name, column in raw.train[0].items()}
    levels = {name: dict[str, int]() for name, dtype in kinds.items() if dtype == "<u2"}
    found = list[Array]()

    def records() -> Iterator[bytes]:
        for file in shards.progress(table_files.read_chunks(path), parts):
            frame, _ = tables.with_target(file.frame, target)
            block = np.empty(len(frame), list(kinds.items()))
            for name, form in raw.formats.columns.items():
                for column, values in columns.converted(path, frame[name], form).items():
                    block[column] = _codes(path, column, values, levels[column]) if column in levels else values
            answer = quantity.format if quantity and quantity.format else ColumnFormat("text")
            found.append(columns.converted(path, frame[target], answer)[target])
            yield row_files.content(block)

    def index() -> tuple[dict[str, Array], dict[str, Any]]:
        import pandas as pd

        targets, outputs = np.concatenate(found), raw.outputs
        if quantity:
            targets = targets.astype(raw.train[1].dtype)[:, None]
        else:
            targets, outputs = tables.class_labels(path, pd.Series(targets, name=target), table_checks.FEWEST // 2)
        description, notes = raw.description, list(raw.description.notes)
        if step > 1:
            notes.append(f"{len(raw.train[1]):,} of the {rows:,} rows decided the types of the columns and these notes")
        return {"targets": targets}, {
            "name": path.name,
            "outputs": outputs,
            "settings": {name: getattr(config, name) for name in ("target", "categories", "ignore", "decimal")},
            "inputs": kinds,
            "levels": {name: tuple(known) for name, known in levels.items()},
            "formats": raw.formats.columns,
            "notes": tuple(notes),
            "facts": {**description.facts, "rows": f"{len(targets):,}"},
            "overview": {str(name): tuple(column.tolist()) for name, column in description.tables["columns"].items()},
        }

    return shards.write(folder, "table", records(), index)


def write_texts(path: Path, column: str, label: str, folder: Path) -> shards.Index:
    """Write the sentences of a CSV file as shards, in memory that does not depend on their length.

    Args:
        path: The file.
        column: Column of sentences.
        label: Column of classes.
        folder: The folder to make.

    Raises:
        UserError: as `text.read`, or if the folder cannot be written.
    """
    parts = -(-_size(path) // csv_file.CHUNK)
    found, rows = list[Array](), []

    def records() -> Iterator[bytes]:
        for file in shards.progress(table_files.read_chunks(path), parts):
            csv_file.require(path, file.frame, [column, label])
            rows.append(len(file.frame))
            table = file.frame[file.frame[column].ne("") & file.frame[label].ne("")]
            found.append(strings(table[label]))
            yield from (sentence.encode() for sentence in table[column])

    def index() -> tuple[dict[str, Array], dict[str, Any]]:
        import pandas as pd

        names = pd.Series(np.concatenate(found), name=label)
        labels, classes = tables.class_labels(path, names, text.FEWEST)
        return {"targets": labels}, {
            "name": path.name,
            "outputs": classes,
            "settings": {"text": column, "label": label},
            "facts": {"rows": f"{sum(rows):,}, of which {len(labels):,} have a sentence and a class"},
        }

    return shards.write(folder, "text", records(), index)


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


def _size(path: Path) -> int:
    """Return the size of the files of a table in bytes."""
    return sum(map(shards.file_size, table_files.files(path)))
