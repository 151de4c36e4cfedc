"""The results of a finished run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras
    import pandas as pd

    from common.config import Config
    from common.data import Version
    from common.tasks import Task


@dataclass(frozen=True)
class Result:
    """The results of a finished run."""

    data: str
    """Name of the data set."""
    task: Task
    metrics: dict[str, float]
    test_examples: int
    run_id: str | None = None
    version: Version | None = None
    """The registered model, if there is one."""
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    findings: Sequence[str] = ()
    """The diagnosis of the training, one line per finding."""
    baselines: Mapping[str, float] = field(default_factory=dict)
    """Test value of the task's metric of each baseline on the same split, by name."""
    model: keras.Model | None = None
    """The trained network."""


@dataclass(frozen=True)
class SearchResult:
    """The results of a finished search."""

    run_id: str
    """Id of the run of the search."""
    final_run_id: str
    """Id of the training with the best settings."""
    settings: Config
    """The best settings."""
    metrics: dict[str, float]
    """Metrics of the training with them."""
    trials: pd.DataFrame
    """The trials, the best first: number, metric, and the settings that vary."""
    model: keras.Model
    """The network that was trained with the best settings."""


def prefixed(prefix: str, metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics with a prefix of their names."""
    return {f"{prefix}_{name}": value for name, value in metrics.items()}
