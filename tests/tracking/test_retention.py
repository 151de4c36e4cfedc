"""`python -m common.cli.delete_runs`: old runs go with all their files; registered models stay."""

import contextlib
import io
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import pytest
import tyro

from common import tracking
from common.cli import delete_runs
from common.cli.parsing import plain_errors
from common.tracking import retention
from tests.conftest import assert_user_error, run_app

DAY = 24 * 60 * 60 * 1000


def delete(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the command in this process."""
    output, errors, status = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["delete_runs", *arguments])
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            try:
                with plain_errors({"": [delete_runs.main]}):
                    tyro.cli(delete_runs.main)
            except SystemExit as ended:
                status = int(ended.code or 0)
    return subprocess.CompletedProcess(arguments, status, output.getvalue(), errors.getvalue())


def train() -> str:
    """Train, and return the id of the run."""
    before = {run.info.run_id for run in tracking.find({"kind": "train"})}
    result = run_app("perceptron", "train", "--epochs", "2")
    assert result.returncode == 0, result.stderr
    ((only,),) = ({run.info.run_id for run in tracking.find({"kind": "train"})} - before,)
    return only


def record(store: Path, days: float, status: str = "FAILED", parent: str = "") -> str:
    """Record a run that ended some days ago, with an artifact and a checkpoint, and return its id."""
    client = tracking.connect()
    experiment = client.get_experiment_by_name("iris")
    assert experiment
    tags = {"app": "perceptron", "kind": "trial"} | ({"mlflow.parentRunId": parent} if parent else {})
    run_id: str = client.create_run(experiment.experiment_id, tags=tags).info.run_id
    client.log_text(run_id, "x" * 1_000_000, "big.txt")
    checkpoint = tracking.checkpoints(run_id) / "1.npz"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"x" * 2_000_000)
    if status != "RUNNING":
        client.set_terminated(run_id, status)
    age(store, run_id, days)
    return run_id


def age(store: Path, run_id: str, days: float) -> None:
    """Let a run have ended some days ago."""
    then = int(1000 * time.time() - days * DAY)
    with contextlib.closing(sqlite3.connect(store / "mlflow.db")) as connection, connection:
        changed = "UPDATE runs SET start_time = ?, end_time = CASE WHEN end_time IS NULL THEN NULL ELSE ? END"
        connection.execute(f"{changed} WHERE run_uuid = ?", (then, then, run_id))


def remaining(store: Path) -> set[str]:
    with contextlib.closing(sqlite3.connect(store / "mlflow.db")) as connection:
        return {row[0] for row in connection.execute("SELECT run_uuid FROM runs")}


def files(store: Path, run_id: str) -> list[Path]:
    return [*store.glob(f"artifacts/*/{run_id}"), *store.glob(f"checkpoints/{run_id}")]


def test_old_runs_are_listed_and_deleted_with_their_files(store: Path) -> None:
    champion, other = train(), train()
    old, new = record(store, 91), record(store, 89)
    running = record(store, 91, "RUNNING")
    below_running = record(store, 91, "FINISHED", parent=running)
    for run_id in (champion, other):
        age(store, run_id, 1000)
    before = remaining(store)
    dry = delete("--older-than", "90", "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert [line.split()[0] for line in dry.stdout.splitlines()[:-1]] == [old]
    assert dry.stdout.splitlines()[-1] == "would delete 1 of 1 runs, would free 3.0 MB"
    assert "4 older runs stay" not in dry.stderr
    assert "3 older runs stay" in dry.stderr
    assert remaining(store) == before
    assert len(files(store, old)) == 2
    done = delete("--older-than", "90")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "deleted 1 of 1 runs, freed 3.0 MB"
    assert files(store, old) == []
    assert remaining(store) == {champion, other, new, running, below_running}
    assert len(files(store, running)) == 2
    for model in ("perceptron-iris@champion", "perceptron-iris/1", "perceptron-iris/2"):
        assert run_app("perceptron", "evaluate", "--model", model).returncode == 0
    assert "no runs to delete" in delete("--older-than", "90").stdout


def test_the_search_of_a_run_that_stays_stays(store: Path) -> None:
    champion = train()
    search = record(store, 100, "FINISHED")
    trial = record(store, 100, "FINISHED", parent=search)
    tracking.connect().set_tag(champion, "mlflow.parentRunId", search)
    age(store, champion, 100)
    assert delete("--older-than", "90").returncode == 0
    assert remaining(store) == {champion, search}
    assert files(store, trial) == []


def test_a_model_whose_versions_were_deleted_goes_with_its_run(store: Path) -> None:
    run_id = train()
    age(store, run_id, 100)
    assert list(store.glob("artifacts/iris/models/*"))
    client = tracking.connect()
    client.delete_model_version("perceptron-iris", "1")
    client.delete_run(run_id)  # as the UI does
    assert delete("--older-than", "90").stdout.startswith(run_id)
    assert remaining(store) == set()
    assert client.search_logged_models(["1"]) == []
    assert list(store.glob("artifacts/iris/**/*.keras")) == []
    assert list(store.glob("artifacts/iris/*/*")) == []


def test_a_run_that_is_resumed_meanwhile_stays(store: Path) -> None:
    train()
    run_id = record(store, 100, "KILLED")
    (old,) = retention.old_runs(90).deletable
    tracking.connect().update_run(run_id, status="RUNNING")
    assert not retention.delete(old)
    assert len(files(store, run_id)) == 2


@pytest.mark.usefixtures("store")
def test_what_another_program_recorded_stays(store: Path) -> None:
    run_id = tracking.connect().create_run("0").info.run_id
    mlflow.MlflowClient().set_terminated(run_id)
    age(store, run_id, 100)
    assert "no runs to delete" in delete("--older-than", "0").stdout


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("days", ["-1", "nan", "inf"])
def test_a_number_of_days_that_is_none_is_one_line(days: str) -> None:
    assert_user_error(delete("--older-than", days), "--older-than", "days")
