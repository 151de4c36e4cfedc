"""Serve the store in the MLflow UI on this machine, and open the table of runs: `make ui`."""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from common.cli import browser
from common.cli.parsing import run_program
from common.errors import UserError
from common.serving import http
from common.serving.http import HOST, Port

if TYPE_CHECKING:
    from common import tracking


BROWSED = HOST if sys.platform == "darwin" else "mlflow.localhost"
"""Name of this machine in the browser. MLflow opens an assistant over the table on pages of 127.0.0.1 and localhost.
Names that end in .localhost also mean this machine, but not in Safari."""
ADDRESS = f"http://{BROWSED}:{{}}"
"""Address of the server in the browser; the port is filled in."""
START_SECONDS = 120
"""Longest time that the server may take to start."""


def main(port: Port = 5000) -> None:
    """Serve the recorded runs in the MLflow UI until Ctrl-C.

    Args:
        port: Port of this machine.
    """
    http.listen(port, "choose another: make ui PORT=5001").close()
    print("starting the MLflow UI …", flush=True)
    with served(port) as (pages, server):
        for data, addresses in pages.items():
            print(data)
            for name, address in addresses.items():
                print(f"  {name:8} {address}")
        if not pages:
            print("no runs yet; first: make train")
        print(f"models     {ADDRESS.format(port)}/#/models")
        print("Ctrl-C stops it", flush=True)
        browser.show(next(iter(pages.values()), {}).get("table", ADDRESS.format(port)))
        server.wait()


@contextlib.contextmanager
def served(port: int) -> "Iterator[tuple[tracking.Pages, subprocess.Popen[bytes]]]":
    """Serve the store on `port` of this machine during the block; yields the pages of the UI and the server.

    Raises:
        UserError: if the server does not start; it includes the server's output.
    """
    from common import tracking

    pages = tracking.pages(ADDRESS.format(port))
    hosts = ",".join(f"{name}:{port}" for name in dict.fromkeys((BROWSED, HOST, "localhost")))
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port)]
    command += ["--workers", "1", "--allowed-hosts", hosts, "--cors-allowed-origins", ADDRESS.format(port)]
    with tempfile.TemporaryFile("w+") as log:
        server = subprocess.Popen(command, env=_environment(), stdout=log, stderr=log)
        try:
            if not _answers(server, f"http://{HOST}:{port}/health"):
                log.seek(0)
                raise UserError(f"the MLflow UI did not start: {log.read().strip()}")
            yield pages, server
        finally:
            server.terminate()
            server.wait()


def _environment() -> dict[str, str]:
    """Return an environment in which the server runs as one process and finds its programs beside this Python.

    It has the store's address too: in the arguments, every user of this machine could read the password of a database.
    """
    from common import tracking

    return os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_BACKEND_STORE_URI": tracking.address(),
    }


def _answers(server: subprocess.Popen[bytes], address: str) -> bool:
    """Wait until the server answers; return False if it ends or takes longer than `START_SECONDS`."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=1).close()
        except OSError:
            time.sleep(0.2)
        else:
            return True
    return False


if __name__ == "__main__":
    run_program(main)
