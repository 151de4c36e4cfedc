"""The store: the database or server that keeps runs and models, and the command that serves its UI."""

import contextlib
import logging
import os
import shutil
import sqlite3
import sys
from pathlib import Path
from typing import Any

import mlflow
from filelock import FileLock
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from common import files
from common.errors import UserError, first_line

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


ROOT = Path(__file__).resolve().parents[2]
STORE = ROOT / "mlruns"
NEEDED_MEGABYTES = 100
"""Free space below which no run is begun: a model, its pictures and the database's journal."""


# What MLflow logs as an error it also raises.
logging.getLogger("mlflow").setLevel(logging.CRITICAL)


logging.getLogger("alembic").setLevel(logging.ERROR)


def connect() -> mlflow.MlflowClient:
    """A client of the store, which is made first where it is a database file that is not there yet.

    Raises:
        UserError: where the store cannot be opened or written.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{STORE / 'mlflow.db'}"
    database = database_of(uri)
    if database:
        _make(database)
    try:
        mlflow.set_tracking_uri(uri)
        client = mlflow.MlflowClient()
        client.search_experiments(max_results=1)
    except Exception as error:  # whatever the store's driver raises: the address is the user's
        raise UserError(f"MLFLOW_TRACKING_URI {uri}: cannot open this store ({first_line(error)})") from error
    return client


def database_of(uri: str) -> Path | None:
    """The file of a store that is a SQLite database; None for a server or another database."""
    return Path(uri.removeprefix("sqlite:///")).absolute() if uri.startswith("sqlite:///") else None


def _make(database: Path) -> None:
    """Create the database where there is none, and see that it can be written.

    A process that dies while MLflow creates its tables, or two that create them at once, leave a database that never
    opens: the tables are made in a temporary file, under a lock, which then takes its place in one step.
    """
    folder = database.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(folder).free < NEEDED_MEGABYTES * 2**20:
            raise UserError(f"{folder}: disk full; free at least {NEEDED_MEGABYTES} MB")
        with FileLock(folder / ".lock"):
            if not database.exists():
                with files.replacing(database) as temporary:
                    store = SqlAlchemyStore(f"sqlite:///{temporary}", (folder / "artifacts").as_uri())
                    store.engine.dispose()
        with contextlib.closing(sqlite3.connect(database, timeout=60)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
    except (OSError, sqlite3.Error) as error:
        raise UserError(f"{folder}: cannot record here ({first_line(error)}); make it writable") from error


def folder() -> str:
    """Where the store is: the folder of a database file, or the address of a server."""
    uri = mlflow.get_tracking_uri()
    database = database_of(uri)
    return str(database.parent) if database else uri


def local_folder() -> Path:
    """A folder of this machine beside the store: that of its database, or the suite's own where it is a server."""
    connect()
    database = database_of(mlflow.get_tracking_uri())
    return database.parent if database else STORE


def lock() -> contextlib.AbstractContextManager[Any]:
    """One process at a time in this store; a server is left to itself."""
    database = database_of(mlflow.get_tracking_uri())
    return FileLock(database.parent / ".lock") if database else contextlib.nullcontext()


def server_command(host: str, port: int) -> list[str]:
    """The command that serves the store, with MLflow's UI, at `host` and `port`."""
    connect()
    address = ["--host", host, "--port", str(port), "--workers", "1"]
    return [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", mlflow.get_tracking_uri(), *address]
