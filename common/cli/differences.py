"""Show how two trainings differ: in settings, data, code, versions and results."""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
from rich.console import Console

from common import legacy, tracking
from common.cli import terminal
from common.errors import UserError

CODE = ("app", "git.")
VERSIONS = ("version.", "backend", "device")
RESULTS = ("best_", "test_", "train_")
"""Beginnings of the names of tags and metrics."""


def show(first: str, second: str) -> None:
    """Print a table of all that differs between two runs, given by their ids, and a summary in words.

    Raises:
        UserError: if there is no such run, or it is the same one.
    """
    if first == second:
        raise UserError(f"{first}: the same run twice; name two")
    runs = [tracking.get(which) for which in (first, second)]
    rows = [row for part in parts(runs[0], runs[1]) for row in part]
    for line in summary(runs[0], runs[1], rows):
        print(line)
    if rows:
        table = pd.DataFrame(rows, columns=["of", "name", *map(tracking.name_of, runs)])
        Console().print(terminal.table(table, f"{first[:8]} and {second[:8]}"))


def parts(first: tracking.Run, second: tracking.Run) -> Iterator[list[tuple[str, str, str, str]]]:
    """Yield for each kind of facts those that differ: the kind, the name, and both values as text."""

    def differing(kind: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
        names = [name for name in {**one, **other} if one.get(name) != other.get(name)]
        return [(kind, name, _text(one.get(name)), _text(other.get(name))) for name in names]

    def beginning(values: Mapping[str, Any], *words: str) -> dict[str, Any]:
        return {name: value for name, value in values.items() if name.startswith(words)}

    tags = [legacy.tags(run.data.tags) for run in (first, second)]
    yield differing("settings", *(tracking.settings(run) or run.data.params for run in (first, second)))
    yield differing("data", *({"fingerprint": tracking.digest(run)[:12]} for run in (first, second)))
    yield differing("code", *(beginning(tag, *CODE) for tag in tags))
    yield differing("versions", *(beginning(tag, *VERSIONS) for tag in tags))
    yield differing("results", *(beginning(run.data.metrics, *RESULTS) for run in (first, second)))


def summary(first: tracking.Run, second: tracking.Run, rows: list[tuple[str, str, str, str]]) -> Iterator[str]:
    """Yield sentences: which run is better, and what else differs."""
    metric, mode = (legacy.tags(first.data.tags).get(name, "") for name in ("metric", "metric_mode"))
    name = f"best_val_{metric}"
    values = [run.data.metrics.get(name) for run in (first, second)]
    kinds = dict.fromkeys(kind for kind, *_ in rows if kind != "results")
    if values[0] is not None and values[1] is not None and "data" not in kinds:
        better = (values[1] > values[0]) == (mode == "max")
        word = "the same" if values[0] == values[1] else "a better" if better else "a worse"
        yield f"The second run has {word} {metric} on the validation set: {values[1]:.5g}, the first {values[0]:.5g}."
    if "data" in kinds:
        yield "They were trained on different data, so that their results are not comparable."
    if kinds:
        yield f"They differ in {' and '.join(kinds)}."
    if same := [kind for kind in ("settings", "data", "code", "versions") if kind not in kinds]:
        yield f"They have the same {' and '.join(same)}."


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.5g}"
    return " ".join(map(str, value)) if isinstance(value, list) else str(value if value is not None else "")
