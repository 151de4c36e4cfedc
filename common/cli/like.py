"""Take settings from a run or a file: `train --like RUN|FILE`, and `--like FILE` of a search."""

import dataclasses
import itertools
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import errors
from common.app import App
from common.cli.parsing import value_of
from common.config import Config, as_flags
from common.errors import Problems, UserError, did_you_mean

FLAG = "--like"


@dataclass(frozen=True)
class Source:
    """Settings that a training takes from a run or a file, for flags that are not given."""

    name: str
    settings: Config

    def note(self, settings: Config) -> str:
        """Return a line that says where the `settings` of a training come from."""
        given = {
            field.name: value
            for field in dataclasses.fields(settings)
            if (value := getattr(settings, field.name)) != getattr(self.settings, field.name)
        }
        return f"settings of {self.name}{f', with {as_flags(given)}' if given else ''}"


def find(app: App, arguments: Sequence[str]) -> Source | None:
    """Return the settings that --like names in the arguments of `train`; None without the flag.

    Raises:
        UserError: if there is no such run or file, or its settings do not fit the app.
    """
    value = value_of(FLAG, arguments) if arguments[:1] == ["train"] else None
    if value is None:
        return None
    file = Path(value)
    if file.suffix or len(file.parts) > 1 or file.exists():
        given = read(file, app)
        return Source(value, app.settings.from_dict(given))
    from common import recorded, tracking

    run = tracking.get(value)
    kind, owner = run.data.tags.get("kind"), run.data.tags.get("app")
    if kind not in recorded.TRAININGS or owner != app.name:
        raise UserError(f"run {value}: a {kind} of {owner}, not a training of {app.name}; choose one of its runs")
    return Source(f"run {value}", recorded.settings_of(run, app.settings))


def read(file: Path, app: App) -> dict[str, Any]:
    """Read settings of the app from a JSON file, such as `settings.json` of a run. Settings may be left out.

    Returns:
        The settings that the file has, by name.

    Raises:
        UserError: if the file is missing or not JSON, or a setting is unknown or has a wrong value.
    """
    import pydantic

    with errors.reading(file):
        text = file.read_text(encoding="utf-8")
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{file}: not JSON, line {error.lineno}, column {error.colno} ({error.msg})") from error
    if not isinstance(found, dict):
        raise UserError(f'{file}: must be an object, such as {{"epochs": 5}}')
    known = [field.name for field in dataclasses.fields(app.settings)]
    problems = Problems()
    for name in found:
        if name not in known:
            problems.add(f"{file}: {app.name} has no setting {name}{did_you_mean(name, known)}")
    problems.check()
    try:
        settings = pydantic.TypeAdapter(app.settings).validate_json(text, strict=True)
    except pydantic.ValidationError as error:
        # A value of a union type, such as a number or nothing, has a problem for each type.
        for name, (first, *_) in itertools.groupby(error.errors(), lambda problem: problem["loc"][0]):
            message = first["msg"].removeprefix("Input ")
            problems.add(f"{file}: {name} {message}, not {json.dumps(first['input'])}")
        problems.check()
        raise
    except UserError as error:
        for line in str(error).splitlines():
            problems.add(f"{file}: {line}")
        problems.check()
    return {name: getattr(settings, name) for name in found}


def expand(app: App, arguments: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Put the settings of the file that --like names in the arguments before them, as flags.

    Later flags are stronger. The processes of a search receive the flags, so that all have the same settings, also if
    the file changes.

    Returns:
        The arguments without --like, and the settings of the file by name.

    Raises:
        UserError: as `read`.
    """
    value = value_of(FLAG, arguments)
    if value is None:
        return list(arguments), {}
    given = read(Path(value), app)
    pairs = zip(["", *arguments], arguments, strict=False)
    rest = [word for before, word in pairs if FLAG not in (before, word) and not word.startswith(f"{FLAG}=")]
    return [*shlex.split(as_flags(given)), *rest], given
