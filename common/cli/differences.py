"""Show how two trainings differ: in settings, data, code, versions and results."""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
from rich.console import Console

from common import legacy, recorded, tracking
from common.cli import like, terminal
from common.errors import UserError

CODE = ("app", "git.")
VERSIONS = ("version.", "backend", "device")
RESULTS = ("best_", "test_", "train_")
"""Beginnings of the names of tags and metrics."""


def show(first: str, second: str) -> None:
    """Print a table of all that differs between two runs, given by their ids, and a summary in words.

    One of them can be a JSON file of settings, which are compared with those of the other.

    Raises:
        UserError: if there is no such run or file, or it is the same one.
    """
    if first == second:
        raise UserError(f"{first}: the same run twice; name two")
    files = [which for which in (first, second) if like.is_file(which)]
    if len(files) == 2:
        raise UserError(f"{first}, {second}: both are files; compare a file with a run")
    if files:
        _show_file(second if files == [first] else first, files[0])
        return
    runs = [tracking.get(which) for which in (first, second)]
    rows = [row for part in parts(runs[0], runs[1]) for row in part]
    for line in summary(runs[0], runs[1], rows):
        print(line)
    if rows:
        table = pd.DataFrame(rows, columns=["of", "name", *map(tracking.name_of, runs)])
        Console().print(terminal.table(table, f"{first[:8]} and {second[:8]}"))


def _show_file(run_id: str, file: str) -> None:
    """Print the settings that differ between a run and a JSON file of settings."""
    run = tracking.get(run_id)
    app = recorded.app(run_id)
    settings = vars(recorded.settings_of(run, app.settings)), vars(like.settings(app, file))
    rows = [(name, _text(one), _text(other)) for name, (one, other) in _differing(*settings)]
    print(f"{file} has {'other' if rows else 'the same'} settings {'than' if rows else 'as'} {tracking.name_of(run)}.")
    if rows:
        table = pd.DataFrame(rows, columns=["setting", tracking.name_of(run), file])
        Console().print(terminal.table(table, f"{run_id[:8]} and {file}"))


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[tuple[str, tuple[Any, Any]]]:
    """Return the names and both values of the entries that differ."""
    return [(name, (one.get(name), other.get(name))) for name in {**one, **other} if one.get(name) != other.get(name)]


def parts(first: tracking.Run, second: tracking.Run) -> Iterator[list[tuple[str, str, str, str]]]:
    """Yield for each kind of facts those that differ: the kind, the name, and both values as text."""

    def differing(kind: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
        return [(kind, name, _text(before), _text(after)) for name, (before, after) in _differing(one, other)]

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
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value if value is not None else "")
