"""Every app through the same door: trained, evaluated, asked, loaded in a fresh process, served."""

import dataclasses
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

import keras
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from common import datasets
from common.app import Data
from tests.conftest import ROOT, Trained, load_app, run


@pytest.fixture(scope="session")
def few(trained: Trained) -> Data:
    """The data of the app in turn, its test part cut to ten examples."""
    app = load_app(trained.app)
    data = app.load_data(app.config())
    return dataclasses.replace(data, test=keras.tree.map_structure(lambda part: part[:10], data.test))


def test_train_says_what_it_did_where_it_is_and_what_to_type_next(trained: Trained, few: Data) -> None:
    objective = load_app(trained.app).task.objective
    for words in (objective, f"on {few.name}", "examples/s", "version 1", "make ui", "predict", "tuning"):
        assert words in trained.output
    assert trained.errors == "" or trained.errors.startswith(f"{few.name}: fetching")


def test_evaluate_repeats_the_figures_of_train(trained: Trained) -> None:
    result = trained("evaluate")
    assert result.returncode == 0, result.stderr
    measured = [line for line in trained.output.splitlines() if line.startswith("test ")]
    assert len(measured) >= 2
    for line in measured:
        assert " ".join(line.split()) in " ".join(result.stdout.split())
    assert result.stderr == ""


def test_predict_answers_on_the_terminal_and_in_a_table(trained: Trained, few: Data, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", few.test[0])
    result = trained("predict", str(tmp_path / "x.npy"))
    assert result.returncode == 0, result.stderr
    assert "x.npy[9]" in result.stdout
    assert "version 1" in result.stdout
    table = tmp_path / "predictions.csv"
    result = trained("predict", str(tmp_path / "x.npy"), "--output", str(table))
    assert result.returncode == 0, result.stderr
    assert f"10 predictions of {trained.app}-{few.name} version 1 in {table}" in result.stdout
    answers = pd.read_csv(table, dtype={"class": str})
    assert list(answers["input"]) == [f"{tmp_path / 'x.npy'}[{index}]" for index in range(10)]
    expected = load_app(trained.app).task.answers(answers[list(few.outputs)].to_numpy(), few.outputs)
    pd.testing.assert_frame_equal(answers.drop(columns="input"), expected)


def test_digits_that_went_through_paper_are_recognised(
    trained_mlp: Trained, mnist: datasets.Raw, tmp_path: Path
) -> None:
    """Ten test digits, black on white, 140 pixels high."""
    for index, digit in enumerate(mnist.test[0][:10]):
        Image.fromarray(255 - digit).resize((140, 140)).save(tmp_path / f"{index}.png")
    result = trained_mlp("predict", str(tmp_path), "--output", str(tmp_path / "predictions.csv"))
    assert result.returncode == 0, result.stderr
    answers = pd.read_csv(tmp_path / "predictions.csv", dtype={"class": str})
    assert sum(answers["class"] == list("7210414959")) >= 6  # after one epoch


def test_the_saved_model_loads_in_a_fresh_process_away_from_the_project(
    trained: Trained, few: Data, tmp_path: Path
) -> None:
    model = next((trained.store / "artifacts").glob("*/models/*/artifacts"))
    np.save(tmp_path / "x.npy", few.test[0])
    script = (
        "import sys, mlflow, numpy as np\n"
        f"model = mlflow.pyfunc.load_model({str(model)!r})\n"
        f"np.save({str(tmp_path / 'y.npy')!r}, model.predict(np.load({str(tmp_path / 'x.npy')!r})))\n"
        f"assert {str(ROOT)!r} not in sys.path\n"
    )
    result = run("-c", script, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    trained("predict", str(tmp_path / "x.npy"), "--output", str(tmp_path / "y.json"))
    entries = json.loads((tmp_path / "y.json").read_text())
    expected = [[entry[output] for output in few.outputs] for entry in entries]
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), expected, rtol=1e-5)


@pytest.fixture
def served(trained: Trained, few: Data, tmp_path: Path) -> Iterator[str]:
    """The address of `mlflow models serve` with the champion."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local", "--port", str(port)]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    server = subprocess.Popen(
        [*command, "--model-uri", f"models:/{trained.app}-{few.name}@champion"],
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


def test_mlflow_serves_the_champion_and_refuses_a_wrong_shape(served: str, few: Data) -> None:
    answer = ask(served, few.test[0].tolist())
    assert np.array(answer["predictions"]).shape == (10, len(few.outputs))
    with pytest.raises(urllib.error.HTTPError) as error:
        ask(served, [[1, 2, 3]])
    assert error.value.code == 400


def ask(address: str, inputs: object) -> dict[str, list[list[float]]]:
    content = json.dumps({"inputs": inputs}).encode()
    request = urllib.request.Request(f"{address}/invocations", content, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        answer: dict[str, list[list[float]]] = json.load(response)
        return answer


def test_the_order_of_an_apps_file_is_the_suites_order(trained: Trained) -> None:
    source = Path(load_app(trained.app).build_model.__code__.co_filename).read_text()
    landmarks = ["(Config):", "def load_data(", "def build_model(", "\napp = App(", '\nif __name__ == "__main__":']
    places = [source.index(landmark) for landmark in landmarks]
    assert places == sorted(places)
    for foreign in ("mlflow", "keras_tuner", "tensorflow", "tyro"):
        assert foreign not in source
