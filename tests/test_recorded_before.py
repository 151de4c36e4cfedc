"""Runs and models that were recorded on 2026-11-26 load, answer and compare as they did.

`recorded/store.tar.xz` is a store that the code of that day wrote: each app trained on a few examples,
baselines and a search, without pictures; `git.commit` among the tags names it. `recorded/expected.json` has the answers
of the same code. Neither is to be made again: they stand for the stores that users have.
"""

import contextlib
import dataclasses
import json
import sqlite3
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from common import legacy, recorded, tracking, training
from common.cli import compare
from tests.conftest import ROOT, load_app, run_app

FOLDER = ROOT / "tests" / "recorded"
EXPECTED: dict[str, Any] = json.loads((FOLDER / "expected.json").read_text())
MODELS: dict[str, Any] = EXPECTED["models"]
PLACE = "/recorded/mlruns"
"""Where the store was when it was written."""
ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
)
"""Columns of MLflow's database that say where files are."""


def models(kind: str) -> pytest.MarkDecorator:
    """The models of which something of this `kind` is known, in turn."""
    chosen = [run for run, known in MODELS.items() if known[kind] is not None]
    return pytest.mark.parametrize("run", chosen, ids=[f"{MODELS[run]['app']}-{run[:4]}" for run in chosen])


def unpack(folder: Path) -> Path:
    """The recorded store, in `folder`."""
    with tarfile.open(FOLDER / "store.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    store = folder / "mlruns"
    with contextlib.closing(sqlite3.connect(store / "mlflow.db")) as database, database:
        for table, column in ADDRESSES:
            database.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (PLACE, str(store)))
    return store


@pytest.fixture(scope="module", autouse=True)
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The recorded store for all tests here; its paths of data are relative to the project."""
    store = unpack(tmp_path_factory.mktemp("before"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store}/mlflow.db")
        patch.chdir(ROOT)
        yield store


def close(found: Any, expected: Any, path: str = "") -> None:
    """See that JSON is the same, its numbers nearly.

    An attribution may be a difference of two forecasts of about 2 in 32 bits: another processor rounds each by 2e-7.
    """
    if isinstance(expected, dict):
        assert list(found) == list(expected), path
        for name in expected:
            close(found[name], expected[name], f"{path}/{name}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), path
        for index, (one, other) in enumerate(zip(found, expected, strict=True)):
            close(one, other, f"{path}/{index}")
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-4, abs=5e-6), path
    else:
        assert found == expected, path


def as_json(table: pd.DataFrame) -> Any:
    return json.loads(table.to_json(orient="records", double_precision=15))


def evaluated(run: str, app: str) -> dict[str, float]:
    return training.evaluate(load_app(app), run)[1].metrics


def predicted(run: str, app: str, asked: list[str], folder: Path) -> Any:
    result = run_app(app, "predict", *asked, "--model", run, "--output", str(folder / "x.json"))
    assert result.returncode == 0, result.stderr
    return json.loads((folder / "x.json").read_text())


def explained(run: str, app: str, asked: list[str], folder: Path) -> Any:
    """The tables that `explain` writes, by name."""
    result = run_app(app, "explain", *asked, "--model", run, "--output", str(folder / "x"))
    assert result.returncode == 0, result.stderr
    return {file.stem: as_json(pd.read_csv(file)) for file in sorted((folder / "x").glob("*.csv"))}


def settings(run: str) -> Any:
    """The settings of a run as JSON has them."""
    return json.loads(json.dumps(dataclasses.asdict(recorded.config(run))))


def compared(data: str, folder: Path) -> list[str]:
    """Ids of the finished runs on a data set, as the leaderboards order them."""
    compare.main(data, kind=("train", "baseline", "trial", "fold", "search"), csv=folder / "runs.csv")
    return list(pd.read_csv(folder / "runs.csv")["id"])


@models("figures")
def test_a_model_measures_what_it_did(run: str) -> None:
    close(evaluated(run, MODELS[run]["app"]), MODELS[run]["figures"])


@models("answers")
def test_a_model_answers_as_it_did(run: str, tmp_path: Path) -> None:
    close(predicted(run, MODELS[run]["app"], MODELS[run]["asked"], tmp_path), MODELS[run]["answers"])


@models("attributions")
def test_a_models_answers_are_explained_as_they_were(run: str, tmp_path: Path) -> None:
    close(explained(run, MODELS[run]["app"], MODELS[run]["explained"], tmp_path), MODELS[run]["attributions"])


@models("importance")
def test_a_tables_model_is_explained_as_it_was(run: str, tmp_path: Path) -> None:
    close(explained(run, MODELS[run]["app"], [], tmp_path), MODELS[run]["importance"])


@pytest.mark.parametrize("run", EXPECTED["settings"])
def test_a_run_has_the_settings_it_was_made_with(run: str) -> None:
    then, now = legacy.settings(EXPECTED["settings"][run]), settings(run)
    assert {name: now[name] for name in then} == then


@pytest.mark.parametrize("data", EXPECTED["compared"])
def test_runs_compare_as_they_did(data: str, tmp_path: Path) -> None:
    assert compared(data, tmp_path) == EXPECTED["compared"][data]


def test_runs_have_pages_and_models_stay_champions() -> None:
    assert set(tracking.pages("http://127.0.0.1")) == set(EXPECTED["compared"])
    assert {app: len(list(tracking.champions(app))) for app in EXPECTED["champions"]} == EXPECTED["champions"]


def test_a_worse_model_of_today_does_not_replace_a_champion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{unpack(tmp_path)}/mlflow.db")
    result = run_app("perceptron", "train", "--epochs", "1", "--learning-rate", "1e-9")
    assert result.returncode == 0, result.stderr
    assert "perceptron-iris version 2, champion stays version 1" in result.stdout
