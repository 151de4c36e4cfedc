"""Measure a served model under load: many simultaneous requests of one example each.

    python -m benchmarks.serving --app lenet5 --requests 1000 --at-once 20

Starts `python -m apps.NAME serve`, which serves the champion. Train the app first.
"""

import collections
import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import tyro
from rich.console import Console

from common import tracking
from common.cli.parsing import plain_errors
from common.errors import UserError
from common.files import ROOT
from common.serving.http import Port


def main(app: str = "lenet5", requests: int = 1000, at_once: int = 20, port: Port = 5002) -> None:
    """Print the number of answered requests and their times.

    Args:
        app: The app whose champion is served.
        requests: Number of requests.
        at_once: Number of simultaneous requests.
        port: Port of this machine.
    """
    served = tracking.served(app, None)
    example = json.loads((served.folder / "serving_input_example.json").read_text())["inputs"]
    one = {name: column[:1] for name, column in example.items()} if isinstance(example, dict) else example[:1]
    body = json.dumps({"inputs": one}).encode()
    with serving(app, port) as (_, output), ThreadPoolExecutor(at_once) as pool:
        if not (address := re.search(r"http://\S+/invocations", output)):
            raise UserError(f"--app {app}: not served; see python -m apps.{app} serve")
        began = time.perf_counter()
        answers = list(pool.map(lambda _: ask(address[0], body), range(requests)))
        seconds = time.perf_counter() - began
    counts = collections.Counter(status for status, _ in answers)
    waits = statistics.quantiles([1000 * wait for _, wait in answers], n=100)
    Console().print(
        f"{served.label}: {requests} requests, {at_once} at once, {seconds:.1f} s, {requests / seconds:.0f} a second"
    )
    Console().print("answers: " + ", ".join(f"{number} of status {status}" for status, number in counts.items()))
    Console().print(f"milliseconds to answer: median {waits[49]:.0f}, 99 of 100 within {waits[98]:.0f}")


@contextlib.contextmanager
def serving(app: str, port: int, **environment: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """Serve an app's model; yields the process and its output until it serves, or all of it if it fails."""
    command = [sys.executable, "-u", "-m", f"apps.{app}", "serve", "--port", str(port)]
    variables = os.environ | environment
    with subprocess.Popen(command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "Ctrl-C" in line:
                break
        try:
            yield process, "".join(lines)
        finally:
            process.terminate()


def ask(address: str, body: bytes) -> tuple[int, float]:
    """Send a request and return the status of the answer and its seconds."""
    began = time.perf_counter()
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            answer.read()
            status = answer.status
    except urllib.error.HTTPError as error:
        status = error.code
    except OSError:
        status = 0  # no answer
    return status, time.perf_counter() - began


if __name__ == "__main__":
    with plain_errors():
        tyro.cli(main)
