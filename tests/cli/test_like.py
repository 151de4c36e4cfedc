"""`train --like RUN|FILE` and `tuning.NAME --like FILE`: settings from a run or a file, flags on top."""

import json
from pathlib import Path

import pytest

from common import recorded, tracking
from common.cli import like
from common.errors import UserError
from tests.conftest import assert_user_error, load_app, run_app
from tests.tuning.searching import Store


def newest(app: str) -> str:
    return str(tracking.find({"kind": "train", "app": app})[0].info.run_id)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "small.json"


@pytest.mark.usefixtures("store")
def test_a_run_is_repeated_from_its_id_and_from_its_file_with_flags_on_top(file: Path) -> None:
    assert run_app("perceptron", "train", "--epochs", "2", "--learning-rate", "0.5").returncode == 0
    first = newest("perceptron")
    result = run_app("perceptron", "train", "--like", first, "--epochs", "3")
    assert result.returncode == 0, result.stderr
    assert f"note: settings of run {first}, with --epochs 3\n" in result.stderr
    assert (recorded.config(newest("perceptron")).epochs, recorded.config(newest("perceptron")).learning_rate) == (
        3,
        0.5,
    )
    file.write_text(json.dumps(tracking.settings(tracking.get(first))))
    result = run_app("perceptron", "train", f"--like={file}")
    assert result.returncode == 0, result.stderr
    assert f"note: settings of {file}\n" in result.stderr
    assert recorded.config(newest("perceptron")) == recorded.config(first)
    assert newest("perceptron") != first
    assert_user_error(run_app("mnist_mlp", "train", "--like", first), f"run {first}: a train of perceptron, not")
    assert_user_error(run_app("perceptron", "train", "--like", "0123"), "run 0123: there is none")


def test_a_file_may_leave_out_settings_and_has_tuples_as_lists(file: Path) -> None:
    file.write_text('{"hidden": [8, 4], "learning_rate": 1, "backend": "jax"}')
    source = like.find(load_app("mnist_mlp"), ["train", "--like", str(file)])
    assert source
    expected = load_app("mnist_mlp").settings(hidden=(8, 4), learning_rate=1.0, backend="jax")
    assert source.settings == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"epoch": 5}', ["mnist_mlp has no setting epoch; did you mean epochs?"]),
        ('{"pooling": "max"}', ["mnist_mlp has no setting pooling"]),  # of another app
        ('{"epochs": "five"}', ["epochs should be a valid integer", 'not "five"']),
        ('{"epochs": 2.5}', ["epochs should be a valid integer", "not 2.5"]),
        ('{"epochs": 0}', ["epochs should be greater than or equal to 1, not 0"]),
        ('{"hidden": [8, 0]}', ["hidden should be greater", "not 0"]),
        ('{"optimizer": "adamm"}', ["optimizer should be", "adam", 'not "adamm"']),
        ('{"epochs": 5,\n}', ["not JSON, line 2, column 1"]),
        ("[5]", ["must be an object"]),
        ("", ["not JSON, line 1"]),
    ],
)
def test_a_mistake_in_a_file_is_one_line(text: str, words: list[str], file: Path) -> None:
    file.write_text(text)
    assert_user_error(run_app("mnist_mlp", "train", "--like", str(file)), f"--like {file}: ", *words)


def test_all_mistakes_of_a_file_are_reported_and_a_missing_file_is_named(file: Path) -> None:
    file.write_text('{"epoch": 5, "optimiser": "adam"}')
    result = run_app("mnist_mlp", "train", "--like", str(file))
    assert (result.returncode, len(result.stderr.splitlines())) == (2, 2)
    assert "did you mean optimizer?" in result.stderr
    assert_user_error(run_app("mnist_mlp", "train", "--like", "no/such.json"), "--like no/such.json: no such file")
    assert_user_error(run_app("mnist_mlp", "train", "--like", "such.json"), "--like such.json: no such file")


def test_an_app_checks_its_own_settings_of_a_file(file: Path) -> None:
    file.write_text('{"epochs": 5, "learning_rate": NaN}')
    assert_user_error(run_app("mnist_mlp", "train", "--like", str(file)), str(file), "learning_rate")


def test_a_search_fixes_the_settings_of_a_file(file: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "mlruns")
    file.write_text('{"hidden": [8], "dropout": 0.1}')
    status, output, errors = store.search("--like", str(file), "--dry-run")
    assert status == 0, errors
    assert output.count("--hidden 8 ") == 5
    assert output.count("--dropout 0.1") == 5
    status, output, errors = store.search(f"--like={file}", "--dry-run", "--dropout", "0.3")
    assert status == 0, errors
    assert output.count("--dropout 0.3") == 5
    file.write_text('{"hidden": [8], "learning_rate": 0.01}')
    status, _, errors = store.search("--like", str(file), "--dry-run")
    assert (status, errors.count("\n")) == (2, 1)
    assert "fixes every setting that is searched; leave out some of learning_rate, hidden" in errors
    file.write_text('{"seed": 1}')
    status, _, errors = store.search("--like", str(file), "--dry-run")
    assert (status, errors) == (
        2,
        "error: --like: the search has an option --seed of its own; leave it out of the file\n",
    )
    file.write_text('{"droput": 0.1}')
    status, _, errors = store.search("--like", str(file), "--dry-run")
    assert (status, errors.count("\n")) == (2, 1)
    assert "no setting droput; did you mean dropout?" in errors


def test_arguments_keep_their_order_behind_those_of_the_file(file: Path) -> None:
    file.write_text('{"hidden": [8, 4], "limit": 10}')
    arguments, fixed = like.expand(load_app("mnist_mlp"), ["--trials", "3", "--like", str(file), "--seed", "1"])
    assert arguments == ["--hidden", "8", "4", "--limit", "10", "--trials", "3", "--seed", "1"]
    assert fixed == {"hidden": (8, 4), "limit": 10}
    with pytest.raises(UserError, match="no such file"):
        like.expand(load_app("mnist_mlp"), ["--like", "nothing"])
