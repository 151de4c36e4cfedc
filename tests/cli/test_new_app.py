"""`make app`: a copy of any app that passes what every app has to pass. (test_docs.py runs what comes of it.)"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from common.cli import new_app
from common.errors import UserError
from tests.conftest import APPS, ROOT, assert_user_error, run

KINDS = ("apps", "tuning", "tests")


def tree_at(folder: Path) -> Path:
    """A copy of what an app is made of."""
    left_out = shutil.ignore_patterns("__pycache__", "mlruns", "docs", ".*")
    shutil.copytree(ROOT, folder, ignore=left_out)
    return folder


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree in which every app has been copied, under a name much longer than its own."""
    tree = tree_at(tmp_path_factory.mktemp("begun") / "suite")
    for source in APPS:
        assert len(new_app.write(tree, f"my_own_{source}", source)) == 3
    return tree


def checked(tree: Path, *command: str) -> str:
    """What Python says, run in the tree with `command`, which must succeed."""
    done = subprocess.run([sys.executable, *command], cwd=tree, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_copies_of_all_apps_pass_ruff(begun: Path) -> None:
    own = [str(path) for path in files(begun) if "my_own_" in path.name]
    assert len(own) == 3 * len(APPS)
    checked(begun, "-m", "ruff", "check", "--no-cache", *own)
    checked(begun, "-m", "ruff", "format", "--no-cache", "--check", *own)


@pytest.mark.slow
def test_copies_of_all_apps_pass_mypy(begun: Path) -> None:
    checked(begun, "-m", "mypy", "--cache-dir", os.devnull)


def test_copies_of_all_apps_are_apps_with_a_space_of_their_own(begun: Path) -> None:
    script = (
        "import importlib, sys\n"
        "for source in sys.argv[1:]:\n"
        "    name = f'my_own_{source}'\n"
        "    own, theirs = (importlib.import_module(f'apps.{one}').app for one in (name, source))\n"
        "    space = importlib.import_module(f'tuning.{name}')\n"
        "    assert own.name == name, own.name\n"
        "    assert own.settings is not theirs.settings\n"
        "    assert vars(own.settings()) == vars(theirs.settings())\n"
        "    assert space.app is own and own.settings is space.Settings\n"
        "    assert f'python -m apps.{name} train' in sys.modules[f'apps.{name}'].__doc__\n"
        "    assert f'python -m tuning.{name} ' in space.__doc__\n"
        "    assert f'apps.{source} ' not in sys.modules[f'apps.{name}'].__doc__\n"
        "print('all')\n"
    )
    assert checked(begun, "-c", script, *APPS) == "all\n"


def test_only_modules_of_the_app_are_renamed_and_long_comments_move_above(tmp_path: Path) -> None:
    file, comment = tmp_path / "net.py", "c" * 85
    file.write_text(
        f'"""Net.\n\n    python -m apps.net train  # {comment}\n"""\nfrom apps.net import net  # apps.netlike\n'
    )
    assert new_app.copy(file, "my_own_net") == (
        f'"""Net.\n\n    # {comment}\n    python -m apps.my_own_net train\n"""\n'
        "from apps.my_own_net import net  # apps.netlike\n"
    )


@pytest.mark.parametrize(
    ("name", "source", "said"),
    [
        ("my-digits", "lenet5", "my-digits: cannot name a module"),
        ("2d", "lenet5", "cannot name a module"),
        ("class", "lenet5", "cannot name a module"),
        ("../digits", "lenet5", "cannot name a module"),
        ("lenet5", "lenet5", "apps/lenet5.py is taken"),
        ("search", "lenet5", "tuning/search.py is taken"),
        ("docs", "lenet5", "tests/test_docs.py is taken"),
        ("digits", "lenet6", "`from` lenet6: no such app; there are alexnet, boltzmann"),
        ("digits", "../common/app", "no such app"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(name: str, source: str, said: str, begun: Path) -> None:
    before = files(begun)
    with pytest.raises(UserError, match=said.replace(".", r"\.")):
        new_app.write(begun, name, source)
    assert files(begun) == before


def test_all_files_are_written_or_none(begun: Path) -> None:
    others = begun / "tests" / "test_digits.py"
    others.write_text("another's")
    before = files(begun)
    with pytest.raises(UserError, match=r"test_digits\.py is taken"):
        new_app.write(begun, "digits", "lenet5")
    assert files(begun) == before
    assert others.read_text() == "another's"
    others.unlink()


def files(tree: Path) -> list[Path]:
    return sorted(path for kind in KINDS for path in (tree / kind).iterdir() if path.name != "__pycache__")


def test_the_command_says_what_it_wrote_and_a_mistake_in_one_line() -> None:
    assert_user_error(run("-m", "common.cli.new_app", "lenet5", "--from", "rbm"), "apps/lenet5.py is taken")
    assert_user_error(run("-m", "common.cli.new_app", "digits"), "--from")
