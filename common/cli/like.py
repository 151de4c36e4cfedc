"""Repeat a training with the settings of a run or a file: `train --like RUN|FILE`."""

import itertools
import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from common.app import App
from common.cli.parsing import last_value
from common.config import Config
from common.errors import Problems, UserError, did_you_mean, first_line

FLAG = "--like"
SUFFIX = ".json"


def find(app: App, arguments: Sequence[str]) -> Config | None:
    """Return the settings that --like names in the arguments of `train`; None without the flag.

    Raises:
        UserError: as `settings`.
    """
    which = last_value(FLAG, arguments)
    return settings(app, which) if arguments[:1] == ["train"] and which is not None else None


def settings(app: App, which: str) -> Config:
    """Return the settings of a run, given by its id, or of a JSON file such as `settings.json` among its artifacts.

    Settings that the file does not have keep their defaults.

    Raises:
        UserError: if there is no such run or file, or it has settings that the app does not have.
    """
    if not is_file(which):
        from common import recorded, tracking

        run = tracking.get(which)
        if (origin := run.data.tags.get("app")) != app.name:
            raise UserError(f"`like` {which}: a run of {origin}, not of {app.name}; choose one of {app.name}")
        return recorded.settings_of(run, app.settings)
    return _checked(app, Path(which), _read(Path(which)))


def is_file(which: str) -> bool:
    """Return whether `which` names a file, and not a run."""
    return which.endswith(SUFFIX) or Path(which).exists()


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_bytes())
    except OSError as error:
        raise UserError(f"`like` {file}: cannot be read ({error.strerror}); give a run's id or a JSON file") from error
    except ValueError as error:
        raise UserError(f"`like` {file}: not JSON ({first_line(error)}); give one object of settings") from error
    if not isinstance(content, dict):
        raise UserError(f"`like` {file}: must be one object of settings, not a {type(content).__name__}")
    return content


def _checked(app: App, file: Path, values: dict[str, Any]) -> Config:
    """Return the values of a file as settings of the app."""
    import pydantic

    names, place, problems = [field.name for field in fields(app.settings)], f"`like` {file}", Problems()
    for name in values:
        if name not in names:
            problems.add(f"{place}: {app.name} has no setting {name}{did_you_mean(name, names)}")
    known = {name: value for name, value in values.items() if name in names}
    found = app.settings()
    try:
        with problems.collect():
            found = pydantic.TypeAdapter(app.settings).validate_python(known)
    except pydantic.ValidationError as error:
        for setting, (wrong, *_) in itertools.groupby(error.errors(), lambda one: one["loc"][0]):
            problems.add(f"{place}: {setting} is {wrong['input']!r}; {wrong['msg'].lower()}")
    problems.check()
    return found
