"""Measure the memory of training on a generated table in shards, larger than the memory.

    python -m benchmarks.large_tables
    python -m benchmarks.large_tables --app table_mlp --gigabytes 20

A network takes one pass over all training rows, and is validated and tested as by `train`. Nothing is kept. A memory
cgroup also limits the pages of files, which the system else keeps as long as there is room. On Linux, as root, with
version 1 of cgroups:

    mkdir /sys/fs/cgroup/memory/small
    echo 2147483648 > /sys/fs/cgroup/memory/small/memory.limit_in_bytes
    python -m benchmarks.large_tables --gigabytes 20 --cgroup /sys/fs/cgroup/memory/small
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro

from benchmarks.large_ratings import measured
from common.cli.parsing import plain_errors
from common.config import Count
from common.data import Array, ColumnFormat
from common.preprocessing import row_files, shards

NAMES = tuple(f"x{number}" for number in range(100))
BLOCK = 100_000
"""Number of rows that are generated at once."""


def main(
    app: Literal["linear_regression", "table_mlp"] = "linear_regression",
    gigabytes: Count = 5,
    cgroup: Path | None = None,
) -> None:
    """Write the shards, measure and print.

    Args:
        app: App that trains.
        gigabytes: Size of the table in memory.
        cgroup: Folder of a cgroup that the training joins; no page of the table is in memory when it begins.
    """
    random, row = np.random.default_rng(0), np.dtype([(name, "<f4") for name in NAMES])
    weights, targets = random.normal(size=len(NAMES)).astype("float32"), list[Array]()

    def records() -> Iterator[bytes]:
        for _ in range(gigabytes * 10**9 // (row.itemsize * BLOCK)):
            values = random.standard_normal((BLOCK, len(NAMES)), "float32")
            targets.append(values @ weights + random.standard_normal(BLOCK, "float32"))
            yield row_files.content(values.view(row)[:, 0])

    def index() -> tuple[dict[str, Array], dict[str, Any]]:
        formats = dict.fromkeys(NAMES, ColumnFormat("number", "."))
        facts = {"name": "numbers", "outputs": ("y",), "inputs": dict.fromkeys(NAMES, "<f4"), "formats": formats}
        return {"targets": np.concatenate(targets)[:, None]}, {**facts, "settings": {"target": "y"}}

    with tempfile.TemporaryDirectory() as name:
        written = shards.write(Path(name) / "shards", "table", records(), index)
        size = sum(written.shards.values())
        print(f"{BLOCK * len(targets):,} rows in {len(written.shards)} shards, {size / 1e9:.1f} GB", flush=True)
        if cgroup:
            for path in (Path(name) / "shards").iterdir():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        rates = ("--learning-rate", "0.01", "--batch-size", "1024", "--epochs", "1")
        optimizer = ("--optimizer", "adam") if app == "linear_regression" else ()
        command = ("-m", f"apps.{app}", "train", "--csv", f"{name}/shards", "--target", "y", *optimizer, *rates)
        measured("loaded, trained and tested", *command, store=name, cgroup=cgroup)


if __name__ == "__main__":
    with plain_errors({"": [main]}):
        tyro.cli(main, prog="python -m benchmarks.large_tables")
