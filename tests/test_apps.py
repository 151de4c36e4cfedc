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

import numpy as np
import pytest
from PIL import Image

from common import datasets
from tests.conftest import ROOT, Trained, load_app, run


@pytest.fixture(scope="session")
def digits(mnist: datasets.Raw, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten test digits, black on white, 140 pixels high."""
    folder = tmp_path_factory.mktemp("digits")
    for index, digit in enumerate(mnist.test[0][:10]):
        Image.fromarray(255 - digit).resize((140, 140)).save(folder / f"{index}.png")
    return folder


def test_train_says_what_it_did_where_it_is_and_what_to_type_next(trained: Trained) -> None:
    assert "val_accuracy" in trained.output
    for words in ("test accuracy", "95 % interval", "examples/s", "version 1", "make ui", "predict", "tuning"):
        assert words in trained.output
    assert trained.errors == "" or trained.errors.startswith("mnist: fetching")


def test_evaluate_repeats_the_figures_of_train(trained: Trained) -> None:
    result = trained("evaluate")
    assert result.returncode == 0, result.stderr
    measured = [line for line in trained.output.splitlines() if line.startswith("test ")]
    assert len(measured) == 2
    for line in measured:
        assert " ".join(line.split()) in " ".join(result.stdout.split())
    assert result.stderr == ""


def test_predict_answers_on_the_terminal_and_in_a_table(trained: Trained, digits: Path, tmp_path: Path) -> None:
    result = trained("predict", str(digits / "0.png"), str(digits / "1.png"))
    assert result.returncode == 0, result.stderr
    assert "0.png" in result.stdout
    assert "version 1" in result.stdout
    table = tmp_path / "predictions.csv"
    result = trained("predict", str(digits), "--output", str(table))
    assert result.returncode == 0, result.stderr
    assert f"10 predictions of {trained.app}-mnist version 1 in {table}" in result.stdout
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["input", "class", "probability", *"0123456789"]
    assert len(rows) == 10
    for row in rows:
        assert max("0123456789", key=lambda name: float(row[name])) == row["class"]
    right = sum(row["class"] == label for row, label in zip(rows, "7210414959", strict=True))
    assert right >= 6  # one epoch, and pictures that went through paper


def test_the_saved_model_loads_in_a_fresh_process_away_from_the_project(trained: Trained, tmp_path: Path) -> None:
    model = next((trained.store / "artifacts").glob("*/models/*/artifacts"))
    np.save(tmp_path / "x.npy", few_pictures())
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
    expected = [[entry[digit] for digit in "0123456789"] for entry in entries]
    assert [entry["class"] for entry in entries] == [str(np.argmax(row)) for row in expected]
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), expected, rtol=1e-5)


def few_pictures() -> np.ndarray:
    return datasets.load("mnist").test[0][:5]


@pytest.fixture
def served(trained: Trained, tmp_path: Path) -> Iterator[str]:
    """The address of `mlflow models serve` with the champion."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local", "--port", str(port)]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    server = subprocess.Popen(
        [*command, "--model-uri", f"models:/{trained.app}-mnist@champion"],
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


def test_mlflow_serves_the_champion_and_refuses_a_wrong_shape(served: str) -> None:
    answer = ask(served, few_pictures().tolist())
    assert np.array(answer["predictions"]).shape == (5, 10)
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
