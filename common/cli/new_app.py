"""`make app`: begins an app of one's own as a copy of another, with its search and a test that passes at once.

    python -m common.cli.new_app my_digits --from lenet5

Names are changed token by token, so that neither a longer name that begins alike nor prose about a paper's network is
touched: the settings' class, and `apps.NAME` and `tuning.NAME` in imports and in the commands that docstrings show.
"""

import ast
import io
import keyword
import re
import subprocess
import sys
import tempfile
import tokenize
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional

from common.cli import terminal
from common.cli.parsing import plain_errors
from common.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
WIDTH = 120
"""Characters a line."""

TEST = '''
"""{name}, beside what tests/test_apps.py holds of every app."""

import pytest

from apps.{name} import {config}, app
from common import training


@pytest.mark.usefixtures("store")
def test_{name}_is_trained_recorded_and_loaded_again() -> None:
    result = training.train(app, {config}(epochs=1, limit=200))
    label, again = training.evaluate(app, result.run_id)
    assert label == result.run_id
    measured = {{name: value for name, value in result.metrics.items() if name.startswith("test_")}}
    assert measured
    assert again.metrics == pytest.approx(measured, rel=1e-4, abs=1e-6)
'''


def main(name: Positional[str], source: Annotated[str, tyro.conf.arg(name="from")]) -> None:
    """Write apps/NAME.py, tuning/NAME.py and tests/test_NAME.py after those of another app.

    Args:
        name: The new app: lower-case letters, digits and _.
        source: The app that is copied.
    """
    for path in begin(ROOT, name, source):
        print(f"wrote {path.relative_to(ROOT)}")
    print(f"The settings, the data, the network and the figures in the docstring are still those of {source}.")
    python = terminal.this_python()
    print(f"next  {python} -m pytest tests/test_{name}.py")
    print(f"      {python} -m apps.{name} train --help")
    print(f"      {python} -m tuning.{name} --dry-run")


def begin(root: Path, name: str, source: str) -> list[Path]:
    """Write the three files of the app `name` below `root`, all or none, and give their paths.

    Raises:
        UserError: where the name cannot be an app's or is taken, there is no app `source`, or nothing can be written.
    """
    config = "".join(part.capitalize() for part in name.split("_"))
    if not re.fullmatch("[a-z][a-z0-9_]*", name) or keyword.iskeyword(name) or keyword.iskeyword(config):
        raise UserError(f"{name}: cannot name a module; take lower-case letters, digits and _, such as my_digits")
    apps = sorted(path.stem for path in (root / "apps").glob("[a-z]*.py"))
    if source not in apps:
        raise UserError(f"--from {source}: no such app; there are {', '.join(apps)}")
    targets = {kind: root / kind / f"{name}.py" for kind in ("apps", "tuning")}
    targets["tests"] = root / "tests" / f"test_{name}.py"
    for path in targets.values():
        if path.exists() or path.with_suffix("").exists():
            raise UserError(f"{name}: {path.relative_to(root)} is taken; choose another name")
    copied = {kind: (root / kind / f"{source}.py").read_text() for kind in ("apps", "tuning")}
    old = settings_class(copied["apps"])
    if config != old and any(config in _names(text) for text in copied.values()):
        raise UserError(f"{name}: {source} has a {config} already, which its settings would be; choose another name")
    changed = {kind: rename(text, {old: config}, {source: name}) for kind, text in copied.items()}
    changed["tests"] = TEST.lstrip().format(name=name, config=config)
    _write({path: tidy(changed[kind], path, root) for kind, path in targets.items()})
    return list(targets.values())


def settings_class(app: str) -> str:
    """The class of the settings in the source of an app: what `app = App(…)` is given first."""
    for node in ast.parse(app).body:
        match node:
            case ast.Assign(targets=[ast.Name("app")], value=ast.Call(args=[ast.Name(name), *_])):
                return name
    raise UserError("--from: this app has no `app = App(Settings, …)` to copy; choose another")


def _names(source: str) -> set[str]:
    return {token.string for token in _tokens(source) if token.type == tokenize.NAME}


def _tokens(source: str) -> list[tokenize.TokenInfo]:
    return list(tokenize.generate_tokens(io.StringIO(source).readline))


def rename(source: str, names: Mapping[str, str], modules: Mapping[str, str]) -> str:
    """Python `source` with identifiers changed by `names`, and by `modules` what follows `apps.` and `tuning.`.

    In strings and comments the modules alone are changed. A line of them that becomes too long has its comment above.
    """
    lines = source.splitlines(keepends=True)
    tokens = _tokens(source)
    dotted = re.compile(rf"\b(apps|tuning)\.({'|'.join(map(re.escape, modules))})\b")
    changes: list[tuple[tokenize.TokenInfo, str]] = []
    for index, token in enumerate(tokens):
        text = token.string
        if token.type == tokenize.NAME:
            module = [one.string for one in tokens[max(0, index - 2) : index]] in (["apps", "."], ["tuning", "."])
            text = modules.get(text, text) if module else names.get(text, text)
        elif token.type != tokenize.OP and (found := dotted.sub(lambda m: f"{m[1]}.{modules[m[2]]}", text)) != text:
            text = "\n".join(map(_shorten, found.split("\n")))
        if text != token.string:
            changes.append((token, text))
    for token, text in reversed(changes):
        (first, begin), (last, end) = token.start, token.end
        lines[first - 1 : last] = [lines[first - 1][:begin] + text + lines[last - 1][end:]]
    return "".join(lines)


def _shorten(line: str) -> str:
    """A command and its comment: nearer, or the comment above, where they are too long for one line."""
    command, mark, comment = line.partition(" # ")
    if len(line) <= WIDTH or not mark:
        return line
    command = command.rstrip()
    nearer = f"{command}  # {comment}"
    indent = command[: len(command) - len(command.lstrip())]
    return nearer if len(nearer) <= WIDTH else f"{indent}# {comment}\n{command}"


def tidy(source: str, path: Path, root: Path) -> str:
    """Python `source` as ruff formats what is at `path`, and lets it pass.

    Raises:
        UserError: where ruff is not installed, or finds what it cannot mend.
    """

    def ruff(*command: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--quiet", "--stdin-filename", str(path), "-"],
            input=source,
            cwd=root,
            capture_output=True,
            text=True,
        )
        if "No module named ruff" in done.stderr:
            raise UserError("ruff, which formats the new app, is not installed; first: make .venv/installed-dev")
        if done.returncode:
            what = (done.stdout + done.stderr).strip().splitlines()[0]
            raise UserError(f"the copy would not pass `make lint` ({what}); choose another name")
        return done.stdout

    source = ruff("format")
    ruff(
        "check", "--output-format", "concise", "--ignore", "I001"
    )  # a module that is not there yet is sorted elsewhere
    return source


def _write(files: Mapping[Path, str]) -> None:
    """Write every file, or none; a file that came to be meanwhile is left as it is."""
    written: list[Path] = []
    try:
        for path, text in files.items():
            with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".", suffix=".partial") as temporary:
                temporary.write(text)
                temporary.flush()
                path.hardlink_to(temporary.name)  # unlike a rename, fails where there is one
            written.append(path)
            path.chmod(0o644)
    except BaseException as error:
        for done in written:
            done.unlink()
        if isinstance(error, OSError):
            raise UserError(f"{path}: cannot be written ({error.strerror})") from error
        raise


if __name__ == "__main__":
    with plain_errors():
        tyro.cli(main, prog="python -m common.cli.new_app")
