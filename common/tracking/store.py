"""The store: the database or server that keeps runs and models, and the command that serves its UI."""

import contextlib
import errno
import logging
import os
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
from filelock import FileLock
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from common import files
from common.errors import UserError, first_line, print_notes
from common.tracking import relocation

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


ROOT = Path(__file__).resolve().parents[2]
STORE = ROOT / "mlruns"
NEEDED_MEGABYTES = 100
"""Free disk space that a run needs: for a model, its figures and the database's journal."""

FIRST_CONTACT = 10
"""Seconds within which a server must answer at first, and while a network trains."""

logging.getLogger("mlflow").setLevel(logging.CRITICAL)  # MLflow also raises the errors that it logs
logging.getLogger("alembic").setLevel(logging.ERROR)


def connect() -> mlflow.MlflowClient:
    """Return a client of the store. A database file is created if it does not exist.

    Raises:
        UserError: if the store cannot be opened.
    """
    uri = _address()
    if database := database_of(uri):
        _prepare(database)
    try:
        with impatient():
            mlflow.set_tracking_uri(uri)
            client = mlflow.MlflowClient()
            client.search_experiments(max_results=1)
    except Exception as error:  # any error of the store's driver: the user chose the address
        if database and database.exists():
            raise _broken(database, error) from error
        raise UserError(f"MLFLOW_TRACKING_URI {uri}: cannot open this store ({first_line(error)})") from error
    return client


def _address() -> str:
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{STORE / 'mlflow.db'}"


@contextlib.contextmanager
def impatient() -> Iterator[None]:
    """Let a server answer within `FIRST_CONTACT` seconds in this block; MLflow waits for minutes."""
    limits = {"MLFLOW_HTTP_REQUEST_TIMEOUT": str(FIRST_CONTACT), "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    added = {name: value for name, value in limits.items() if name not in os.environ}
    os.environ |= added
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def database_of(uri: str) -> Path | None:
    """Return the file of a store that is a SQLite database; None for a server or another database."""
    return Path(uri.removeprefix("sqlite:///")).absolute() if uri.startswith("sqlite:///") else None


def _prepare(database: Path) -> None:
    """Create the database if it does not exist, and let the addresses of its artifacts follow it.

    If a process dies while MLflow creates the tables, or two processes create them at once, the database never opens.
    Therefore the tables are created under a lock in a temporary file, which is then renamed.
    """
    folder = database.parent
    try:
        if database.exists() and not (is_writable(database) and relocation.outdated(database)):
            return
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            if database.exists():
                if note := relocation.relocate(database):
                    print_notes([note])
                return
            with files.replacing(database) as temporary:
                store = SqlAlchemyStore(f"sqlite:///{temporary}", (folder / "artifacts").as_uri())
                store.engine.dispose()
    except sqlite3.Error as error:
        raise _broken(database, error) from error
    except OSError as error:
        raise UserError(f"{folder}: cannot record here ({first_line(error)}); make it writable") from error


def _broken(database: Path, error: Exception) -> UserError:
    return UserError(
        f"{database}: not a database of MLflow ({first_line(error)}); restore it from a backup, or move it away and "
        "train again"
    )


def is_writable(database: Path) -> bool:
    """Return whether the database and its folder can be written."""
    return os.access(database, os.W_OK) and os.access(database.parent, os.W_OK)


def check_writable() -> None:
    """Check that the store can be written and, if it is a database file, that its disk has enough space.

    Raises:
        UserError: if not.
    """
    if not (database := database_of(mlflow.get_tracking_uri())):
        return
    if not is_writable(database):
        raise UserError(
            f"{folder()}: cannot record here; make it writable, or set MLFLOW_TRACKING_URI to another store"
        )
    check_space()
    try:
        with contextlib.closing(sqlite3.connect(database, timeout=60)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        raise UserError(
            f"{database}: cannot be written ({first_line(error)}); end the program that locks it"
        ) from error


def check_space(needed: int = 0) -> None:
    """Check that the disk of the store's local files has space for a run, and for `needed` bytes in addition.

    Raises:
        UserError: if not.
    """
    place, megabytes = local_folder(), NEEDED_MEGABYTES + needed // 2**20
    if place.exists() and shutil.disk_usage(place).free < megabytes * 2**20:
        raise UserError(f"{place}: disk full; free at least {megabytes:,} MB")


@contextlib.contextmanager
def recording() -> Iterator[None]:
    """Turn an error of writing in this block into a `UserError`."""
    try:
        yield
    except (OSError, MlflowException) as error:
        full = (isinstance(error, OSError) and error.errno == errno.ENOSPC) or "disk is full" in str(error)
        problem = f"disk full; free at least {NEEDED_MEGABYTES} MB" if full else f"cannot record ({first_line(error)})"
        raise UserError(f"{folder()}: {problem}") from error


def folder() -> str:
    """Return the folder of the store's database file, or the address of its server."""
    uri = mlflow.get_tracking_uri()
    database = database_of(uri)
    return str(database.parent) if database else uri


def local_folder() -> Path:
    """Return a local folder for files beside the store: that of its database, or `STORE` if it is a server."""
    database = database_of(_address())
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
