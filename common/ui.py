"""`make ui`: serves the store in the MLflow UI on this machine alone, opened where trained models are compared."""

import os
import subprocess
import sys
import tempfile
import time
import urllib.request
import webbrowser
from pathlib import Path
from typing import IO, Annotated

import tyro
from annotated_types import Ge, Lt

from common import cli, ports
from common.errors import UserError

START_SECONDS = 60
"""How long the server may take to answer."""


def main(port: Annotated[int, Ge(1), Lt(2**16)] = 5000) -> None:
    """Serve the recorded runs in the MLflow UI until Ctrl-C.

    Args:
        port: Where on 127.0.0.1 to serve.
    """
    ports.listen(port, "name another: make ui PORT=5001").close()
    from common import tracking

    print("starting the MLflow UI …", flush=True)
    pages = tracking.pages(f"http://{ports.HOST}:{port}")
    with tempfile.TemporaryFile("w+") as log:
        _serve(tracking.server_command(ports.HOST, port), f"http://{ports.HOST}:{port}", pages, log)


def _serve(command: list[str], address: str, pages: dict[str, str], log: IO[str]) -> None:
    """Run the server until it ends or Ctrl-C; what it says goes into `log`, which is shown if it does not start."""
    server = subprocess.Popen(command, env=_environment(), stdout=log, stderr=log)
    try:
        if not _answers(server, f"{address}/health"):
            log.seek(0)
            raise UserError(f"the MLflow UI did not start: {log.read().strip()}")
        for name, page in pages.items():
            print(f"{name:15} {page}")
        print("Ctrl-C stops it", flush=True)
        # Where there is no desktop, webbrowser would start a text browser in this terminal.
        if sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
            webbrowser.open(next(iter(pages.values())))
        server.wait()
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
    with cli.plain_errors():
        tyro.cli(main, prog="python -m common.ui")
