"""The store: the database or server that keeps runs and models."""

import contextlib
import errno
import functools
import importlib.metadata
import logging
import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import sqlalchemy
from filelock import FileLock
from mlflow.exceptions import MlflowException
from mlflow.store.db.db_types import DATABASE_ENGINES
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from common import files
from common.errors import UserError, first_line, print_notes
from common.files import ROOT
from common.tracking import relocation

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


STORE = ROOT / "mlruns"
NEEDED_MEGABYTES = 100
"""Free disk space that a run needs: for a model, its figures and the database's journal."""

OUTAGES = (OSError, MlflowException)
"""Errors of a store that is full or does not answer."""
FIRST_CONTACT = 10
"""Seconds within which a server must answer at first, and while a network trains."""
LOCKED = 120
"""Seconds to wait while others write to a SQLite database; MLflow's 20 are too few for eight trainings on two cores."""
CREATING, WRITING = 0x6B6572617301, 0x6B6572617302
"""Numbers of the suite's advisory locks in a PostgreSQL database."""
TEAM = "pip install -r requirements-team.txt"
"""Advice for a missing driver."""
PACKAGES = {"s3": "boto3", "gs": "google-cloud-storage"}
"""Packages with which MLflow reaches an object storage."""

logging.getLogger("mlflow").setLevel(logging.CRITICAL)  # MLflow also raises the errors that it logs
logging.getLogger("alembic").setLevel(logging.ERROR)


@sqlalchemy.event.listens_for(sqlalchemy.Engine, "before_cursor_execute", retval=True)
def _wait_longer(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> tuple[str, Any]:
    return statement.replace("busy_timeout = 20000", f"busy_timeout = {LOCKED}000"), parameters


def connect() -> mlflow.MlflowClient:
    """Return a client of the store. A database file is created if it does not exist.

    Raises:
        UserError: if the store cannot be opened.
    """
    uri = address()
    if database := database_of(uri):
        _prepare(database)
    try:
        with impatient():
            if _is_postgresql(uri):
                _create_tables(uri)
            mlflow.set_tracking_uri(uri)
            client = mlflow.MlflowClient()
            client.search_experiments(max_results=1)
    except ModuleNotFoundError as error:
        raise UserError(f"MLFLOW_TRACKING_URI {_shown(uri)}: needs the package {error.name}; {TEAM}") from error
    except Exception as error:  # any error of the store's driver: the user chose the address
        if database and database.exists():
            raise _broken(database, error) from error
        raise UserError(f"MLFLOW_TRACKING_URI {_shown(uri)}: cannot open this store ({first_line(error)})") from error
    return client


def address() -> str:
    """Return the address of the store: MLFLOW_TRACKING_URI, or a database file in `STORE`."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{STORE / 'mlflow.db'}"


def _shown(uri: str) -> str:
    """Return the address of a store without its password."""
    return re.sub(r"(://[^/@:]*):[^/@]*@", r"\1:***@", uri)


def _is_postgresql(uri: str) -> bool:
    return re.match(r"postgres(ql)?(\+\w+)?://", uri) is not None


@functools.cache
def _create_tables(uri: str) -> None:
    """Create the tables of a PostgreSQL database if they do not exist; MLflow fails if two processes do so at once."""
    with _advisory_lock(uri, CREATING):
        mlflow.MlflowClient(uri)


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
    except OUTAGES as error:
        full = (isinstance(error, OSError) and error.errno == errno.ENOSPC) or "disk is full" in str(error)
        reason = getattr(error.__cause__, "orig", error)  # the database's own words
        problem = f"disk full; free at least {NEEDED_MEGABYTES} MB" if full else f"cannot record ({first_line(reason)})"
        raise UserError(f"{folder()}: {problem}") from error


def folder() -> str:
    """Return the folder of the store's database file, or the address of its server."""
    uri = mlflow.get_tracking_uri()
    database = database_of(uri)
    return str(database.parent) if database else _shown(uri)


def artifacts(experiment: str) -> str | None:
    """Return the address at which a new experiment keeps its artifacts; None for a server, which has its own.

    It is beside a SQLite database. For another database it is below MLFLOW_DEFAULT_ARTIFACT_ROOT, a folder or the
    address of an object storage, or else below `STORE`, on this machine.

    Raises:
        UserError: if the driver of the object storage is missing.
    """
    uri = mlflow.get_tracking_uri()
    if database := database_of(uri):
        return (database.parent / "artifacts" / experiment).as_uri()
    if re.split(r"[:+]", uri)[0] not in DATABASE_ENGINES:
        return None
    root = os.environ.get("MLFLOW_DEFAULT_ARTIFACT_ROOT") or str(STORE / "artifacts")
    if "://" not in root:
        return (Path(root).absolute() / experiment).as_uri()
    if package := PACKAGES.get(root.partition(":")[0]):
        try:
            importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError as error:
            raise UserError(f"MLFLOW_DEFAULT_ARTIFACT_ROOT {root}: needs the package {package}; {TEAM}") from error
    return f"{root.rstrip('/')}/{experiment}"


def local_folder() -> Path:
    """Return a local folder for files beside the store: that of its database, or `STORE` if it is a server."""
    database = database_of(address())
    return database.parent if database else STORE


def lock() -> contextlib.AbstractContextManager[Any]:
    """Return a lock that one process at a time holds in this store.

    It protects a SQLite database and, on all machines, a PostgreSQL database. For a server or another database it
    protects from processes of this machine only.
    """
    uri = mlflow.get_tracking_uri()
    if _is_postgresql(uri):
        return _advisory_lock(uri, WRITING)
    database = database_of(uri)
    place = database.parent if database else STORE
    place.mkdir(parents=True, exist_ok=True)
    return FileLock(place / ".lock")


@contextlib.contextmanager
def _advisory_lock(uri: str, number: int) -> Iterator[None]:
    """Hold a lock of a PostgreSQL database in this block. The database releases it if this process dies."""
    limit = {"connect_timeout": FIRST_CONTACT}
    engine = sqlalchemy.create_engine(
        uri, poolclass=sqlalchemy.NullPool, isolation_level="AUTOCOMMIT", connect_args=limit
    )
    try:
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text(f"SELECT pg_advisory_lock({number})"))
            yield
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise MlflowException(f"the database does not answer: {first_line(error)}") from error
