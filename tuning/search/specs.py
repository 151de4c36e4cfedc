"""Values that go from the command of a search to its workers, and back."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.config import Config
from tuning.search.options import SearchOptions


@dataclass(frozen=True)
class SearchSpec:
    """A search, for a worker."""

    module: str
    """The tuning file, which has the app."""
    options: SearchOptions
    default: Config
    """Settings that load the data as the search does."""
    run: str
    """The id of the search's run."""
    folder: Path
    """The folder of logs and of the states of the search."""


@dataclass(frozen=True)
class TrialSpec:
    """A trial, for a worker."""

    number: str
    config: Config
    values: Mapping[str, Any]
    """The values of KerasTuner's hyperparameters, including its own."""
    error: str | None = None
    """The error to record if the trial has ended its worker too often."""


@dataclass(frozen=True)
class Outcome:
    """The result of a trial: its objective, or an error."""

    score: float | None = None
    error: str | None = None
    grown: bool = False
    """Whether the worker's memory has grown so much that a new process must replace it."""
