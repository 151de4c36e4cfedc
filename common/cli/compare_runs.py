"""Say how two runs differ: in settings, data, code, versions and results."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from rich.console import Console

from common import legacy, tracking
from common.cli import terminal

if TYPE_CHECKING:
    import pandas as pd


MISSING = "-"
"""Stands in a table for a value that a run does not have."""
SHORT = 8
"""Characters of a run's id, a fingerprint or a commit that tell two of them apart."""


@dataclass(frozen=True)
class Recorded:
    """The content of a run that is compared."""

    run: tracking.Run

    @property
    def label(self) -> str:
        """First characters of the id."""
        return str(self.run.info.run_id[:SHORT])

    @cached_property
    def tags(self) -> Mapping[str, str]:
        """Tags with their current names."""
        return legacy.tags(self.run.data.tags)

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """Settings by name; of a run of release 0.1.0, their text."""
        return tracking.settings(self.run) or legacy.settings(self.run.data.params)

    @property
    def data(self) -> str:
        """Name and fingerprint of the data."""
        parts = self.run.inputs.dataset_inputs if self.run.inputs else []
        name = parts[0].dataset.name if parts else "unknown data"
        return f"{name} {tracking.digest(self.run)[:SHORT]}".strip()

    @property
    def code(self) -> str:
        """Commit, and whether files differed from it."""
        changed = " with changed files" if self.tags.get("git.dirty") == "true" else ""
        return f"{self.tags.get('git.commit', 'unknown commit')[:SHORT]}{changed}"

    @property
    def environment(self) -> Mapping[str, str]:
        """Versions of the packages, backend and device by name."""
        versions = {name: value for name, value in self.tags.items() if name.startswith("version.")}
        others = {name: self.tags[name] for name in ("backend", "device") if name in self.tags}
        return {name.removeprefix("version."): value for name, value in (versions | others).items()}

    @property
    def results(self) -> Mapping[str, float]:
        """Metrics of the whole run by name."""
        metrics = self.run.data.metrics
        return {name: value for name, value in sorted(metrics.items()) if f"best_{name}" not in metrics}


def compare(first: str, second: str) -> None:
    """Print in words and tables how two runs, given by their ids, differ.

    Raises:
        UserError: if there is no such run.
    """
    one, other = Recorded(tracking.get(first)), Recorded(tracking.get(second))
    console = Console()
    runs = {run.label: f"{run.run.info.run_name}, {run.run.info.status.lower()}" for run in (one, other)}
    console.print(terminal.key_values(runs), highlight=False)
    settings = differing(one, other, one.settings, other.settings)
    environment = differing(one, other, one.environment, other.environment)
    results = differing(one, other, one.results, other.results)
    rows = {
        "app": _words(one.tags.get("app", MISSING), other.tags.get("app", MISSING)),
        "settings": _names(settings),
        "data": _words(one.data, other.data),
        "code": _words(one.code, other.code),
        "versions": _names(environment),
        "results": "\n".join(outcome(one, other)) or _names(results),
    }
    same = not len(settings) and not len(environment) and one.data == other.data and one.code == other.code
    if same and len(results):
        others = "changed files, " if "changed" in one.code else ""
        rows["note"] = f"settings, data, commit and versions are the same; {others}load or threads make the difference"
    console.print(terminal.key_values(rows), highlight=False)
    for title, table in {"settings": settings, "versions": environment, "results": results}.items():
        if len(table):
            console.print(terminal.table(table, f"{title} that differ"))


def differing(one: Recorded, other: Recorded, first: Mapping[str, Any], second: Mapping[str, Any]) -> "pd.DataFrame":
    """Return a table of the values that differ, one row per name and one column per run."""
    import pandas as pd

    names = [name for name in dict.fromkeys([*first, *second]) if first.get(name) != second.get(name)]
    columns = [[_text(values[name]) if name in values else MISSING for name in names] for values in (first, second)]
    # Two columns may have the same label: that of a run that is compared with itself.
    return pd.DataFrame(dict(enumerate([names, *columns]))).set_axis(["name", one.label, other.label], axis=1)


def outcome(one: Recorded, other: Recorded) -> Iterator[str]:
    """Yield which run has the better metric on the validation set, and on the test set."""
    metric, mode = one.tags.get("metric"), one.tags.get("metric_mode")
    if not metric or metric != other.tags.get("metric"):
        yield "not comparable: their metrics differ"
        return
    if tracking.digest(one.run) != tracking.digest(other.run):
        yield "not comparable: their data differs"
        return
    for name, words in {f"best_val_{metric}": f"validation {metric}", f"test_{metric}": f"test {metric}"}.items():
        if name in one.results and name in other.results:
            first, second = one.results[name], other.results[name]
            better = one if (first > second) == (mode == "max") else other
            ending = "the same" if first == second else f"{better.label} is better by {abs(first - second):.4g}"
            yield f"{words} {first:.5g} and {second:.5g}: {ending}"


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.5g}"
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _words(first: str, second: str) -> str:
    return f"the same, {first}" if first == second else f"{first} and {second}"


def _names(table: "pd.DataFrame") -> str:
    names = list(table["name"])
    return f"{len(names)} differ: {', '.join(names)}" if names else "the same"
