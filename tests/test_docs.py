"""Every command of README.md and of docs/ works as it is written, and so does the notebook.

A page's commands run in order in a copy of the tree, with the copy's own store. What is quick by what it says itself
runs whole: a training that has a --limit, takes files that the page has made or is of an app that the page has begun,
and then whatever asks that model. All else that trains is parsed, so that its flags and their values exist, searches
by --dry-run; `pytest -m slow` runs it whole. A command that no rule covers fails.
"""

import itertools
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import nbclient
import nbformat
import numpy as np
import pytest
from PIL import Image

from tests.conftest import APPS, ROOT

PAGES = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
NOTEBOOK = ROOT / "docs" / "notebook.ipynb"
QUICK_LOOK = "apps.lenet5 train --limit 2000 --epochs 2"
"""What README and notebook take for done."""
COMMANDS = ("", "sh")
"""What a block of commands is marked with; output is marked text."""
PYTHON = ".venv/bin/python"
FILES = ("--csv", "--images", "--ratings")
"""Flags that name data of the reader's own."""
OF_A_SERVER = ("sudo", "cd", "python3", "curl", "pg_dump", "pg_restore", "tar")
"""Programs of the machine with the team's server."""
ENDLESS = ("serve", "common.cli.ui")
OF_A_MODEL = ("evaluate", "predict", "explain", "group", "export", "request")
"""Commands of a trained app."""


@dataclass(frozen=True)
class Command:
    """A command of a page, with what a here-document gives it to read."""

    place: str
    text: str

    @property
    def words(self) -> list[str]:
        """Its first line's, up to where its output goes."""
        words = shlex.split(self.text.splitlines()[0], comments=True)
        return words[: words.index(">")] if ">" in words else words

    @property
    def parts(self) -> "list[Command]":
        """The commands of a pipe."""
        return [Command(self.place, part) for part in re.split(r" \| ", self.text)]


def blocks(page: str) -> Iterator[tuple[int, str, list[str]]]:
    """The first line's number, the mark and the lines of each block of code."""
    mark, first, lines = None, 0, list[str]()
    for number, line in enumerate((ROOT / page).read_text().splitlines(), start=1):
        if mark is None and line.startswith("```"):
            mark, first, lines = line[3:].strip(), number + 1, []
        elif line.startswith("```"):
            assert mark is not None
            yield first, mark, lines
            mark = None
        else:
            lines.append(line)


def commands(page: str) -> Iterator[Command]:
    for first, mark, lines in blocks(page):
        if mark not in COMMANDS:
            continue
        block = iter(enumerate(lines, start=first))
        for number, line in block:
            text = line
            while text.endswith("\\"):
                text = text[:-1] + next(block)[1].lstrip()
            if end := re.search(r"<<'(\w+)'", text):
                for _, more in block:
                    text += f"\n{more}"
                    if more == end[1]:
                        break
            if text.strip() and not text.lstrip().startswith("#"):
                yield Command(f"{page}:{number}", text)


