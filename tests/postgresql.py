"""A real PostgreSQL server for tests and benchmarks, on this machine alone, with its data in a temporary folder."""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tests.conftest import free_port

DEBIAN = Path("/usr/lib/postgresql")
"""Debian keeps the programs here, in a folder for each version, and not on PATH."""
USER = "suite"


def programs() -> Path:
    """The folder of PostgreSQL's programs, of the newest version that is installed."""
    found = sorted(DEBIAN.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    program = str(found[-1]) if found else shutil.which("initdb")
    assert program, "no PostgreSQL found; make postgresql"
    return Path(program).parent


@dataclass(frozen=True)
class Server:
    """A server that can be stopped and started again."""

    folder: Path
    port: int

    @property
    def address(self) -> str:
        return f"postgresql://{USER}@127.0.0.1:{self.port}"

    def new_database(self, name: str, template: str = "template1") -> str:
        """Make a copy of a database, by default an empty one, and return its address."""
        with psycopg.connect(f"{self.address}/postgres", autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"'.encode())
        return f"{self.address}/{name}"

    def start(self) -> None:
        options = f"-p {self.port} -h 127.0.0.1 -k '' -c fsync=off -c max_connections=200"
        self.run("pg_ctl", "start", "--wait", "--options", options, "--log", str(self.folder / "log"))

    def stop(self) -> None:
        """Stop it at once; clients lose their connections."""
        self.run("pg_ctl", "stop", "--wait", "--mode", "fast")

    def run(self, program: str, *arguments: str) -> None:
        command = [str(programs() / program), *arguments, "--pgdata", str(self.folder / "data")]
        # A pipe would stay open as long as the server runs.
        with (self.folder / "output").open("w+") as output:
            done = subprocess.run(command, cwd=self.folder, user=owner(), stdout=output, stderr=output, check=False)
            output.seek(0)
            assert done.returncode == 0, output.read()


def owner() -> str | None:
    """The user that the server runs as if these tests run as root, which PostgreSQL refuses."""
    if os.geteuid() != 0:
        return None
    users = {user.pw_name for user in pwd.getpwall()}
    return "postgres" if "postgres" in users else "nobody"


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    """A server that runs during the block."""
    with tempfile.TemporaryDirectory(prefix="suite-postgresql-") as name:
        if user := owner():
            shutil.chown(name, user)
        server = Server(Path(name), free_port())
        server.run("initdb", "--username", USER, "--auth", "trust", "--encoding", "UTF8", "--no-sync")
        server.start()
        try:
            yield server
        finally:
            server.stop()
