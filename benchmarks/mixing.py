"""What an independent sample of a Boltzmann machine costs, general and restricted, by its chains' autocorrelation.

    python -m benchmarks.mixing

N states that a chain goes through are worth N / tau independent ones, where tau = 1 + 2 sum_t rho(t) is the integrated
autocorrelation time of what is averaged over them, and rho(t) its autocorrelation over t steps.
"""

import time
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from rich.console import Console
from rich.table import Table
from scipy import fft

from apps import boltzmann as boltzmann_app
from common import layer_names, training
from common.data import Array
from common.nn import boltzmann


class Walk(keras.layers.Layer):
    """Chains of a machine that go on from call to call, begun at `states` (chains, units).

    Takes noise (sweeps, chains, units), uniform in [0, 1); gives the states after every sweep, of the same shape.
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
"""Chains that run side by side where their cost is measured."""
SWEEPS = (4_000, 16_000, 64_000)
"""Sweeps that each of them takes: the next number where one is too few for the slowest autocorrelation."""
TIMED = 50
"""Sweeps that are timed together."""
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


def cost(machine: boltzmann.BoltzmannMachine, lengths: Sequence[int] = SWEEPS) -> dict[str, float]:
    """How many sweeps of a chain are worth one independent sample, and so what that costs.

    That is in microseconds here, where one processor works for all chains; and in turns, the draws that have to wait
    for one another, which is what counts where there are processors for all units. Of what the two-phase rule averages,
    v_i v_j over visible units, the slowest counts; NaN where that is too slow to be seen. The chains begin in
    equilibrium and are of the first of `lengths`, in sweeps, in which it is seen.
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
    """The visible units of chains after each of `sweeps`, (sweeps, chains, visible); microseconds a sweep of a chain.

    They begin at `states` (chains, units). The time is the shortest one measured: what else the computer does only adds
    to it. Drawing random numbers, of which every machine needs as many, is not in it.
    """
    rng, visited, seconds = np.random.default_rng(1), list[Array](), list[float]()
    walk = keras.Sequential([keras.Input(states.shape), Walk(machine, states)])
    walk.compile(jit_compile=True)
    for _ in range(sweeps // TIMED):
        noise = rng.random((TIMED, *states.shape), dtype="float32")
        begun = time.perf_counter()
        after = walk.predict_on_batch(noise)
        seconds.append(time.perf_counter() - begun)
        visited.append(after[:, :, : machine.visible] > 0.5)
    return np.concatenate(visited), 1e6 * min(seconds) / TIMED / len(states)


def correlation_times(machine: boltzmann.BoltzmannMachine, visited: Array) -> Iterator[float]:
    """The autocorrelation time of v_i v_j, in sweeps, for every i <= j, of chains' states (sweeps, chains, visible)."""
    probabilities, states = machine.probabilities(), machine.visible_states
    for first in range(machine.visible):
        for second in range(first, machine.visible):
            mean = float(probabilities @ (states[:, first] * states[:, second]))
            together = visited[:, :, first] & visited[:, :, second]
            yield autocorrelation_time(autocorrelation(together, mean, mean * (1 - mean)))


def main() -> None:
    """Train the machine on bars and stripes, general and restricted, and compare what a sample of each costs."""
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
