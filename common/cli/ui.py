"""`make ui`: serves the store in the MLflow UI on this machine alone, opened where trained models are compared."""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from common.cli.parsing import plain_errors
from common.errors import UserError
from common.serving import http
from common.serving.http import HOST, Port

if TYPE_CHECKING:
    from common import tracking


ADDRESS = f"http://{HOST}:{{}}"
"""Of the server, but for its port."""
START_SECONDS = 120
"""How long the server may take to answer."""


def main(port: Port = 5000) -> None:
    """Serve the recorded runs in the MLflow UI until Ctrl-C.

    Args:
        port: Where on 127.0.0.1 to serve.
    """
    http.listen(port, "name another: make ui PORT=5001").close()
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
        # Where there is no desktop, webbrowser would start a text browser in this terminal.
        if sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
            webbrowser.open(next(iter(pages.values()), {}).get("table", ADDRESS.format(port)))
        server.wait()


@contextlib.contextmanager
def served(port: int) -> "Iterator[tuple[tracking.Pages, subprocess.Popen[bytes]]]":
    """Serve the store on `port` of this machine meanwhile; gives the pages to look at, and the server.

    Raises:
        UserError: where the server does not start; with what it said.
    """
    from common import tracking

    address = ADDRESS.format(port)
    pages, command = tracking.pages(address), tracking.server_command(HOST, port)
    with tempfile.TemporaryFile("w+") as log:
        server = subprocess.Popen(command, env=_environment(), stdout=log, stderr=log)
        try:
            if not _answers(server, f"{address}/health"):
                log.seek(0)
                raise UserError(f"the MLflow UI did not start: {log.read().strip()}")
            yield pages, server
        finally:
            server.terminate()
            server.wait()


def _environment() -> dict[str, str]:
    """One process instead of fifteen, and the server's own programs found beside this Python."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return os.environ | {"PATH": path, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


def _answers(server: subprocess.Popen[bytes], address: str) -> bool:
    """Whether the server answers before its time is up."""
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
    with plain_errors():
        tyro.cli(main, prog="python -m common.cli.ui")
