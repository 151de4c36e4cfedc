"""How fast a Markov chain forgets where it was, and so what a sample of it is worth.

N states that a chain goes through are worth N / tau independent ones, where tau = 1 + 2 sum_t rho(t) is the integrated
autocorrelation time of what is averaged over them, and rho(t) its autocorrelation over t steps.
"""

import numpy as np
from scipy import fft

from common.app import Array

WINDOW = 5
"""Autocorrelations are summed up to a lag of so many autocorrelation times: beyond, they are noise (Sokal 1997)."""


def autocorrelation(series: Array, mean: float, variance: float) -> Array:
    """rho(t) for t = 0, 1, …, (times,), of `series` (times, chains), which begins in equilibrium.

    The average over all chains and pairs of times; with the exact `mean` and `variance` it has no bias.
    """
    times, chains = series.shape
    centred = (series - mean).astype("float32")
    # The transform of a series' products with itself; zeros as long again keep its end from meeting its beginning.
    power = np.square(np.abs(fft.rfft(centred, 2 * times, axis=0))).sum(axis=1)
    rho: Array = fft.irfft(power)[:times] / (np.arange(times, 0, -1) * chains * variance)
    return rho


def autocorrelation_time(rho: Array) -> float:
    """Steps tau from `rho` (times,), summed up to `WINDOW` times tau; NaN where the series is too short for that."""
    tau = 2 * np.cumsum(rho) - rho[0]
    enough = np.flatnonzero(np.arange(len(rho)) >= WINDOW * tau)
    return float(tau[enough[0]]) if len(enough) else float("nan")
