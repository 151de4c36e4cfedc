"""How everything here is measured: contestants in turn, several rounds, medians of processor and wall seconds."""

import statistics
import time
from collections.abc import Callable, Mapping

from rich.console import Console
from rich.table import Table

from common.training.checkpoint import cpu_seconds


def compare(title: str, contestants: Mapping[str, Callable[[], None]], rounds: int) -> None:
    """Run every contestant once a round, in turn, and print medians and their ratio to the first contestant's."""
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, contestant in contestants.items():
            cpu, wall = cpu_seconds(), time.perf_counter()
            contestant()
            spent[name].append((cpu_seconds() - cpu, time.perf_counter() - wall))
    medians = {
        name: [statistics.median(seconds) for seconds in zip(*runs, strict=True)] for name, runs in spent.items()
    }
    reference = next(iter(medians.values()))
    table = Table("", "CPU s", "wall s", "CPU ratio", "wall ratio", title=f"{title}, medians of {rounds}")
    for name, seconds in medians.items():
        ratios = [value / first for value, first in zip(seconds, reference, strict=True)]
        table.add_row(name, *(f"{value:.2f}" for value in seconds), *(f"{ratio:.2f}" for ratio in ratios))
    Console().print(table)
