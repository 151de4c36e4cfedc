"""How tests run `tests.tuning.tiny_search`, and what they read in its store."""

import contextlib
import io
import sys
from dataclasses import dataclass
from pathlib import Path

import mlflow
import pytest

from common import tracking
from common.cli import parsing
from tests.conftest import new_store
from tests.processes import Process
from tests.tuning import tiny_search

Runs = dict[str, mlflow.entities.Run]


@dataclass(frozen=True)
class Store:
    """A store of its own for the searches of a test."""

    folder: Path

    def __post_init__(self) -> None:
        new_store(self.folder)

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.folder}/mlflow.db"

    def search(self, *arguments: str, answer: str = "", **environment: str) -> tuple[int, str, str]:
        """Run the command to its end, in this process; gives status, output and errors."""
        output, errors, status = io.StringIO(), io.StringIO(), 0
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["tiny_search", *arguments])
            patch.setattr(sys, "stdin", io.StringIO(answer))
            patch.setattr(parsing, "main_module", lambda: "tests.tuning.tiny_search")
            for name, value in {"MLFLOW_TRACKING_URI": self.uri, "COLUMNS": "200", **environment}.items():
                patch.setenv(name, value)
            with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
                try:
                    tiny_search.main()
                except SystemExit as ended:
                    status = int(ended.code or 0)
        return status, output.getvalue(), errors.getvalue()

    def begin(self, *arguments: str, **environment: str) -> Process:
        """Begin the command as a process of its own."""
        variables = {"MLFLOW_TRACKING_URI": self.uri} | environment
        return Process("tests.tuning.tiny_search", *arguments, first=None, **variables)

    def runs(self, kind: str) -> list[mlflow.entities.Run]:
        """The runs of a kind, the oldest first."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MLFLOW_TRACKING_URI", self.uri)
            return tracking.find({"kind": kind})[::-1]

    def trials(self) -> Runs:
        """The trials by their numbers."""
        return {run.data.tags["trial"]: run for run in self.runs("trial")}

    def curve(self, run: mlflow.entities.Run, metric: str) -> list[float]:
        """What a run recorded of a metric; fails where an epoch is recorded twice, or left out."""
        points = mlflow.MlflowClient(self.uri).get_metric_history(run.info.run_id, metric)
        steps = sorted(point.step for point in points)
        assert steps == list(range(1, len(points) + 1))
        return [point.value for point in sorted(points, key=lambda point: point.step)]


def settings(runs: Runs) -> dict[str, tuple[object, ...]]:
    """What each trial tried, and its score."""
    names = ("hidden", "learning_rate")
    return {
        number: (*(run.data.params[name] for name in names), run.data.metrics.get("best_val_accuracy"))
        for number, run in runs.items()
    }