@dataclass
class Reader:
    """Who works through the pages in a tree of their own."""

    tree: Path
    python: "subprocess.Popen[str]"
    own: set[str] = field(default_factory=set)
    """Apps that a page has begun."""
    trained: set[str] = field(default_factory=set)
    """Apps that have a model by now."""
    done: set[str] = field(default_factory=set)
    """Trainings that ran whole; where another page has them again, they are parsed."""

    def do(self, command: Command, whole: bool = False) -> None:
        """Carry out a command by the first rule that covers it; `whole` where it is long, too."""
        match command.words:
            case words if "|" in words:
                for part in command.parts:
                    self.do(part, whole)
            case ["make", *_]:
                # Installed as the tests are; and what ruff, mypy, pytest and uv do is not these tests' to test.
                kept = ["--old-file", ".venv/installed", "--old-file", ".venv/installed-dev"]
                for line in self.shell(shlex.join([*command.words, "--no-print-directory", "--dry-run", *kept])):
                    if line.startswith((f"{PYTHON} -m apps.", f"{PYTHON} -m tuning.", f"{PYTHON} -m common.")):
                        self.do(Command(command.place, line), whole)
            case [program, "-m", "mlflow", "server", *options] if program == PYTHON:
                known = self.run(command, "mlflow", ["server", "--help"])
                for option in filter(lambda word: word.startswith("--"), options):
                    assert re.search(rf"^ +(-\w, )?{option}\b", known, re.MULTILINE), f"{command.place}: {option}"
            case [program, "-m", "pip", "install", *_, requirements] if program == PYTHON:
                assert (self.tree / requirements).exists(), command
            case [program, "-m", module, *arguments] if program == PYTHON:
                self.module(command, module, arguments, whole)
            case [program, "-", *_] if program == PYTHON and "<<" in command.text:
                self.shell(command.text)
            case ["git", "apply", "-", *_] | ["cat"] if "<<" in command.text:
                self.shell(command.text)
            case ["export", setting]:
                assert re.match(r"[A-Z_]+=", setting), command
            case [program, *_] if program in OF_A_SERVER and command.place.startswith("docs/team.md:"):
                pass  # it needs that server; tests/tracking/test_postgresql.py starts one
            case ["curl", *_]:  # of a model that is served: tests/serving/test_http.py asks it
                assert "http://127.0.0.1:" in command.text, command
            case _:
                pytest.fail(f"{command.place}: no rule of tests/test_docs.py covers {command.text}")

    def module(self, command: Command, module: str, arguments: list[str], whole: bool) -> None:
        folder, _, app = module.partition(".")
        verb = arguments[0] if folder == "apps" and arguments else module
        assert not self.missing_app(folder, app), f"{command.place}: no such app, {app}"
        match folder, verb:
            case _, _ if verb in ENDLESS:
                self.run(command, module, arguments, parsed=True)
            case _, _ if "--help" in arguments or module in ("apps", "tuning"):
                self.run(command, module, arguments)
            case "apps", "train" if "--resume" in arguments:  # tests/training/test_resume.py interrupts trainings first
                without = [word for word in arguments if word not in ("--resume", "RUN")]
                self.run(command, module, without, parsed=True)
            case "apps", "train":
                training = shlex.join([app, *arguments])
                now = self.quick(app, arguments) or (whole and not self.missing(arguments))
                self.run(command, module, arguments, parsed=not now or training in self.done)
                if now:
                    self.trained.add(app)
                    self.done.add(training)
            case "apps", "check":
                self.run(command, module, arguments, parsed=bool(self.missing(arguments)))
            case "apps", _ if verb in OF_A_MODEL:
                known = app in self.trained and not self.missing(arguments)
                self.run(command, module, arguments, parsed=not known)
            case "apps", "baseline":  # of every app in tests/test_published.py
                self.run(command, module, arguments, parsed=not whole)
            case "tuning", _:
                dry = app not in self.own and not (whole and "--cluster" not in arguments)
                self.run(command, module, [*arguments, *(["--dry-run"] if dry else [])])
            case "common", "common.cli.new_app":
                self.run(command, module, arguments)
                self.own.add(arguments[0])
            case (
                "common",
                "common.cli.delete_runs" | "common.cli.doctor" | "common.cli.report" | "common.cli.shard",
            ):  # other tests run them
                self.run(command, module, arguments, parsed=True)
            case "common", "common.cli.compare":
                self.run(command, module, arguments, parsed=not self.trained)
            case "benchmarks", "benchmarks.lab":  # tests/test_lab.py runs the experiments
                self.run(command, module, arguments, parsed=True)
            case "pytest", _:
                self.run(command, module, arguments)
            case _:
                pytest.fail(f"{command.place}: no rule of tests/test_docs.py covers {command.text}")

    def missing_app(self, folder: str, app: str) -> bool:
        return folder in ("apps", "tuning") and app not in {"", *APPS, *self.own}

    def quick(self, app: str, arguments: list[str]) -> bool:
        """Whether a training is short: by its --limit, of an app that the page has begun, or on data it has made."""
        made = any(flag in arguments for flag in FILES)
        return not self.missing(arguments) and ("--limit" in arguments or app in self.own or made)

    def missing(self, arguments: list[str]) -> list[str]:
        """Files among the arguments that are neither there nor written by the command."""
        asked = [word for flag, word in zip(["", *arguments], arguments, strict=False) if flag != "--output"]
        named = [word for word in asked if re.search(r"\w(\.(csv|png|jpg|npy|txt|dat|data)|/)$", word)]
        named += [word for flag, word in itertools.pairwise(arguments) if flag in FILES]
        return [word for word in named if not (self.tree / word).exists()]

    def run(self, command: Command, module: str, arguments: list[str], parsed: bool = False) -> str:
        """Run Python's `-m` in the process that waits for it, or only parse its command line; gives the output."""
        assert self.python.stdin
        assert self.python.stdout
        print(
            json.dumps({"module": module, "arguments": arguments, "parsed": parsed}), file=self.python.stdin, flush=True
        )
        answer = json.loads(self.python.stdout.readline())
        output: str = answer["output"]
        assert answer["status"] == 0, f"{command.place}: {command.text}\n{output}"
        return output

    def shell(self, text: str) -> list[str]:
        done = subprocess.run(["bash", "-ec", text], cwd=self.tree, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
        return done.stdout.splitlines()


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """A reader with a fresh clone, which is set up, and some pictures of their own."""
    tree = tmp_path_factory.mktemp("docs") / "suite"
    left_out = shutil.ignore_patterns(".venv", ".git", ".*_cache", "__pycache__", "mlruns")
    shutil.copytree(ROOT, tree, ignore=left_out)
    tree.joinpath("mlruns").mkdir()
    tree.joinpath(".venv").symlink_to(sys.prefix)
    digit = np.zeros((28, 28), "uint8")
    digit[4:24, 13:15] = 255
    tree.joinpath("folder").mkdir()
    for name in ("digit.png", "folder/one.png"):
        Image.fromarray(digit).save(tree / name)
    np.save(tree / "digits.npy", digit[None])
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setenv("COLUMNS", "200")
        with subprocess.Popen(
            [sys.executable, "-m", "tests.commands"],
            cwd=tree,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as python:
            yield Reader(tree, python)


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_work_as_written(page: str, reader: Reader) -> None:
    for command in commands(page):
        reader.do(command)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_the_long_commands_of_a_page_work_whole(page: str, reader: Reader) -> None:
    for command in commands(page):
        reader.do(command, whole=True)


def test_the_notebook_runs_whole(reader: Reader) -> None:
    """As Jupyter runs it, in its own folder, after the quick look that it asks for."""
    if "lenet5" not in reader.trained:
        reader.do(Command("the notebook", f"{PYTHON} -m {QUICK_LOOK}"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert QUICK_LOOK in "".join(cell.source for cell in notebook.cells)
    folder = {"metadata": {"path": str(reader.tree / "docs")}}
    nbclient.NotebookClient(notebook, timeout=120, resources=folder).execute()
    shown = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in shown)
    assert not any(output.output_type == "stream" and output.name == "stderr" for output in shown)


def test_blocks_are_commands_or_marked_as_what_they_are() -> None:
    """So that no command is hidden from these tests by another mark."""
    marks = {(page, mark) for page in PAGES for _, mark, _ in blocks(page)}
    assert {mark for _, mark in marks} <= {*COMMANDS, "text", "python", "json", "diff"}
    assert sum(1 for page in PAGES for _ in commands(page)) > 40


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files(page: str) -> None:
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (ROOT / page).read_text()):
        assert ((ROOT / page).parent / link).exists(), link


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{PYTHON} -m apps.lenet5 train --epoch 3", "--epoch"),
        (f"{PYTHON} -m apps.lenet5 train --dropout 1", "less than 1"),
        (f"{PYTHON} -m apps.lenet6 train", "lenet6"),
        (f"{PYTHON} -m tuning.lenet5 --algorithm best", "--algorithm"),
        (f"{PYTHON} -m common.nothing", "no rule"),
        ("make trian", "trian"),
        (f"{PYTHON} -m mlflow server --prot 5000", "--prot"),
        ("rm -rf mlruns", "no rule"),
    ],
)
def test_a_command_that_does_not_work_is_noticed(text: str, said: str, reader: Reader) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception), match=re.escape(said)):
        reader.do(Command("here", text))
