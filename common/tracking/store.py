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
"""Free disk space that a run needs: for a model, its figures and the database's journal."""

logging.getLogger("mlflow").setLevel(logging.CRITICAL)  # MLflow also raises the errors that it logs
logging.getLogger("alembic").setLevel(logging.ERROR)


def connect() -> mlflow.MlflowClient:
    """Return a client of the store. A database file is created if it does not exist.

    Raises:
        UserError: if the store cannot be opened or written.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{STORE / 'mlflow.db'}"
    database = database_of(uri)
    if database:
        _make(database)
    try:
        mlflow.set_tracking_uri(uri)
        client = mlflow.MlflowClient()
        client.search_experiments(max_results=1)
    except Exception as error:  # any error of the store's driver: the user chose the address
        raise UserError(f"MLFLOW_TRACKING_URI {uri}: cannot open this store ({first_line(error)})") from error
    return client


def database_of(uri: str) -> Path | None:
    """Return the file of a store that is a SQLite database; None for a server or another database."""
    return Path(uri.removeprefix("sqlite:///")).absolute() if uri.startswith("sqlite:///") else None


def _make(database: Path) -> None:
    """Create the database if it does not exist, and check that it can be written.

    If a process dies while MLflow creates the tables, or two processes create them at once, the database never opens.
    Therefore the tables are created under a lock in a temporary file, which is then renamed.
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
    """Return the folder of the store's database file, or the address of its server."""
    uri = mlflow.get_tracking_uri()
    database = database_of(uri)
    return str(database.parent) if database else uri


def local_folder() -> Path:
    """Return a local folder for files beside the store: that of its database, or `STORE` if it is a server."""
    connect()
    database = database_of(mlflow.get_tracking_uri())
    return database.parent if database else STORE


def lock() -> contextlib.AbstractContextManager[Any]:
    """Return a lock that one process at a time holds in this store; a server does its own locking."""
    database = database_of(mlflow.get_tracking_uri())
    return FileLock(database.parent / ".lock") if database else contextlib.nullcontext()


def server_command(host: str, port: int) -> list[str]:
    """Return the command that serves the store with MLflow's UI at `host` and `port`."""
    connect()
    address = ["--host", host, "--port", str(port), "--workers", "1"]
    return [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", mlflow.get_tracking_uri(), *address]
