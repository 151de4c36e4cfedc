"""The command line of a search."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tyro
from tyro.conf import OmitArgPrefixes

from common.app import App
from common.cli.parsing import plain_errors
from common.config import Config
from tuning.search.options import Search, Work, judged_by

# Whoever trains takes of a GPU what it needs and no more: the chief stands beside its workers.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")


Space = Callable[[Any], Config]
"""What a tuning file defines: KerasTuner's hyperparameters to settings of the app."""


@dataclass(frozen=True)
class Command:
    """What is searched, and how."""

    search: Search
    work: Work


def main(app: App, space: Space, description: str | None = None) -> None:
    """Run the command line: `python -m tuning.NAME --trials 20`, with any flag of the app beside, which all trials get.

    Ends with status 1 where every trial has failed.
    """
    name = f"python -m tuning.{app.name}"
    told = f"{description or ''}\n\nAny flag of python -m apps.{app.name} train holds that setting fast in all trials."
    with plain_errors():
        command, flags = tyro.cli(
            Command, prog=name, description=told, return_unknown_args=True, config=(OmitArgPrefixes,)
        )
        sys.exit(0 if _run(app, space, command, flags, name) else 1)


def _run(app: App, of_trial: Space, command: Command, flags: list[str], name: str) -> bool:
    from common import lazy

    with lazy.quiet_native_log():
        from tuning.search import chief, crew, space, worker
    settings = space.Settings(of_trial, flags, name)
    assignment = crew.Assignment.given()
    if assignment:
        worker.work(judged_by(app, command.search.objective), settings, command.search, assignment)
    elif command.work.dry_run:
        chief.dry_run(app, settings, command.search)
    elif command.work.join:
        chief.join(app, settings, command.search, command.work, sys.argv[1:])
    else:
        return chief.run(app, settings, command.search, command.work, sys.argv[1:])
    return True
