"""`train --like` and `tuning.NAME --like`: the settings of a run or a file, and other flags on top."""

import json
from pathlib import Path

import mlflow
import numpy as np
import pytest

from apps.mnist_mlp import Settings, app
from common import recorded, tracking
from common.cli import differences, like
from common.errors import UserError
from common.preprocessing import datasets
from tests.conftest import assert_user_error, run_app
from tests.processes import run_forked
from tests.tuning import tiny_search
from tuning.search import space

SMALL = ("--limit", "1000", "--epochs", "1", "--hidden", "8", "9")


@pytest.mark.usefixtures("store")
def test_a_run_is_repeated_and_flags_change_it(tmp_path: Path) -> None:
    assert run_app("mnist_mlp", "train", *SMALL).returncode == 0
    (first,) = tracking.find({"kind": "train"})
    result = run_app("mnist_mlp", "train", "--like", first.info.run_id, "--seed", "3")
    assert result.returncode == 0, result.stderr
    assert f"note: the settings are those of {first.info.run_id}, except seed" in result.stderr
    again, _ = tracking.find({"kind": "train"})
    assert recorded.config(again.info.run_id) == Settings(limit=1000, epochs=1, hidden=(8, 9), seed=3)
    file = Path(mlflow.artifacts.download_artifacts(f"{first.info.artifact_uri}/settings.json", dst_path=str(tmp_path)))
    assert like.settings(app, str(file)) == recorded.config(first.info.run_id)
    assert_user_error(run_app("lenet5", "train", "--like", first.info.run_id), "--like", "a run of mnist_mlp")
    assert_user_error(run_app("mnist_mlp", "train", "--like", "nothing"), "run nothing: there is none")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "not JSON"),
        ("[1]", "must be one object of settings"),
        ('{"epoch": 3}', "mnist_mlp has no setting epoch; did you mean epochs?"),
        ('{"epochs": "five"}', "epochs is 'five'"),
        ('{"epochs": 0}', "epochs is 0"),
        ('{"optimizer": "adam2"}', "optimizer is 'adam2'"),
    ],
)
def test_a_file_that_does_not_fit_is_one_line(content: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    file.write_text(content)
    with pytest.raises(UserError) as error:
        like.settings(app, str(file))
    assert words in str(error.value)
    assert str(error.value).startswith(f"`like` {file}: ")
    assert "\n" not in str(error.value)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"`like` .*none\.json: cannot be read"):
        like.settings(app, str(tmp_path / "none.json"))


def test_a_search_varies_its_own_settings_and_takes_the_others(tmp_path: Path) -> None:
    assert set(space.searched(tiny_search.space)) >= {"hidden"}
    file = tmp_path / "settings.json"
    file.write_text(json.dumps({"epochs": 7, "learning_rate": 0.5}))
    result = run_forked("tuning.mnist_mlp", "--like", str(file), "--dry-run", COLUMNS="300")
    assert result.returncode == 0, result.stderr
    trials = [line for line in result.stdout.splitlines() if line[:1].isdigit()]
    assert trials
    assert all("--epochs 7" in line for line in trials)
    assert not any("--learning-rate 0.5" in line for line in trials)


@pytest.mark.usefixtures("store")
def test_an_app_trains_from_python_in_three_lines() -> None:
    result = app.train(Settings(epochs=1, limit=1000, hidden=(8,)))
    images = datasets.load("mnist").test[0][:5]
    assert result.model is not None
    np.testing.assert_allclose(result.model.predict(images, verbose=0).sum(axis=1), 1, rtol=1e-5)
    assert recorded.config(str(result.run_id)).hidden == (8,)


def test_all_mistakes_of_a_file_are_reported_at_once(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    file.write_text('{"epoch": 3, "seed": -1, "hidden": [8, "many"], "dropout": 0.1}')
    with pytest.raises(UserError) as error:
        like.settings(app, str(file))
    lines = str(error.value).splitlines()
    assert len(lines) == 3
    for line, words in zip(lines, ("no setting epoch", "seed is -1", "hidden is 'many'"), strict=True):
        assert line.startswith(f"`like` {file}: ")
        assert words in line


@pytest.mark.usefixtures("store")
def test_a_run_is_compared_with_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_app("mnist_mlp", "train", *SMALL).returncode == 0
    (first,) = tracking.find({"kind": "train"})
    file = tmp_path / "settings.json"
    for content, words in (({"seed": 3}, "other settings than mnist_mlp"), ({}, "the same settings as mnist_mlp")):
        file.write_text(json.dumps({"limit": 1000, "epochs": 1, "hidden": [8, 9]} | content))
        differences.show(first.info.run_id, str(file))
        output = capsys.readouterr().out
        assert words in output
        assert ("seed" in output) == ("seed" in content)
    with pytest.raises(UserError, match="both are files"):
        differences.show("one.json", "two.json")
