"""Simulate a search of 10,000 trials on 1,000 workers from measured times, and name the part that limits it.

    python -m benchmarks.search_scale      # minutes; PostgreSQL must be installed: make postgresql

It measures the processor seconds of KerasTuner's oracles for a proposal and for writing their state, by the number of
finished trials, and fits a power law to the larger half of them, by which more trials are extrapolated. It measures the
trials a second that processes of this machine record on SQLite and PostgreSQL, and PostgreSQL's own processor seconds
for a trial. Then it simulates searches: the oracle answers one worker at a time; SQLite records at the measured rate,
and PostgreSQL as fast as its cores allow, while each worker's own processor prepares the records.
"""

import heapq
import itertools
import math
import multiprocessing
import os
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import psutil
import tyro
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.crowds import environment
from common import Classification
from common.config import Count
from common.tracking.processes import MINUTE
from tests import postgresql
from tuning.search.options import Algorithm, SearchOptions

SIZES: dict[Algorithm, tuple[int, ...]] = {
    "random": (100, 300, 1000, 3000),
    "hyperband": (100, 300, 1000, 3000),
    "bayesian": (50, 100, 200, 400),
}
"""Numbers of finished trials at which each oracle is measured."""
WELL = 0.9
"""Where the workers train for more than this share of the time, nothing else limits the search."""


@dataclass(frozen=True)
class Law:
    """A power law, seconds = factor * trials ** exponent, but at least `least`."""

    factor: float
    exponent: float
    least: float

    def __call__(self, trials: int) -> float:
        """Return the seconds at a number of trials."""
        return max(self.least, self.factor * max(1, trials) ** self.exponent)


@dataclass(frozen=True)
class Outcome:
    """Result of a simulated search: its hours, and the share of the time in which each part worked."""

    hours: float
    training: float
    oracle: float
    database: float

    @property
    def limit(self) -> str:
        """The part that limits the search."""
        if self.training > WELL:
            return "workers"
        return "oracle" if self.oracle > self.database else "database"


def main(
    trials: Count = 10_000,
    minutes: float = 10,
    workers: tuple[int, ...] = (10, 100, 1000),
    largest: Count = 1000,
    seconds: float = 20,
    cores: Count = 8,
) -> None:
    """Measure, then simulate.

    Args:
        trials: Trials of a search.
        minutes: Mean time of a trial in minutes; each takes between half and one and a half of it.
        workers: Numbers of workers.
        largest: Largest number of finished trials at which Bayesian optimisation is measured; a proposal takes seconds.
        seconds: Time in which each database is measured, for each number of processes.
        cores: Cores of the simulated PostgreSQL server.
    """
    show = Console(width=200, highlight=False).print
    proposing, writing = {}, {}
    table = Table("oracle", "finished trials", "ms a proposal", "ms to write the state", "state MB", box=box.MARKDOWN)
    for name, sizes in SIZES.items():
        numbers = [*(size for size in sizes if size < largest), largest] if name == "bayesian" else sizes
        measured = [measure_oracle(name, number) for number in numbers]
        for number, (proposal, state, size) in zip(numbers, measured, strict=True):
            table.add_row(name, f"{number:,}", f"{1000 * proposal:,.1f}", f"{1000 * state:,.1f}", f"{size / 1e6:.2f}")
        proposing[name] = fit(numbers, [proposal for proposal, _, _ in measured])
        writing[name] = fit(numbers, [state for _, state, _ in measured])
    show(table)
    laws = Table("oracle", "proposal", "state", f"proposal at {trials:,} trials", "state", box=box.MARKDOWN)
    for count in workers:
        laws.add_column(f"keeps {count:,} workers busy until trial")
    for name in SIZES:
        found = proposing[name], writing[name]
        grows = [f"n^{law.exponent:.2f}" for law in found]
        until = [f"{busy_until(60 * minutes / count, *found):,}" for count in workers]
        laws.add_row(name, *grows, *(f"{law(trials):,.2f} s" for law in found), *until)
    show(laws)
    recorded = measure_databases(seconds)
    stores = Table("database", "processes", "trials/s", "CPU s a trial", "of the database", box=box.MARKDOWN)
    for (store, processes), one in recorded.items():
        stores.add_row(store, str(processes), f"{one.rate:.1f}", f"{one.client:.2f}", f"{one.server:.3f}")
    show(stores)
    best = {
        "SQLite": max(one.rate for (store, _), one in recorded.items() if store == "SQLite"),
        "PostgreSQL": cores / min(one.server for (store, _), one in recorded.items() if store == "PostgreSQL"),
    }
    show(f"SQLite takes {best['SQLite']:.1f} trials a second, PostgreSQL with {cores} cores {best['PostgreSQL']:.0f}")
    simulated = Table("oracle", "database", "workers", "hours", "training", "oracle", "database", box=box.MARKDOWN)
    simulated.add_column("limit")
    for name, (store, rate), count in itertools.product(SIZES, best.items(), workers):
        outcome = simulate(trials, count, 60 * minutes, proposing[name], writing[name], 1 / rate)
        shares = (f"{one:.0%}" for one in (outcome.training, outcome.oracle, outcome.database))
        simulated.add_row(name, store, f"{count:,}", f"{outcome.hours:,.1f}", *shares, outcome.limit)
    show(simulated)


