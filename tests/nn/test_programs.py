"""Programs that JAX keeps for later processes. `python -m tests.nn.test_programs` trains a network on JAX."""

import os
from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from common.nn import programs
from common.preprocessing import download
from tests.conftest import ROOT, run

import keras  # isort: skip - deferred by `common`


def main() -> None:
    """Train a network with the suite, and print the folder in which JAX keeps programs."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(np.ones((8, 2)), np.ones(8), verbose=0)
    print(os.environ["JAX_COMPILATION_CACHE_DIR"])


def trained(home: Path, **environment: str) -> Path:
    """The folder of the programs of a process with this $KERAS_HOME, which trained without a message."""
    environment |= {
        "KERAS_BACKEND": "jax",
        "KERAS_HOME": str(home),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    result = run("-m", "tests.nn.test_programs", cwd=ROOT, timeout=300, **environment)
    assert (result.returncode, result.stderr) == (0, "")
    return Path(result.stdout.strip())


@pytest.fixture(autouse=True)
def without_own_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away the folder that `common` has set in this process."""
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)


def times(folder: Path) -> dict[str, int]:
    """The programs in the folder, with the time at which each was written."""
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*-cache")}


def test_a_process_finds_the_programs_of_an_earlier_one(tmp_path: Path) -> None:
    folder = trained(tmp_path)
    assert folder == tmp_path / "programs"
    first = times(folder)
    assert len(first) > 3
    trained(tmp_path)
    assert times(folder) == first


def test_the_folder_of_programs_can_be_another(tmp_path: Path) -> None:
    folder = trained(tmp_path, JAX_COMPILATION_CACHE_DIR=str(tmp_path / "own"))
    assert folder == tmp_path / "own"
    assert times(folder)


def test_damaged_programs_are_compiled_again_without_a_message(tmp_path: Path) -> None:
    for path in trained(tmp_path).glob("*-cache"):
        path.write_bytes(path.read_bytes()[:100])
    trained(tmp_path)


def test_without_a_place_programs_are_compiled_and_not_kept(tmp_path: Path) -> None:
    (tmp_path / "home").touch()
    assert not trained(tmp_path / "home").exists()


def test_a_user_without_a_home_keeps_no_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as the user with a random number as which some platforms run a container."""
    for name in ("KERAS_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 987_654_321)
    programs.keep()
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ
    with pytest.raises(UserError, match="this user has no home for data sets; set KERAS_HOME to a folder"):
        download.cache_folder()


if __name__ == "__main__":
    main()
