"""`make ui`: a server on this machine alone, and addresses that lead to the recorded runs."""

import os
import re
import socket
import subprocess
import sys
import urllib.request

from common.cli import ui
from tests.conftest import ROOT, Trained, assert_user_error, free_port, run


def test_the_ui_answers_at_the_addresses_it_prints_and_stops_with_its_command(trained_mlp: Trained) -> None:
    port = free_port()
    command = [sys.executable, "-u", "-m", "common.cli.ui", "--port", str(port)]
    environment = os.environ | {"MLFLOW_TRACKING_URI": trained_mlp.uri}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        lines = [server.stdout.readline() for _ in range(3)]
        page = re.search(
            rf"mnist\n  table +({re.escape(ui.ADDRESS.format(port))}/#/experiments/\d+/runs\S+)", "".join(lines)
        )
        assert page, lines
        assert "workflowType=machine_learning" in page[1]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
            assert b"<title>MLflow</title>" in answer.read()
        assert trained_mlp.uri not in arguments_of_children(server.pid)
        server.terminate()
        assert server.wait(timeout=30) == 143
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def arguments_of_children(process: int) -> str:
    """The command lines of the processes that a process has started, which every user of the machine can read."""
    return subprocess.run(["ps", "-o", "args=", "--ppid", str(process)], capture_output=True, text=True).stdout


def test_a_taken_port_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = run("-m", "common.cli.ui", "--port", str(taken.getsockname()[1]))
    assert_user_error(result, "--port", "PORT=")