def measure_oracle(algorithm: Algorithm, finished: int) -> tuple[float, float, int]:
    """Return the processor seconds of a proposal and of writing the state, and the bytes of the state.

    Args:
        algorithm: The algorithm.
        finished: Number of finished trials, with random settings and results.
    """
    from tuning import lenet5
    from tuning.search import oracle, space

    generator = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        configs = space.ConfigBuilder(lenet5.space, [], "lenet5")
        options = SearchOptions(algorithm=algorithm)
        proposer: Any = oracle.create(options, configs, Classification(), Path(folder) / "oracle")
        proposer.max_trials = 10**6
        if algorithm == "bayesian":
            proposer.num_initial_points = finished  # those that it draws at random
        proposer._write = lambda: None
        for _ in range(finished):
            finish(proposer, generator)
        repeats = 20 if algorithm != "bayesian" else 3 if finished <= 200 else 1
        times = []
        for _ in range(repeats):
            began = time.process_time()
            finish(proposer, generator)
            times.append(time.process_time() - began)
        proposal = statistics.median(times)
        del proposer._write
        began = time.process_time()
        for _ in range(3):
            proposer._write()
        state = (time.process_time() - began) / 3
        return proposal, state, len(cloudpickle.dumps(proposer))


def finish(proposer: Any, generator: random.Random) -> None:
    """Let an oracle propose a trial, and report a random result of it."""
    trial = proposer.create_trial("worker")
    proposer.end(trial, generator.random(), None)


