"""PostgreSQL as the team's store: a real server, alone and behind MLflow's server with artifacts in S3."""

import contextlib
import importlib.metadata
import itertools
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import boto3
import mlflow
import psycopg
import pytest
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from moto.server import ThreadedMotoServer
from psycopg import sql

from common import tracking
from common.cli import compare
from common.errors import UserError
from common.tracking import retention, store
from tests import postgresql
from tests.buckets import google_bucket
from tests.conftest import ROOT, assert_user_error, free_port, run_app
from tests.processes import Process
from tests.tuning.searching import Store, settings

WRITERS = 4
NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def server() -> Iterator[postgresql.Server]:
    with postgresql.serving() as running:
        yield running


@pytest.fixture(scope="module")
def tables(server: postgresql.Server) -> str:
    """A database with MLflow's tables, which it takes seconds to make."""
    SqlAlchemyStore(server.new_database("tables"), "nowhere").engine.dispose()
    return "tables"


@pytest.fixture
def database(server: postgresql.Server, tables: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The store of one test, in this process and in those it starts: a new database, and a folder of artifacts."""
    return select(server.new_database(f"test{next(NUMBERS)}", tables), tmp_path, monkeypatch)


@pytest.fixture
def empty_database(server: postgresql.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The same without the tables."""
    return select(server.new_database(f"test{next(NUMBERS)}"), tmp_path, monkeypatch)


def select(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make a database the store of a test, and return its address."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("MLFLOW_DEFAULT_ARTIFACT_ROOT", str(tmp_path / "artifacts"))
    monkeypatch.setattr(store, "STORE", tmp_path / "local")  # checkpoints
    return address


def begin(*arguments: str) -> Process:
    """Begin to train the perceptron in a process of its own."""
    return Process("apps.perceptron", "train", "--no-baseline", *arguments)


def runs() -> list[mlflow.entities.Run]:
    tracking.connect()
    return list(mlflow.search_runs(search_all_experiments=True, output_format="list"))


def test_train_records_all_and_the_other_commands_read_it(
    database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = run_app("perceptron", "train", "--epochs", "3")
    assert trained.returncode == 0, trained.stderr
    assert "the champion" in trained.stdout
    (only,) = runs()
    assert only.info.status == "FINISHED"
    assert len(tracking.curve(mlflow.MlflowClient(), only.info.run_id, "loss")) == 3
    assert {file.name for file in (tmp_path / "artifacts" / "iris").rglob("*")} >= {"model.keras", "settings.json"}
    evaluated = run_app("perceptron", "evaluate", "--model", "perceptron-iris@champion")
    assert evaluated.returncode == 0, evaluated.stderr
    compare.main("iris", markdown=True)
    assert "perceptron-iris@champion" in capsys.readouterr().out
    restore_backup(database, tmp_path)
    assert run_app("perceptron", "evaluate", "--model", "perceptron-iris@champion").stdout == evaluated.stdout


def restore_backup(database: str, folder: Path) -> None:
    """Save a store, lose it, and restore it, with the commands of docs/team.md."""
    dump, archive, programs = folder / "mlflow.dump", folder / "artifacts.tar.gz", postgresql.programs()
    server, _, name = database.rpartition("/")
    subprocess.run([programs / "pg_dump", "--format=custom", f"--file={dump}", database], check=True)
    subprocess.run(["tar", "--create", "--gzip", f"--file={archive}", f"--directory={folder}", "artifacts"], check=True)
    shutil.rmtree(folder / "artifacts")
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        for statement in ("DROP DATABASE {} WITH (FORCE)", "CREATE DATABASE {}"):
            connection.execute(sql.SQL(statement).format(sql.Identifier(name)))
    subprocess.run([programs / "pg_restore", "--no-owner", f"--dbname={database}", dump], check=True)
    subprocess.run(["tar", "--extract", "--gzip", f"--file={archive}", f"--directory={folder}"], check=True)


def test_a_search_with_two_workers_finishes(database: str, tmp_path: Path) -> None:
    class OnPostgreSQL(Store):
        @property
        def uri(self) -> str:
            return database

    searched = OnPostgreSQL(tmp_path)
    status, output, errors = searched.search("--trials", "4", "--workers", "2", "--epochs", "2")
    assert status == 0, output + errors
    assert len(settings(searched.trials())) == 4
    for kind in ("search", "trial", "train"):
        assert {one.info.status for one in searched.runs(kind)} == {"FINISHED"}


def test_a_restart_of_the_database_in_mid_training_loses_no_metric(server: postgresql.Server, database: str) -> None:
    epochs = 150
    with begin("--epochs", str(epochs), "--patience", str(epochs)) as process:
        assert any("Epoch 20/" in line for line in process.stdout)
        server.stop()
        try:
            assert any("Epoch 60/" in line for line in process.stdout)
        finally:
            server.start()
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    (only,) = runs()
    assert only.info.status == "FINISHED", database
    for name in ("loss", "val_accuracy"):
        points = mlflow.MlflowClient().get_metric_history(only.info.run_id, name)
        assert [point.step for point in sorted(points, key=lambda point: point.timestamp)] == list(range(1, epochs + 1))


def test_writers_on_a_fresh_database_lose_nothing(empty_database: str) -> None:
    """They create the tables, the experiment, the data set and the registered model at once."""
    processes = [begin("--epochs", "2", "--seed", str(seed)) for seed in range(WRITERS)]
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    found, client = runs(), mlflow.MlflowClient(empty_database)
    assert [one.info.status for one in found] == ["FINISHED"] * WRITERS
    for one in found:
        assert len(tracking.curve(client, one.info.run_id, "loss")) == 2
    versions = {int(one.version): one for one in client.search_model_versions("name = 'perceptron-iris'")}
    assert set(versions) == set(range(1, WRITERS + 1))


def test_one_process_at_a_time_registers_a_model(database: str) -> None:
    """Where one process holds the lock, another one waits."""
    tracking.connect()
    script = """
from common.errors import UserError
from common.tracking import retention, store
store.connect()
print("waits", flush=True)
with store.lock():
    print("goes on")
"""
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        with store.lock():
            assert process.stdout.readline() == "waits\n", database
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(timeout=3)
        assert process.communicate(timeout=60)[0] == "goes on\n"


def test_a_missing_driver_is_one_line_that_names_the_requirements(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://me:secret@127.0.0.1:1/runs")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in sys.modules if name.partition(".")[0] == "psycopg"]:
            patch.delitem(sys.modules, name)
        patch.setitem(sys.modules, "psycopg", None)
        result = run_app("perceptron", "train")
    assert_user_error(result, "MLFLOW_TRACKING_URI", "psycopg", "requirements-team.txt", "me:***@")


def test_a_database_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"postgresql://me:secret@127.0.0.1:{free_port()}/runs")
    result = run_app("perceptron", "train")
    assert_user_error(result, "MLFLOW_TRACKING_URI", "cannot open this store")
    assert "secret" not in result.stderr


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a bucket of a storage that speaks S3's protocol."""
    storage = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    storage.start()
    host, port = storage.get_host_and_port()
    for name, value in {
        "MLFLOW_S3_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "team",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3", endpoint_url=f"http://{host}:{port}").create_bucket(Bucket="runs")
    yield "s3://runs"
    storage.stop()


@contextlib.contextmanager
def serving(*options: str) -> Iterator[str]:
    """MLflow's server with these options during the block, at the address that is given."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1", *options]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            address = f"http://127.0.0.1:{port}"
            for _ in range(600):
                with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/health", timeout=1):
                    break
                assert process.poll() is None
                time.sleep(0.2)
            yield address
        finally:
            process.terminate()


def test_the_server_keeps_artifacts_in_s3_and_predict_reads_them(
    database: str, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flowers = tmp_path / "flowers.csv"
    flowers.write_text(
        "sepal length (cm),sepal width (cm),petal length (cm),petal width (cm)\n5.1,3.5,1.4,0.2\n6.7,3.0,5.2,2.3\n"
    )
    monkeypatch.delenv("MLFLOW_DEFAULT_ARTIFACT_ROOT")  # the server would give it to its clients
    with serving("--backend-store-uri", database, "--artifacts-destination", f"{bucket}/team") as address:
        # The clients know nothing of the storage.
        for name in ("MLFLOW_S3_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        trained = run_app("perceptron", "train", "--epochs", "20")
        assert trained.returncode == 0, trained.stderr
        (only,) = runs()
        assert only.info.artifact_uri.startswith("mlflow-artifacts:")
        evaluated = run_app("perceptron", "evaluate")
        assert evaluated.returncode == 0, evaluated.stderr
        predicted = run_app("perceptron", "predict", str(flowers))
        assert predicted.returncode == 0, predicted.stderr
        assert re.search(r":2 +setosa .*:3 +another ", predicted.stdout, re.DOTALL)
        delete_a_run_behind_the_server(database, address, monkeypatch)
    assert not (tmp_path / "artifacts").exists()


def delete_a_run_behind_the_server(database: str, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its artifacts go through the server; its row goes from the database if that is named."""
    assert run_app("perceptron", "baseline").returncode == 0
    (old,) = retention.old_runs(0).deletable
    run_id = old.run.info.run_id
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)
    with pytest.raises(UserError, match="a server keeps its artifacts"):
        retention.old_runs(0)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    client = tracking.connect()
    assert client.list_artifacts(run_id)
    assert retention.delete(old)
    assert client.get_run(run_id).info.lifecycle_stage == "deleted"
    assert client.list_artifacts(run_id) == []
    monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", database)
    (again,) = retention.old_runs(0).deletable
    assert retention.delete(again)
    with pytest.raises(MlflowException, match="not found"):
        client.get_run(run_id)


def test_a_database_may_keep_artifacts_in_s3(database: str, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_DEFAULT_ARTIFACT_ROOT", f"{bucket}/alone")
    assert run_app("perceptron", "train", "--epochs", "2").returncode == 0
    assert run_app("perceptron", "evaluate").returncode == 0
    (only,) = runs()
    assert only.info.artifact_uri.startswith("s3://runs/alone/iris/"), database


# Google's library asks for a package that only its gRPC needs.
@pytest.mark.filterwarnings("ignore:Please install grpcio-status:ImportWarning")
def test_a_database_may_keep_artifacts_in_googles_storage(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_DEFAULT_ARTIFACT_ROOT", "gs://data/alone")
    with google_bucket():
        assert run_app("perceptron", "train", "--epochs", "2").returncode == 0
        assert run_app("perceptron", "evaluate").returncode == 0
        assert run_app("perceptron", "baseline").returncode == 0
        (old,) = retention.old_runs(0).deletable
        assert old.run.info.artifact_uri.startswith("gs://data/alone/iris/"), database
        assert retention.delete(old)
        assert len(runs()) == 1


def test_a_missing_package_of_an_object_storage_is_one_line(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = importlib.metadata.version

    def version(name: str) -> str:
        if name in store.PACKAGES.values():
            raise importlib.metadata.PackageNotFoundError
        return installed(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    for address, package in (("s3://runs/alone", "boto3"), ("gs://data/alone", "google-cloud-storage")):
        monkeypatch.setenv("MLFLOW_DEFAULT_ARTIFACT_ROOT", address)
        refused = run_app("perceptron", "train", "--epochs", "2")
        assert_user_error(refused, f"ARTIFACT_ROOT {address}: needs the package {package}", "requirements-team.txt")
        assert runs() == [], database
