"""Find columns and rows of a table that its user should know about."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from common.data import Array, Data

FEWEST = 10
"""Minimum number of rows, for three parts. A class needs half of them."""
GIVEN_AWAY = 0.999
"""Absolute correlation with the target from which a column is reported."""
BEGINNING = 1000
"""Rows that show whether a column has more values than `FEW_LEVELS`."""
FEW_LEVELS = 50
"""Maximum number of values of a column that is compared with the target value by value."""


def notes(inputs: Mapping[str, Array], targets: Array, target: str) -> list[str]:
    """Return notes about constants, row numbers, and columns that give the target away."""
    found = []
    for name, column in inputs.items():
        codes, levels = pd.factorize(column[:BEGINNING])
        if len(levels) <= FEW_LEVELS:
            codes, levels = pd.factorize(column)
        if len(levels) == 1 and codes.min() == 0:
            found.append(f"column {name} has the same value in every row, so it does not contribute")
        elif column.dtype != object and _counts_rows(column):
            found.append(f"column {name} counts the rows; `ignore` {name} if it is only a number for each row")
        elif len(inputs) > 1 and _gives_away(column, codes, len(levels), targets):
            found.append(f"column {name} alone gives {target} away; `ignore` {name} if it is not known beforehand")
    return found


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


def repeated(columns: Mapping[str, Array], targets: Array) -> int:
    """Return the number of rows that are copies of an earlier one."""
    return int(_hashes((columns, targets)).duplicated().sum())


def copies(data: Data) -> int:
    """Return the number of test rows that are copies of training rows."""
    return int(_hashes(data.test).isin(_hashes(data.train)).sum())


def _hashes(pair: tuple[Mapping[str, Array], Array]) -> "pd.Series[Any]":
    """Return a hash of each row (rows,), equal for rows of equal values."""
    columns = enumerate((*pair[0].values(), pair[1].ravel()))
    equal = {index: column if column.dtype == object else column + 0 for index, column in columns}  # -0 becomes 0
    return pd.util.hash_pandas_object(pd.DataFrame(equal, copy=False), index=False)