def fit(numbers: Sequence[int], seconds: Sequence[float]) -> Law:
    """Fit a power law to the larger half of the measurements, by least squares of the logarithms."""
    half = slice(len(numbers) // 2 - 1, None)
    exponent, intercept = np.polyfit(np.log(numbers[half]), np.log(seconds[half]), 1)
    return Law(math.exp(intercept), float(exponent), min(seconds))


@dataclass(frozen=True)
class Recorded:
    """Trials per second that were recorded, and the processor seconds for one, of the client and of the server."""

    rate: float
    client: float
    server: float


def busy_until(seconds: float, propose: Law, write: Law) -> int:
    """Return the number of trials from which on the oracle needs more than `seconds` for each."""
    number = 1
    while number < 10**6 and propose(number) + 2 * write(number) < seconds:
        number = math.ceil(1.05 * number)
    return number


def measure_databases(seconds: float) -> dict[tuple[str, int], Recorded]:
    """Return the speed of recording, by the kind of the database and the number of processes."""
    found = {}
    with postgresql.serving() as server, tempfile.TemporaryDirectory() as folder:
        for store, processes in itertools.product(("SQLite", "PostgreSQL"), (1, 4)):
            name = f"{store.lower()}{processes}"
            uri = f"sqlite:///{folder}/{name}.db" if store == "SQLite" else server.new_database(name)
            with environment(MLFLOW_TRACKING_URI=uri, MLFLOW_DEFAULT_ARTIFACT_ROOT=f"{folder}/artifacts"):
                record_trials(0)  # makes the tables
                with multiprocessing.get_context("spawn").Pool(processes) as pool:
                    pool.map(record_trials, [0] * processes, chunksize=1)  # imports
                    before = server_seconds(server)
                    done = pool.map(record_trials, [seconds] * processes, chunksize=1)
                    spent = server_seconds(server) - before
            trials = sum(count for count, _, _ in done)
            rate = sum(count / wall for count, wall, _ in done)
            found[store, processes] = Recorded(rate, sum(cpu for _, _, cpu in done) / trials, spent / trials)
    return found


def server_seconds(server: postgresql.Server) -> float:
    """Return the processor seconds of a server's processes, also of those that have ended."""
    main_process = psutil.Process(int((server.folder / "data" / "postmaster.pid").read_text().split()[0]))
    running = [process.cpu_times() for process in main_process.children()]
    times = main_process.cpu_times()
    return float(sum(times[:4]) + sum(one.user + one.system for one in running))


def record_trials(seconds: float, epochs: int = 10) -> tuple[int, float, float]:
    """Record trials as a worker of a search does, at least one.

    Returns:
        The number of trials, and the wall and processor seconds.
    """
    from apps import perceptron
    from common import tracking
    from common.data import Data

    pair = np.zeros((4, 2), "float32"), np.zeros(4, "int32")
    data = Data("points", "0", pair, pair, pair, ("no", "yes"), kind="vector")
    config = perceptron.Settings()
    count, began, spent = 0, time.perf_counter(), time.process_time()
    while not count or time.perf_counter() - began < seconds:
        key = tracking.RunKey(None, {"search": "simulated", "trial": f"{os.getpid()}-{count}"})
        tracking.finished("trial", key)
        with tracking.run(perceptron.app, "trial", config, data, f"trial {count}", key) as run:
            for epoch in range(epochs):
                run.log_metrics({"loss": 1.0, "accuracy": 0.5, "val_loss": 1.0, "val_accuracy": 0.5}, step=epoch + 1)
            run.log_metrics({"best_val_accuracy": 0.5, "train_seconds": 1.0})
        count += 1
    return count, time.perf_counter() - began, time.process_time() - spent


def simulate(
    trials: int, workers: int, seconds: float, propose: Law, write: Law, record: float, seed: int = 0
) -> Outcome:
    """Simulate a search.

    Args:
        trials: Number of trials.
        workers: Number of workers.
        seconds: Mean time of a training.
        propose: Seconds of a proposal, by the number of finished trials and those that run.
        write: Seconds of writing the oracle's state, which happens twice for each trial.
        record: Seconds in which the database records a trial.
        seed: Seed of the times of the trainings.
    """
    generator = random.Random(seed)
    heartbeats = min(WELL, workers * record / (10 * MINUTE))  # a heartbeat is about a tenth of a trial's writes
    record /= 1 - heartbeats
    events: list[tuple[float, int, str]] = [(0.0, worker, "free") for worker in range(workers)]
    oracle = database = oracle_work = database_work = training = now = 0.0
    begun = ended = 0
    while events:
        now, worker, event = heapq.heappop(events)
        match event:
            case "free" if begun < trials:
                begun += 1
                work = propose(begun) + write(begun)
                oracle, oracle_work = max(now, oracle) + work, oracle_work + work
                heapq.heappush(events, (oracle, worker, "proposed"))
            case "proposed":
                duration = seconds * generator.uniform(0.5, 1.5)
                training += duration
                heapq.heappush(events, (now + duration, worker, "trained"))
            case "trained":
                database, database_work = max(now, database) + record, database_work + record
                heapq.heappush(events, (database, worker, "recorded"))
            case "recorded":
                ended += 1
                work = write(ended)
                oracle, oracle_work = max(now, oracle) + work, oracle_work + work
                heapq.heappush(events, (oracle, worker, "free"))
    return Outcome(now / 3600, training / (workers * now), oracle_work / now, database_work / now)


if __name__ == "__main__":
    tyro.cli(main)
