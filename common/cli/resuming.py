"""Resume an interrupted training: `train --resume [RUN]`."""

import contextlib
import dataclasses
import sys
from collections.abc import Iterator, Sequence

from common.app import App
from common.cli.parsing import last_value
from common.cli.terminal import this_python
from common.config import Config
from common.errors import UserError
from common.interruption import InterruptionError

FLAG = "--resume"
NEWEST = "newest"
"""Value of the flag for the newest interrupted training of the app."""
CHANGEABLE = ("epochs",)
"""Settings that a resumed training may change."""


def complete(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of a command line with the value of a flag --resume that has none."""
    completed = list[str]()
    for argument in arguments:
        if completed[-1:] == [FLAG] and argument.startswith("-"):
            completed.append(NEWEST)
        completed.append(argument)
    return [*completed, NEWEST] if completed[-1:] == [FLAG] else completed


def find(app: App, arguments: Sequence[str]) -> tuple[str | None, Config | None]:
    """Return the id and the settings of the run that --resume names in the arguments; None without the flag.

    Raises:
        UserError: if there is no such run.
    """
    which = last_value(FLAG, arguments)
    if arguments[:1] != ["train"] or which is None:
        return None, None
    from common import recorded, tracking

    run = tracking.interrupted(app.name, None if which == NEWEST else which)
    return run.info.run_id, recorded.settings_of(run, app.settings)


def check(run_id: str, settings: Config, recorded: Config) -> None:
    """Check that the settings of the command line are those of the run.

    Raises:
        UserError: if one differs that cannot be changed.
    """
    for field in dataclasses.fields(settings):
        given, known = getattr(settings, field.name), getattr(recorded, field.name)
        if given != known and field.name not in CHANGEABLE:
            raise UserError(f"`{field.name}` {given}: the run {run_id} began with {known}; leave it out")


@contextlib.contextmanager
def command_after_interruption(app: App) -> Iterator[None]:
    """Print the command that goes on with the training in this block, if it is interrupted."""
    try:
        yield
    except InterruptionError as error:
        if error.run_id:
            words = f"{this_python()} {command(app, error.run_id)}"
            print(f"run {error.run_id} is interrupted; to go on: {words}", file=sys.stderr)
        raise


def command(app: App, run_id: str) -> str:
    """Return the words that resume a run after the name of Python."""
    return f"-m apps.{app.name} train {FLAG} {run_id}"
