"""Measure the cost of a search beside its trainings: processor time, two workers against one, and memory.

    python -m benchmarks.search overhead     # the same trials in a plain loop, and as a search
    python -m benchmarks.search workers      # trials an hour of two workers with a core each, and of one with one core
    python -m benchmarks.search memory       # resident memory of its processes over 50 trials

Each search is the command that a user types, with its own store. Linux only.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import tyro

PLAIN = """
import sys
from importlib import import_module
import keras
from common import training
from common.preprocessing import splits
import dataclasses
import tyro
app = import_module("apps.lenet5").app
best = None
for flags in sys.stdin.read().splitlines():
    config = tyro.cli(app.settings, args=flags.split())
    data = app.load_data(config)
    keras.utils.set_random_seed(config.seed)
    model = app.build_model(config, data)
    history = training.fit(model, data, config, app.task).history
    score = max(history["val_accuracy"])
    if best is None or score > best[0]:
        best = score, config, history["val_accuracy"].index(score) + 1
_, config, until = best
data = app.load_data(config)
whole = dataclasses.replace(data, train=splits.join_pairs(data.train, data.validation))
model = app.build_model(config, whole)
options = training.FitOptions(until, validate=False)
training.fit(model, whole, dataclasses.replace(config, restore="last"), app.task, options)
model.evaluate(*data.test, verbose=0)
"""


def overhead(trials: int = 6, epochs: int = 4, rounds: int = 1) -> None:
    """Compare the processor time of a search of lenet5 with that of the same trainings in one process.

    Args:
        trials: Trials of the search. Both then train the best settings once more.
        epochs: Epochs per trial.
        rounds: Runs of each, alternately.
    """
    flags = ["--trials", str(trials), "--epochs", str(epochs)]
    shown = subprocess.run(
        [sys.executable, "-m", "tuning.lenet5", "--dry-run", *flags], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    drawn = "\n".join(line.partition(": ")[2] for line in shown if line[:1].isdigit())
    for _ in range(rounds):
        with store() as folder:
            searching = spent(["-m", "tuning.lenet5", *flags], folder)
        plain = spent(["-c", PLAIN], Path(), drawn)
        print(f"search {searching:.0f} CPU s, the same trainings alone {plain:.0f}: ratio {searching / plain:.3f}")


def workers(trials: int = 8, epochs: int = 2) -> None:
    """Compare the trials per hour of two workers on two cores with those of one worker on one core.

    Args:
        trials: Trials of each search.
        epochs: Epochs per trial.
    """
    cores = sorted(os.sched_getaffinity(0))[:2]
    rates = []
    for count in (1, 2):
        os.sched_setaffinity(0, set(cores[:count]))
        with store() as folder:
            flags = ["--trials", str(trials), "--epochs", str(epochs), "--workers", str(count)]
            spent(["-m", "tuning.lenet5", *flags], folder)
            begins, ends = zip(*trial_times(folder), strict=True)
            rates.append(3600 * trials / (max(ends) - min(begins)))
        os.sched_setaffinity(0, set(cores))
        print(f"{count} workers: {rates[-1]:.0f} trials an hour")
    print(f"ratio {rates[1] / rates[0]:.2f}")


def memory(trials: int = 50) -> None:
    """Measure how much the resident memory of all processes of a search grows over its trials.

    Args:
        trials: Trials of the search: one epoch on 2,000 examples each.
    """
    with store() as folder:
        flags = ["--trials", str(trials), "--epochs", "1", "--limit", "2000"]
        process = subprocess.Popen([sys.executable, "-m", "tuning.lenet5", *flags], env=environment(folder))
        seen: list[tuple[float, float]] = []
        while process.poll() is None:
            seen.append((time.time(), sum(resident(number) for number in (process.pid, *children(process.pid)))))
            time.sleep(0.2)
        during = [
            max(size for when, size in seen if begin <= when <= end) for begin, end in sorted(trial_times(folder))
        ]
        kept = [file.stat().st_size / 2**20 for file in folder.rglob("*.state")]
    grown = max(during) - during[0]
    print(f"in the first of {len(during)} trials {during[0]:.0f} MiB, at most {max(during):.0f}: {grown:.0f} MiB more")
    print(f"{len(kept)} states kept, {sum(kept):.0f} MiB")


@contextmanager
def store() -> Iterator[Path]:
    """Yield a temporary folder for a store."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def environment(folder: Path) -> dict[str, str]:
    """Return the environment with a store in this folder."""
    return os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}


def spent(arguments: Sequence[str], folder: Path, given: str = "") -> float:
    """Return the processor seconds of a Python command and its child processes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, *arguments]
    subprocess.run(command, env=environment(folder), input=given, text=True, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def trial_times(folder: Path) -> list[tuple[float, float]]:
    """Return the start and end of each trial, in seconds since 1970."""
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    runs = mlflow.search_runs(search_all_experiments=True, filter_string="tags.kind = 'trial'", output_format="list")
    return [(run.info.start_time / 1000, run.info.end_time / 1000) for run in runs]


def children(process: int) -> list[int]:
    """Return the ids of the child processes of a process."""
    found = []
    for thread in Path(f"/proc/{process}/task").glob("*/children"):
        found += [int(number) for number in thread.read_text().split()]
    return found


def resident(process: int) -> float:
    """Return the resident memory of a process in MiB."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except (OSError, IndexError):
        return 0.0


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict({"overhead": overhead, "workers": workers, "memory": memory})
