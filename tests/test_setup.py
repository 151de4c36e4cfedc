"""What a fresh clone stands on: pinned requirements and a Makefile that does its work once."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT


@pytest.mark.parametrize(
    "name",
    [
        "requirements.txt",
        "requirements-dev.txt",
        "requirements-gpu.txt",
        "requirements-team.txt",
        "requirements-cluster.txt",
        "requirements-shards.txt",
    ],
)
def test_every_requirement_is_pinned_with_hashes(name: str) -> None:
    entries = re.split(r"\n(?=[a-z0-9])", (ROOT / name).read_text(), flags=re.IGNORECASE)[1:]
    assert len(entries) > 100
    for entry in entries:
        assert re.match(r"[\w.\[\],-]+==[\w.]+", entry), entry
        assert "--hash=sha256:" in entry


def test_the_tests_run_with_the_versions_that_users_get() -> None:
    files = [ROOT / name for name in ("requirements.txt", "requirements-dev.txt")]
    pins = [set(re.findall(r"^[\w.-]+==[^ ]+", file.read_text(), re.MULTILINE)) for file in files]
    assert len(pins[0]) > 50
    assert pins[0] <= pins[1]


def test_train_installs_the_requirements_once_and_again_when_they_change(tmp_path: Path) -> None:
    """In a copy with a Python that only records how it is called."""
    for name in ("Makefile", "requirements.txt"):
        shutil.copy(ROOT / name, tmp_path)
    requirements, calls, python = (tmp_path / name for name in ("requirements.txt", "calls", ".venv/bin/python"))
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/bin/sh\necho \"$*\" >> '{calls}'\n")
    python.chmod(0o755)
    os.utime(requirements, (1, 1))

    def train() -> list[str]:
        """What `make train` calls Python with."""
        calls.write_text("")
        subprocess.run(["make", "train"], cwd=tmp_path, check=True, capture_output=True)
        return calls.read_text().splitlines()

    install, run = train()
    assert install.startswith("-m pip install ")
    assert install.endswith(" --require-hashes -r requirements.txt")
    assert run == "-m apps.mnist_mlp train"
    assert train() == [run]
    os.utime(tmp_path / ".venv/installed", (0, 0))  # older than the requirements
    assert train() == [install, run]


@pytest.mark.parametrize(
    ("target", "error"),
    [("browser", "no Chromium found; install the package chromium"), ("postgresql", "no PostgreSQL found; install")],
)
def test_a_machine_without_a_program_is_told_what_to_install(target: str, error: str, tmp_path: Path) -> None:
    """Where neither the program nor apt-get is found."""
    make = shutil.which("make")
    assert make
    for program in ("sh", "id"):
        (tmp_path / program).symlink_to(str(shutil.which(program)))
    makefile = tmp_path / "Makefile"
    makefile.write_text((ROOT / "Makefile").read_text().replace("/usr/lib/postgresql", str(tmp_path)))
    command = [make, "--no-print-directory", target]
    result = subprocess.run(
        command, cwd=tmp_path, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: {error}")


def test_help_lists_the_commands() -> None:
    shown = subprocess.run(["make"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for command in ("train", "test", "ui", "lint", "lock", "clean"):
        assert f"make {command} " in shown


def test_a_python_that_is_too_old_is_one_line() -> None:
    command = ["make", "--always-make", "-f", str(ROOT / "Makefile"), "PYTHON=", ".venv/bin/python"]
    result = subprocess.run(command, cwd=ROOT / "tests", capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr.startswith("error: Python 3.11, 3.12 or 3.13 is needed")
