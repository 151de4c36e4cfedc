"""Measure contestants alternately over several rounds; report medians of processor and wall seconds."""

import statistics
from collections.abc import Callable, Mapping

from rich.console import Console
from rich.table import Table

from common.training.checkpoint import Stopwatch


def compare(title: str, contestants: Mapping[str, Callable[[], None]], rounds: int) -> None:
    """Run every contestant once per round and print the medians and their ratios to the first contestant's."""
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, contestant in contestants.items():
            stopwatch = Stopwatch()
            contestant()
            wall, cpu = stopwatch.seconds()
            spent[name].append((cpu, wall))
    medians = {
        name: [statistics.median(seconds) for seconds in zip(*runs, strict=True)] for name, runs in spent.items()
    }
    reference = next(iter(medians.values()))
    table = Table("", "CPU s", "wall s", "CPU ratio", "wall ratio", title=f"{title}, medians of {rounds}")
    for name, seconds in medians.items():
        ratios = [value / first for value, first in zip(seconds, reference, strict=True)]
        table.add_row(name, *(f"{value:.2f}" for value in seconds), *(f"{ratio:.2f}" for ratio in ratios))
    Console().print(table)
