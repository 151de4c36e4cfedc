"""The command line of a search."""

import os
import shlex
import sys
from dataclasses import dataclass
from typing import Annotated

import tyro
from tyro.conf import OmitArgPrefixes

from common import lazy, legacy
from common.app import App
from common.cli import like
from common.cli.parsing import plain_errors
from common.config import as_flags
from tuning.search import workers
from tuning.search.options import ExecutionOptions, SearchOptions, Space

# Each process allocates only the GPU memory that it needs: a search and its workers share the GPUs.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")


@dataclass(frozen=True)
class Command:
    """All options of the command."""

    search: SearchOptions
    execution: ExecutionOptions
    like: Annotated[str | None, tyro.conf.arg(metavar="RUN|FILE")] = None
    """Take the settings that the search does not vary from a run, or from a JSON file such as its settings.json."""


def main(app: App, space: Space, description: str | None = None) -> None:
    """Run the command line of a tuning file and exit.

    The exit status is 0 if a trial succeeded, 1 if every trial failed, 2 after a user's error.

    Args:
        app: The app to tune.
        space: The search space.
        description: The text of `--help`.
    """
    name = f"python -m tuning.{app.name}"
    text = f"{description or ''}\n\nAny flag of python -m apps.{app.name} train fixes that setting in all trials."
    with plain_errors({"": [Command, app.settings]}):
        command, flags = tyro.cli(
            Command, prog=name, description=text, return_unknown_args=True, config=(OmitArgPrefixes,)
        )
        sys.exit(0 if _run(app, space, command, flags, name) else 1)


def _run(app: App, space: Space, command: Command, flags: list[str], name: str) -> bool:
    flags = legacy.flags(flags)
    if command.like:
        from tuning.search import space as spaces

        found = vars(like.settings(app, command.like))
        searched = spaces.searched(space)
        fixed = as_flags({name: found[name] for name in found if name not in searched})
        flags = [*shlex.split(fixed), *flags]
    options, execution = command.search, command.execution
    settings = tyro.cli(app.settings, prog=name, args=flags)
    if execution.dry_run:
        with lazy.keras_on_numpy():
            from tuning.search import dry_run
            from tuning.search.space import ConfigBuilder
        dry_run.show(app, ConfigBuilder(space, flags, name), options)
        return True
    lazy.use_backend(settings.backend)
    if not execution.cluster:
        workers.start_fork_server()
    with lazy.quiet_native_log():
        from tuning.search import chief
        from tuning.search.space import ConfigBuilder
    return chief.run(app, ConfigBuilder(space, flags, name), options, execution)
