"""Answers "none of these": of a network that has a probability of no class, as LeNet-5 of 1998."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from common import tasks, tracking
from common.preprocessing import datasets
from common.serving import application
from tests.conftest import Trained, load_app

RNG = np.random.default_rng(0)
CERTAIN = RNG.uniform(0.2, 0.9, (1000, 1)) * np.array([[0.9, 0.1]])
"""Probabilities of two classes; the rest is that of no class."""
UNLIKE = np.array([[1e-9, 1e-12]])


def test_the_threshold_rejects_two_percent_of_the_validation_examples() -> None:
    task = tasks.Classification(rejects=True).choose_threshold(np.zeros(1000, int), lambda: CERTAIN)
    answers = task.answers(np.concatenate([CERTAIN, UNLIKE]), ["round", "square"])
    assert (answers["class"][:-1] == "none of these").mean() == pytest.approx(0.02, abs=0.001)
    assert list(answers.iloc[-1][["class", "round"]]) == ["none of these", 1e-9]
    assert answers["probability"].iloc[-1] == pytest.approx(1)
    assert task.chosen()["rejected_validation"] == pytest.approx(0.02, abs=0.001)
    assert list(task.decide(UNLIKE)) == [0]  # the metrics are those of the classes


def test_a_softmax_rejects_nothing() -> None:
    task = tasks.Classification(rejects=True)
    softmax = np.array([[0.6, 0.4 - 1e-6]])
    assert task.choose_threshold(np.zeros(1, int), lambda: softmax) == task


def test_lenet5_of_1998_says_none_of_these_and_train_says_when(trained_lenet: Trained, tmp_path: Path) -> None:
    said = " ".join(trained_lenet.output.split())
    assert "none of these the answer of predict if the class has a probability below" in said
    assert "as for 2.0 % of the validation examples" in said
    digits, written = tmp_path / "digits.npy", tmp_path / "answers.csv"
    np.save(digits, datasets.load("mnist").test[0][:1000])
    result = trained_lenet("predict", str(digits), "--output", str(written))
    assert result.returncode == 0, result.stderr
    assert 0 < (pd.read_csv(written)["class"] == "none of these").mean() < 0.1
    assert "none of these" not in trained_lenet("evaluate").stdout


def test_a_served_model_and_an_export_have_the_same_rule(
    trained_lenet: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", trained_lenet.uri)
    served = tracking.served("lenet5", None)
    assert 0 < served.task["rejection"] < 1  # outputs.json of an export has all values of the task
    unlike = np.full((1, 10), 1e-300)
    answers = json.loads(application._named(load_app("lenet5").task_of(served), unlike, served.outputs))
    assert answers["answers"][0]["class"] == "none of these"
