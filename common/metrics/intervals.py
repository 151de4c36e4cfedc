"""Intervals of forecasts from the errors on other windows: split-conformal prediction (Vovk et al. 2005)."""

import math

import numpy as np

from common.data import Array

LEVELS = (80, 95)
"""Nominal shares of values inside the intervals, in percent."""
POWERS = (0.0, 0.5, 1.0)
"""Exponents of the forecast to which an error may be proportional."""


def calibrate(targets: Array, predictions: Array) -> tuple[float, Array, Array]:
    """Find the widths of intervals for forecasts by their errors.

    The absolute error of a step is taken to be proportional to the forecast to a power, and to a spread of its step. Of
    the powers, the one with the largest normal likelihood is chosen, if all values are positive.

    Args:
        targets: True values (windows, steps, variables).
        predictions: Forecasts of the same shape.

    Returns:
        The power; the spread of each step (steps, variables); and by how many spreads an interval of each level extends
        from the forecast (levels, variables).
    """
    errors = np.abs(targets - predictions).astype("float64")
    positive = (targets > 0).all() and (predictions > 0).all()

    def costs(power: float) -> float:
        scale = np.power(predictions, power, dtype="float64") if power else np.ones_like(errors)
        squares = np.square(errors / scale).mean(axis=(0, 1))
        return float((np.log(squares + 1e-300) / 2 + np.log(scale).mean(axis=(0, 1))).sum())

    power = min(POWERS, key=costs) if positive else 0.0
    errors = errors / np.power(predictions, power, dtype="float64") if power else errors
    spread = np.maximum(np.sqrt(np.square(errors).mean(axis=0)), 1e-12)
    ratios = (errors / spread).reshape(-1, errors.shape[2])
    windows = len(targets)
    shares = [min(1.0, math.ceil((windows + 1) * level / 100) / windows) for level in LEVELS]
    return power, spread, np.quantile(ratios, shares, axis=0, method="higher")


def half_widths(predictions: Array, power: float, spread: Array, multiples: Array) -> Array:
    """Return half of the width of each interval of forecasts, (levels, windows, steps, variables).

    Args:
        predictions: Forecasts (windows, steps, variables). Steps after those of `spread` are as uncertain as a random
            walk.
        power: As `calibrate` returns it.
        spread: As `calibrate` returns it (steps, variables).
        multiples: As `calibrate` returns it (levels, variables).
    """
    steps, known = predictions.shape[1], len(spread)
    growth = np.sqrt(np.arange(known + 1, max(steps, known) + 1) / known)[:, None]
    widths = np.concatenate([spread, spread[-1:] * growth])[:steps]
    scale = np.power(np.maximum(predictions, 0), power, dtype="float64")
    return multiples[:, None, None] * (widths * scale)


def coverage(targets: Array, predictions: Array, widths: Array) -> dict[str, float]:
    """Return the share of targets inside the intervals of each level, as `coverage_80` and `coverage_95`."""
    inside = (np.abs(targets - predictions) <= widths).mean(axis=(1, 2, 3))
    return {f"coverage_{level}": float(share) for level, share in zip(LEVELS, inside, strict=True)}
