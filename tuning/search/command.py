"""The command line of a search."""

import os
import sys
from dataclasses import dataclass

import tyro
from tyro.conf import OmitArgPrefixes

from common import lazy, legacy
from common.app import App
from common.cli import like
from common.cli.parsing import options as options_of
from common.cli.parsing import plain_errors
from common.errors import UserError
from tuning.search.options import ExecutionOptions, SearchOptions, Space, with_objective

# Each process allocates only the GPU memory that it needs: the chief and its workers share the GPUs.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")


@dataclass(frozen=True)
class Command:
    """All options of the command."""

    search: SearchOptions
    execution: ExecutionOptions


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
        sys.exit(0 if _run(app, space, name, text) else 1)


def _run(app: App, space: Space, name: str, text: str) -> bool:
    arguments, fixed = like.expand(app, sys.argv[1:])
    if own := fixed.keys() & {option.removeprefix("--").replace("-", "_") for option in options_of(Command)}:
        raise UserError(f"--like: the search has an option `{min(own)}` of its own; leave it out of the file")
    command, flags = tyro.cli(
        Command, prog=name, description=text, args=arguments, return_unknown_args=True, config=(OmitArgPrefixes,)
    )
    flags = legacy.flags(flags)
    lazy.use_backend(tyro.cli(app.settings, prog=name, args=flags).backend)
    with lazy.quiet_native_log():
        from tuning.search import chief, worker
        from tuning.search.space import ConfigBuilder
        from tuning.search.workers import WorkerSpec
    options, execution = command.search, command.execution
    configs = ConfigBuilder(space, flags, name)
    if fixed and fixed.keys() >= set(configs.searched()):
        searched = ", ".join(configs.searched())
        raise UserError(f"--like: the file fixes every setting that is searched; leave out some of {searched}")
    if spec := WorkerSpec.from_environment():
        worker.run(with_objective(app, options.objective), configs, options, spec)
    elif execution.dry_run:
        chief.dry_run(app, configs, options)
    elif execution.join:
        chief.join(app, configs, options, execution, arguments)
    else:
        return chief.run(app, configs, options, execution, arguments)
    return True
