"""Copy an app with its search, and write a test: `make app NAME=my_digits FROM=lenet5`."""

import keyword
import re
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional

from common.cli import terminal
from common.cli.parsing import run_program
from common.errors import UserError
from common.files import ROOT

WIDTH = 120
"""Longest line, in characters."""
TEST = '''"""Train {name} on a few examples, and load it again."""

import pytest

from apps.{name} import Settings, app
from common import training


@pytest.mark.usefixtures("store")
def test_{name}_is_trained_recorded_and_loaded_again() -> None:
    result = training.train(app, Settings(epochs=1, limit=200))
    label, again = training.evaluate(app, result.run_id)
    assert label == result.run_id
    measured = {{name: value for name, value in result.metrics.items() if name.startswith("test_")}}
    assert measured
    assert again.metrics == pytest.approx(measured, rel=1e-4, abs=1e-6)
'''


def main(name: Positional[str], source: Annotated[str, tyro.conf.arg(name="from")]) -> None:
    """Write apps/NAME.py, tuning/NAME.py and tests/test_NAME.py as copies of another app's.

    Args:
        name: The new app: lower-case letters, digits and _.
        source: The app to copy.
    """
    for path in write(ROOT, name, source):
        print(f"wrote {path.relative_to(ROOT)}")
    print(f"The settings, the data, the network and the results in the docstring are those of {source}.")
    python = terminal.this_python()
    print(f"next  {python} -m pytest tests/test_{name}.py")
    print(f"      {python} -m apps.{name} train --help")
    print(f"      {python} -m tuning.{name} --dry-run")


def write(root: Path, name: str, source: str) -> list[Path]:
    """Write the three files of the app `name` below `root`, all or none, and return their paths.

    Raises:
        UserError: if the name cannot be an app's or is taken, there is no app `source`, or a file cannot be written.
    """
    if not re.fullmatch("[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise UserError(f"{name}: cannot name a module; use lower-case letters, digits and _, such as my_digits")
    apps = sorted(path.stem for path in (root / "apps").glob("[a-z]*.py"))
    if source not in apps:
        raise UserError(f"`from` {source}: no such app; there are {', '.join(apps)}")
    texts = {root / kind / f"{name}.py": copy(root / kind / f"{source}.py", name) for kind in ("apps", "tuning")}
    texts[root / "tests" / f"test_{name}.py"] = TEST.format(name=name)
    written: list[Path] = []
    try:
        for path, text in texts.items():
            if path.with_suffix("").exists():
                raise FileExistsError(path)
            with path.open("x") as file:  # fails if the file exists
                written.append(path)
                file.write(text)
    except OSError as error:
        for done in written:
            done.unlink()
        if isinstance(error, FileExistsError):
            raise UserError(f"{name}: {path.relative_to(root)} is taken; choose another name") from error
        raise UserError(f"{path}: cannot be written ({error.strerror})") from error
    return list(texts)


def copy(file: Path, name: str) -> str:
    """Return the text of an app's or a search's file, with its modules renamed to `name`."""
    text = re.sub(rf"\b(apps|tuning)\.{file.stem}\b", rf"\1.{name}", file.read_text())
    # If a longer name makes a command with a comment too long, move the comment above the command.
    return re.sub(rf"^(?=.{{{WIDTH + 1}}})( +)(\S.*?) +(# .*)$", r"\1\3\n\1\2", text, flags=re.MULTILINE)


if __name__ == "__main__":
    run_program(main)
