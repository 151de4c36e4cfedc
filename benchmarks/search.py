"""What a search costs beside the trainings that it consists of: processor time, two workers against one, and memory.

    python -m benchmarks.search overhead     # the same trials in a plain loop, and as a search
    python -m benchmarks.search workers      # trials an hour of two workers with a core each, and of one with one core
    python -m benchmarks.search memory       # resident memory of the worker over 50 trials

Each search is the command that a user types, in a store of its own. Linux only.
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
from common import folds, training
from common.training import Course
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
whole = dataclasses.replace(data, train=folds.pooled(data))
model = app.build_model(config, whole)
training.fit(model, whole, dataclasses.replace(config, restore="last"), app.task, Course(until, validate=False))
model.evaluate(*data.test, verbose=0)
"""


def overhead(trials: int = 6, epochs: int = 4, rounds: int = 1) -> None:
    """The processor time of a search of lenet5, over that of the same trainings one after another in one process.

    Args:
        trials: Trials of the search; the best is then trained once more, here as there.
        epochs: Epochs a trial.
        rounds: How often each is run, in turn.
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
    """Trials an hour of two workers, each with a core, over those of one with a core.

    Args:
        trials: Trials of each search.
        epochs: Epochs a trial.
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
    """How much the resident memory of the search's processes together grows over the trials.

    Args:
        trials: Trials of the search, each of one epoch on 2,000 examples.
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
    """A folder for a store of its own."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def environment(folder: Path) -> dict[str, str]:
    """The environment with a store in this folder."""
    return os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}


def spent(arguments: Sequence[str], folder: Path, given: str = "") -> float:
    """Processor seconds of a Python command and its own children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, *arguments]
    subprocess.run(command, env=environment(folder), input=given, text=True, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def trial_times(folder: Path) -> list[tuple[float, float]]:
    """When each trial began and ended, in seconds since 1970."""
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    runs = mlflow.search_runs(search_all_experiments=True, filter_string="tags.kind = 'trial'", output_format="list")
    return [(run.info.start_time / 1000, run.info.end_time / 1000) for run in runs]


def children(process: int) -> list[int]:
    """The processes that a process has started."""
    found = []
    for thread in Path(f"/proc/{process}/task").glob("*/children"):
        found += [int(number) for number in thread.read_text().split()]
    return found


def resident(process: int) -> float:
    """MiB of memory that a process occupies."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except (OSError, IndexError):
        return 0.0


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict({"overhead": overhead, "workers": workers, "memory": memory})
