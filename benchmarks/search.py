"""Measure two workers of a search against one, and the memory of its processes.

    python -m benchmarks.search workers      # trials an hour of two workers with a core each, and of one with one core
    python -m benchmarks.search memory       # memory of its processes over 50 trials
    python -m benchmarks.search ray          # processor time and memory of a Ray cluster of one node that does nothing

Each search is the command that a user types, with its own store. Linux only.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import tyro


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
    """Measure how much the memory of all processes of a search grows over its trials.

    Args:
        trials: Trials of the search: one epoch on 2,000 examples each.
    """
    with store() as folder:
        flags = ["--trials", str(trials), "--epochs", "1", "--limit", "2000"]
        process = subprocess.Popen([sys.executable, "-m", "tuning.lenet5", *flags], env=environment(folder))
        seen: list[tuple[float, float]] = []
        while process.poll() is None:
            seen.append((time.time(), memory_of(family(psutil.Process(process.pid)))))
            time.sleep(0.2)
        during = [
            max(size for when, size in seen if begin <= when <= end) for begin, end in sorted(trial_times(folder))
        ]
        kept = [file.stat().st_size / 2**20 for file in folder.rglob("*.npz")]
    grown = max(during) - during[0]
    print(f"in the first of {len(during)} trials {during[0]:.0f} MiB, at most {max(during):.0f}: {grown:.0f} MiB more")
    print(f"{len(kept)} states kept, {sum(kept):.0f} MiB")


def ray(seconds: int = 15) -> None:
    """Measure the processes of a Ray cluster on this machine, which no search has used. No other may run here.

    Args:
        seconds: Seconds after its start.
    """
    command = [str(Path(sys.executable).with_name("ray"))]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = ["start", "--head", "--include-dashboard=false", "--disable-usage-stats"]
    known = set(psutil.pids())
    subprocess.run(command + started, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(seconds)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    found = [psutil.Process(number) for number in set(psutil.pids()) - known]
    found = [process for process in found if "ray" in " ".join(process.cmdline())]
    used += sum(sum(process.cpu_times()[:2]) for process in found)
    print(f"{len(found)} processes, {memory_of(found):.0f} MiB, {used:.1f} processor seconds")
    subprocess.run([*command, "stop"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


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


def family(process: psutil.Process) -> list[psutil.Process]:
    """Return a process, those that it has started, and those that they have started."""
    try:
        return [process, *process.children(recursive=True)]
    except psutil.Error:  # it has just ended
        return []


def memory_of(processes: Iterable[psutil.Process]) -> float:
    """Return the memory of processes in MiB. A page that several processes share counts once."""
    total = 0
    for process in processes:
        with suppress(psutil.Error):  # it has just ended
            total += process.memory_full_info().pss
    return total / 2**20


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict({"workers": workers, "memory": memory, "ray": ray})
