"""Count what is lost when many trainings begin at once in an empty store, on SQLite and on PostgreSQL.

    python -m benchmarks.crowds --writers 8 --rounds 10

Each writer is a process that trains the perceptron for two epochs. Together they create the store's tables, the
experiment, the data set and the registered model, and each registers a version. PostgreSQL must be installed: make
postgresql.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass

import mlflow
from rich.console import Console
from rich.table import Table

from common import tracking
from common.cli.parsing import run_program
from common.config import Count
from common.files import ROOT
from tests import postgresql

EPOCHS = 2
METRICS = ("loss", "accuracy", "val_loss", "val_accuracy")


@dataclass
class Tally:
    """Things that the writers should have recorded, and those that are missing."""

    runs: int = 0
    lost_runs: int = 0
    lost_metrics: int = 0
    lost_versions: int = 0
    wrong_champions: int = 0
    seconds: float = 0.0


def main(writers: Count = 8, rounds: Count = 10) -> None:
    """Print a table of the runs, metrics and versions that were lost, by kind of store.

    Args:
        writers: Number of trainings at once.
        rounds: Number of empty stores of each kind.
    """
    table = Table("store", "runs", "lost runs", "lost metrics", "lost versions", "wrong champions", "seconds")
    with postgresql.serving() as server:
        for kind in ("SQLite", "PostgreSQL"):
            tally = Tally()
            for number in range(rounds):
                with tempfile.TemporaryDirectory() as folder:
                    uri = f"sqlite:///{folder}/mlflow.db" if kind == "SQLite" else server.new_database(f"crowd{number}")
                    with environment(MLFLOW_TRACKING_URI=uri, MLFLOW_DEFAULT_ARTIFACT_ROOT=f"{folder}/artifacts"):
                        began = time.perf_counter()
                        _train(writers)
                        tally.seconds += time.perf_counter() - began
                        _count(tally, writers)
            lost = (tally.lost_runs, tally.lost_metrics, tally.lost_versions, tally.wrong_champions)
            table.add_row(kind, str(tally.runs), *map(str, lost), f"{tally.seconds:.0f}")
    Console().print(table)


@contextlib.contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Set variables of the environment in this block."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _train(writers: int) -> None:
    """Train `writers` times at once, and print the last line of each error."""
    command = [sys.executable, "-m", "apps.perceptron", "train", "--no-baseline", "--epochs", str(EPOCHS)]
    processes = [
        subprocess.Popen(
            [*command, "--seed", str(seed)], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        for seed in range(writers)
    ]
    for process in processes:
        _, errors = process.communicate()
        if process.returncode:
            Console(stderr=True).print(errors.splitlines()[-1])


def _count(tally: Tally, writers: int) -> None:
    """Add the losses of one store."""
    client = tracking.connect()
    found = mlflow.search_runs(search_all_experiments=True, output_format="list")
    finished = [run for run in found if run.info.status == "FINISHED"]
    curves = [tracking.curve(client, run.info.run_id, name) for run in finished for name in METRICS]
    versions = client.search_model_versions("name = 'perceptron-iris'")
    tally.runs += writers
    tally.lost_runs += writers - len(finished)
    tally.lost_metrics += writers * len(METRICS) * EPOCHS - sum(map(len, curves))
    tally.lost_versions += writers - len({version.run_id for version in versions})
    values = {str(version.version): float(version.tags["val_accuracy"]) for version in versions}
    champion = client.get_registered_model("perceptron-iris").aliases.get("champion") if versions else None
    tally.wrong_champions += champion is None or values[str(champion)] < max(values.values())


if __name__ == "__main__":
    run_program(main)
