"""Measure time and memory to read, split and train on generated ratings, as many as MovieLens 20M has.

    python -m benchmarks.large_ratings
    python -m benchmarks.large_ratings --hidden 100    # the app's width: hours on a CPU

One epoch on a thousand users, then validation and test on all. Nothing is kept.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

import psutil
import tyro

from common.cli.parsing import plain_errors
from common.preprocessing import ratings
from common.preprocessing.rating_files import HEADER

USERS, ITEMS, EACH = 138_000, 27_000, 146


def main(users: int = USERS, hidden: int = 5) -> None:
    """Generate the ratings, measure and print.

    Args:
        users: Number of users. Each rates 146 of 27,000 items on average.
        hidden: Number of hidden units.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ratings.csv"
        frame = ratings.generate(users, ITEMS, EACH).set_axis(HEADER, axis=1)
        frame.to_csv(path, index=False)
        print(f"{len(frame):,} ratings, {path.stat().st_size / 2**20:,.0f} MiB of CSV", flush=True)
        del frame
        measured(
            "read and split",
            "-c",
            f"from apps import rbm_recommender as app;app.load_data(app.Settings(ratings={str(path)!r}))",
            store=folder,
        )
        settings = ["--limit", "1000", "--epochs", "1", "--hidden", str(hidden)]
        measured(
            "trained and measured",
            *("-m", "apps.rbm_recommender", "train", "--ratings", str(path), *settings),
            store=folder,
        )


def measured(title: str, *command: str, store: str, cgroup: Path | None = None) -> None:
    """Run Python with `command` and print its seconds and its peak memory, in all and without mapped files."""
    start, own, gibibyte = time.perf_counter(), 0, 2**30
    environment = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{store}/mlflow.db"}
    process = psutil.Popen([sys.executable, *command], env=environment)
    if cgroup:
        (cgroup / "cgroup.procs").write_text(str(process.pid))
    while not (done := os.wait4(process.pid, os.WNOHANG))[0]:
        memory = process.memory_info()
        own = max(own, memory.rss - getattr(memory, "shared", 0))
        time.sleep(0.05)
    _, status, usage = done
    wall, cpu = time.perf_counter() - start, usage.ru_utime + usage.ru_stime
    whole = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)  # bytes
    words = f"at most {whole / gibibyte:.2f} GiB, {own / gibibyte:.2f} GiB without mapped files"
    print(f"{title}: {wall:.0f} s ({cpu:.0f} CPU s), {words}", flush=True)
    if status:
        raise SystemExit(1)


if __name__ == "__main__":
    with plain_errors():
        tyro.cli(main)
