"""Measure the cost of an independent sample of a Boltzmann machine, general and restricted, by autocorrelation.

    python -m benchmarks.mixing

N successive states of a chain count as N / tau independent ones. tau = 1 + 2 sum_t rho(t) is the integrated
autocorrelation time of the averaged quantity, and rho(t) is its autocorrelation at lag t.
"""

import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import fft

from apps import boltzmann as boltzmann_app
from common import layer_names, training
from common.data import Array
from common.nn import boltzmann

import keras  # isort: skip - deferred by `common`
from keras import ops  # isort: skip - deferred by `common`


class Walk(keras.layers.Layer):
    """Chains of a machine that continue from call to call, from `states` (chains, units).

    Maps noise (sweeps, chains, units), uniform in [0, 1), to the states after every sweep, of the same shape.
    """

    def __init__(self, machine: boltzmann.BoltzmannMachine, states: Array) -> None:
        super().__init__(trainable=False)
        self.machine = machine
        self.states = self.add_weight(shape=states.shape, initializer="zeros", name="states")
        self.states.assign(states)

    def call(self, noise: Any) -> Any:
        def sweep(states: Any, noise: Any) -> Any:
            after = self.machine.gibbs(states, noise[None])
            return after, after

        last, states = ops.scan(sweep, self.states.value, noise)
        self.states.assign(last)
        return states


CHAINS = 100
"""Number of chains that run side by side."""
SWEEPS = (4_000, 16_000, 64_000)
"""Sweeps of each chain; the next number is tried if one is too small for the slowest autocorrelation."""
TIMED = 50
"""Sweeps that are timed together."""
WINDOW = 5
"""Autocorrelations are summed up to a lag of this many autocorrelation times; beyond, they are noise (Sokal 1997)."""


def autocorrelation(series: Array, mean: float, variance: float) -> Array:
    """Return the autocorrelation rho(t) for t = 0, 1, …, (times,), averaged over all chains and pairs of times.

    Args:
        series: Values (times, chains) of chains that start in equilibrium.
        mean: Exact mean; with the exact variance the estimate has no bias.
        variance: Exact variance.
    """
    times, chains = series.shape
    centred = (series - mean).astype("float32")
    # The power spectrum; zero padding to twice the length avoids circular correlation.
    power = np.square(np.abs(fft.rfft(centred, 2 * times, axis=0))).sum(axis=1)
    rho: Array = fft.irfft(power)[:times] / (np.arange(times, 0, -1) * chains * variance)
    return rho


def autocorrelation_time(rho: Array) -> float:
    """Return tau in steps from `rho` (times,), summed up to `WINDOW` times tau; NaN if the series is too short."""
    tau = 2 * np.cumsum(rho) - rho[0]
    enough = np.flatnonzero(np.arange(len(rho)) >= WINDOW * tau)
    return float(tau[enough[0]]) if len(enough) else float("nan")


def cost(machine: boltzmann.BoltzmannMachine, lengths: Sequence[int] = SWEEPS) -> dict[str, float]:
    """Measure the cost of one independent sample, in sweeps, in microseconds and in turns.

    Microseconds are those of one processor that serves all chains. Turns are draws that must wait for one another: the
    cost if every unit had a processor. The slowest of the averages v_i v_j over visible units counts.

    Args:
        machine: The machine; its chains start in equilibrium.
        lengths: Numbers of sweeps to try, until the slowest autocorrelation time can be measured.

    Returns:
        The numbers of a row of the table, by column; NaN if no length is enough.
    """
    states = machine.sample(CHAINS, np.random.default_rng(0))
    for length in lengths:
        visited, microseconds = run_chains(machine, states, length)
        sweeps = float(np.max(list(correlation_times(machine, visited))))
        if not np.isnan(sweeps):
            break
    turns = sum(count for _, _, count in machine.blocks())
    return {
        "sweeps a sample": sweeps,
        "µs a sweep": microseconds,
        "µs a sample": microseconds * sweeps,
        "turns a sweep": turns,
        "turns a sample": turns * sweeps,
    }


def run_chains(machine: boltzmann.BoltzmannMachine, states: Array, sweeps: int) -> tuple[Array, float]:
    """Run chains from `states` (chains, units) and time them.

    Returns:
        The visible units after each of `sweeps`, (sweeps, chains, visible), and the microseconds per sweep of a chain:
        the shortest time measured, because other processes only add to it, without the drawing of random numbers.
    """
    rng, visited, seconds = np.random.default_rng(1), list[Array](), list[float]()
    walk = keras.Sequential([keras.Input(states.shape), Walk(machine, states)])
    walk.compile(jit_compile=True)
    for _ in range(sweeps // TIMED):
        noise = rng.random((TIMED, *states.shape), dtype="float32")
        start = time.perf_counter()
        after = walk.predict_on_batch(noise)
        seconds.append(time.perf_counter() - start)
        visited.append(after[:, :, : machine.visible] > 0.5)
    return np.concatenate(visited), 1e6 * min(seconds) / TIMED / len(states)


def correlation_times(machine: boltzmann.BoltzmannMachine, visited: Array) -> Iterator[float]:
    """Yield the autocorrelation time of v_i v_j in sweeps, for every i <= j, of `visited` (sweeps, chains, visible)."""
    probabilities, states = machine.probabilities(), machine.visible_states
    for first in range(machine.visible):
        for second in range(first, machine.visible):
            mean = float(probabilities @ (states[:, first] * states[:, second]))
            together = visited[:, :, first] & visited[:, :, second]
            yield autocorrelation_time(autocorrelation(together, mean, mean * (1 - mean)))


def main() -> None:
    """Train a general and a restricted machine on bars and stripes, and compare the costs of a sample."""
    names = ("sweeps a sample", "µs a sweep", "µs a sample", "turns a sweep", "turns a sample")
    table = Table("machine", "divergence", *names)
    for restricted in (False, True):
        config = boltzmann_app.Settings(restricted=restricted)
        data = boltzmann_app.load_data(config)
        keras.utils.set_random_seed(config.seed)
        model = boltzmann_app.build_model(config, data)
        training.fit(model, data, config, boltzmann_app.app.task)
        divergence = boltzmann_app.app.task.score(data.test[1], training.predict(model, data.test[0]))["divergence"]
        numbers = [divergence, *cost(model.get_layer(layer_names.MACHINE)).values()]
        table.add_row("restricted" if restricted else "general", *(f"{number:.4g}" for number in numbers))
    Console().print(table)


if __name__ == "__main__":
    main()
