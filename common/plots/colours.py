"""Colours of signed numbers, which mean the same in every figure: red is positive, blue is negative, white is zero."""

from common.data import Array

SIGNED = "RdBu_r"
"""Colour map of signed numbers. Its scale must be centred at zero."""
POSITIVE, NEGATIVE = "C3", "C0"
"""Red and blue of lines and bars."""


def by_sign(values: Array) -> list[str]:
    """Return the colour of each of `values` (n,)."""
    return [POSITIVE if value > 0 else NEGATIVE for value in values]
