"""Every app through the same door: trained, evaluated, asked, loaded in a fresh process, served."""

import csv
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from common.app import Data
from tests.conftest import ROOT, Trained, load_app, questions, run


@pytest.fixture(scope="session")
def data(trained: Trained) -> Data:
    """What the app was trained and tested on."""
    app = load_app(trained.app)
    return app.load_data(app.config())


def test_train_says_what_it_did_where_it_is_and_what_to_type_next(trained: Trained) -> None:
    assert load_app(trained.app).task.objective in trained.output
    for words in ("\ntest ", "examples/s", "version 1", "make ui", "predict", "tuning"):
        assert words in trained.output
    assert trained.errors == "" or "fetching from" in trained.errors


def test_evaluate_repeats_the_figures_of_train(trained: Trained) -> None:
    result = trained("evaluate")
    assert result.returncode == 0, result.stderr
    measured = [line for line in trained.output.splitlines() if line.startswith("test ")]
    assert measured
    for line in measured:
        assert " ".join(line.split()) in " ".join(result.stdout.split())
    assert result.stderr == ""


def test_predict_answers_on_the_terminal_and_in_a_table(trained: Trained, data: Data, tmp_path: Path) -> None:
    asked = questions(data, tmp_path)
    result = trained("predict", *asked)
    assert result.returncode == 0, result.stderr
    assert "version 1" in result.stdout
    table = tmp_path / "predictions.csv"
    result = trained("predict", *asked, "--output", str(table))
    assert result.returncode == 0, result.stderr
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert f"{len(rows)} predictions of {trained.app}-{data.name} version 1 in {table}" in result.stdout
    assert len(rows) >= len(asked)
    assert {"input", *data.outputs} <= set(rows[0])
    for word in asked:
        assert any(row["input"].startswith(word) for row in rows)


def test_the_saved_model_loads_in_a_fresh_process_away_from_the_project(
    trained: Trained, data: Data, tmp_path: Path
) -> None:
    model = next((trained.store / "artifacts").glob("*/models/*/artifacts"))
    np.save(tmp_path / "x.npy", data.test[0][:5])
    script = (
        "import sys, mlflow, numpy as np\n"
        f"model = mlflow.pyfunc.load_model({str(model)!r})\n"
        f"x = np.load({str(tmp_path / 'x.npy')!r}, allow_pickle=True)\n"
        f"np.save({str(tmp_path / 'y.npy')!r}, model.predict(x))\n"
        f"assert {str(ROOT)!r} not in sys.path\n"
    )
    result = run("-c", script, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    trained("predict", *questions(data, tmp_path), "--output", str(tmp_path / "y.json"))
    answers = pd.DataFrame(json.loads((tmp_path / "y.json").read_text())).drop(columns="input")
    expected = load_app(trained.app).task.answers(np.load(tmp_path / "y.npy"), data.outputs)
    pd.testing.assert_frame_equal(answers, expected, check_dtype=False, rtol=1e-4)


@pytest.fixture
def served(trained: Trained, data: Data, tmp_path: Path) -> Iterator[str]:
    """The address of `mlflow models serve` with the champion."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local", "--port", str(port)]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    server = subprocess.Popen(
        [*command, "--model-uri", f"models:/{trained.app}-{data.name}@champion"],
        cwd=tmp_path,
        env=os.environ | {"MLFLOW_TRACKING_URI": trained.uri, "PATH": path},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"{address}/ping", timeout=1).close()
            break
        except OSError:
            assert server.poll() is None, "the server ended"
            time.sleep(0.3)
    yield address
    os.killpg(server.pid, 15)
    server.wait()


def test_mlflow_serves_the_champion_and_refuses_a_wrong_shape(served: str, data: Data) -> None:
    answer = ask(served, data.test[0][:5].tolist())
    predictions = np.array(answer["predictions"])
    assert len(predictions) == 5
    assert predictions.shape[-1] == len(data.outputs)
    with pytest.raises(urllib.error.HTTPError) as error:
        ask(served, [[1, 2, 3]])
    assert error.value.code == 400


def ask(address: str, inputs: object) -> dict[str, Any]:
    content = json.dumps({"inputs": inputs}).encode()
    request = urllib.request.Request(f"{address}/invocations", content, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        answer: dict[str, Any] = json.load(response)
        return answer


def test_the_order_of_an_apps_file_is_the_suites_order(trained: Trained) -> None:
    source = Path(load_app(trained.app).build_model.__code__.co_filename).read_text()
    landmarks = ["(Config):", "def load_data(", "def build_model(", "\napp = App(", '\nif __name__ == "__main__":']
    places = [source.index(landmark) for landmark in landmarks]
    assert places == sorted(places)
    for foreign in ("mlflow", "keras_tuner", "tensorflow", "tyro"):
        assert foreign not in source
