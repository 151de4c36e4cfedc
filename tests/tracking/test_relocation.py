"""A store that is moved, copied or read-only: its models are found, and nothing is written elsewhere."""

import contextlib
import functools
import shutil
import sqlite3
from pathlib import Path

import mlflow
import pytest

from common import tracking
from common.errors import UserError
from common.tracking import relocation
from tests.conftest import Trained, assert_user_error, new_store, run_app
from tests.processes import give_up_override, run_forked

PERCEPTRON = ("train", "--epochs", "1")


def files(folder: Path) -> dict[Path, int]:
    """Every file below a folder with the time of its last change."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def store_with_run(tmp_path: Path) -> Path:
    store = new_store(tmp_path / "a" / "mlruns")
    result = run_app("perceptron", *PERCEPTRON, MLFLOW_TRACKING_URI=f"sqlite:///{store}/mlflow.db")
    assert result.returncode == 0, result.stderr
    return store


def test_a_moved_store_keeps_its_models(store_with_run: Path, tmp_path: Path) -> None:
    (tmp_path / "a").rename(tmp_path / "b c")
    uri = f"sqlite:///{tmp_path}/b c/mlruns/mlflow.db"
    first = run_app("perceptron", "evaluate", MLFLOW_TRACKING_URI=uri)
    assert first.returncode == 0, first.stderr
    (note,) = first.stderr.splitlines()
    assert f"{tmp_path}/b c/mlruns was {store_with_run}" in note
    assert (tmp_path / "b c" / "mlruns" / "mlflow.db.before-move").exists()
    assert run_app("perceptron", "evaluate", MLFLOW_TRACKING_URI=uri).stderr == ""
    assert run_app("perceptron", *PERCEPTRON, MLFLOW_TRACKING_URI=uri).returncode == 0
    assert not (tmp_path / "a").exists()


def test_a_copied_store_writes_nothing_into_the_first_one(store_with_run: Path, tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    before = files(tmp_path / "a")
    uri = f"sqlite:///{tmp_path}/b/mlruns/mlflow.db"
    assert run_app("perceptron", *PERCEPTRON, MLFLOW_TRACKING_URI=uri).returncode == 0
    assert files(tmp_path / "a") == before
    for name, versions in (("a", 1), ("b", 2)):
        client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/{name}/mlruns/mlflow.db")
        assert len(client.search_model_versions()) == versions
    assert store_with_run.exists()


def test_every_address_in_the_database_follows(store_with_run: Path, tmp_path: Path) -> None:
    """Also in columns that the suite does not know: MLflow may have new ones."""
    (tmp_path / "a").rename(tmp_path / "b")
    run_app("perceptron", "evaluate", MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path}/b/mlruns/mlflow.db")
    assert str(store_with_run).encode() not in dump(tmp_path / "b" / "mlruns" / "mlflow.db")
    assert str(tmp_path / "b").encode() in dump(tmp_path / "b" / "mlruns" / "mlflow.db")


def dump(database: Path) -> bytes:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        return "\n".join(connection.iterdump()).encode()


def test_artifacts_that_stay_where_they_are_keep_their_address(store_with_run: Path, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    shutil.move(store_with_run / "mlflow.db", tmp_path / "b")
    result = run_app("perceptron", "evaluate", MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path}/b/mlflow.db")
    assert (result.returncode, result.stderr) == (0, "")


def test_a_read_only_store_can_be_read(trained_mlp: Trained, tmp_path: Path) -> None:
    store = shutil.copytree(trained_mlp.store, tmp_path / "mlruns")
    execute = functools.partial(run_forked, first=give_up_override, MLFLOW_TRACKING_URI=f"sqlite:///{store}/mlflow.db")
    relocation.relocate(store / "mlflow.db")
    before, folders = files(store), [store, *(path for path in store.rglob("*") if path.is_dir())]
    for path in [*before, *folders]:
        path.chmod(0o444 if path.is_file() else 0o555)
    try:
        for words in (("apps.mnist_mlp", "evaluate"), ("common.cli.compare", "mnist")):
            result = execute(*words)
            assert result.returncode == 0, result.stderr
        result = execute("apps.mnist_mlp", "train", "--epochs", "1", "--limit", "1000")
        assert_user_error(result, f"{store}: cannot record here; make it writable, or set MLFLOW_TRACKING_URI")
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert files(store) == before


def test_a_broken_database_is_named_with_a_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = new_store(tmp_path)
    whole = (store / "mlflow.db").read_bytes()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store}/mlflow.db")
    for content in (b"junk", whole[: len(whole) // 2], b"", whole[:100] + bytes(4000) + whole[4100:]):
        (store / "mlflow.db").write_bytes(content)
        with pytest.raises(UserError, match=r"mlflow.db: .*restore it from a backup") as raised:
            tracking.connect()
        assert len(str(raised.value).splitlines()) == 1
