"""`make ui`: a server on this machine alone, and addresses that lead to the recorded runs."""

import os
import re
import socket
import subprocess
import sys
import urllib.request

from tests.conftest import ROOT, Trained, assert_user_error, free_port, run


def test_the_ui_answers_at_the_addresses_it_prints_and_stops_with_its_command(trained_mlp: Trained) -> None:
    port = free_port()
    command = [sys.executable, "-u", "-m", "common.cli.ui", "--port", str(port)]
    environment = os.environ | {"MLFLOW_TRACKING_URI": trained_mlp.uri}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        lines = [server.stdout.readline() for _ in range(3)]
        page = re.search(rf"mnist\n  table +(http://127\.0\.0\.1:{port}/#/experiments/\d+/runs\S+)", "".join(lines))
        assert page, lines
        assert "workflowType=machine_learning" in page[1]
        with urllib.request.urlopen(page[1], timeout=10) as answer:
            assert b"<title>MLflow</title>" in answer.read()
        server.terminate()
        assert server.wait(timeout=30) == 143
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_taken_port_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = run("-m", "common.cli.ui", "--port", str(taken.getsockname()[1]))
    assert_user_error(result, "--port", "PORT=")
