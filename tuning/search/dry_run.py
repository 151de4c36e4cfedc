"""`--dry-run`: print the space, its size and the first proposals. Imports neither MLflow nor a backend of Keras."""

import tempfile
from pathlib import Path

from rich.console import Console

from common.app import App
from common.cli import terminal
from common.config import as_flags, changed
from tuning.search import oracle, space
from tuning.search.options import SearchOptions
from tuning.search.space import ConfigBuilder

SHOWN = 5
"""Number of proposals."""


def show(app: App, configs: ConfigBuilder, options: SearchOptions) -> None:
    """Print the space, its size, and the first proposals; arguments as for `chief.run`."""
    with tempfile.TemporaryDirectory() as folder:
        proposer = oracle.create(options, configs, app.task, Path(folder) / "oracle")
        proposer.max_trials = SHOWN
        size = space.size(proposer.hyperparameters)
        Console().print(terminal.table(space.describe(proposer.hyperparameters), f"space of {app.name}"))
        print(f"size: {'infinite' if size == float('inf') else f'{size:,.0f} settings'}")
        for number in range(SHOWN):
            trial = proposer.create_trial(f"{number}")
            if trial.status != "RUNNING":
                break
            print(f"{trial.trial_id}: {as_flags(changed(configs(trial.hyperparameters)))}")
