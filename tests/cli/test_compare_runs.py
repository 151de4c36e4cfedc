"""`python -m common.cli.compare RUN RUN`: how two runs differ, in words and tables."""

import dataclasses
from typing import Any

import pytest

from common import tracking
from common.cli import compare
from common.data import Data, RawData
from common.errors import UserError
from tests.conftest import few, load_app

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
def data(mnist: RawData, monkeypatch: pytest.MonkeyPatch) -> Data:
    monkeypatch.setenv("COLUMNS", "80")
    return few(mnist, 8, 8, 8)


def record(app: str, data: Data, measured: dict[str, float], tags: dict[str, str] | None = None, **given: Any) -> str:
    one = load_app(app)
    with tracking.run(one, "train", one.settings(**given), data) as run:
        run.log_metrics(measured)
        for name, value in ({"git.commit": "abcdef0123", "git.dirty": "false"} | (tags or {})).items():
            run.tag(name, value)
    return run.id


def rows(shown: str) -> list[list[str]]:
    return [line.split() for line in shown.splitlines()]


def test_settings_code_versions_and_results_that_differ(data: Data, capsys: pytest.CaptureFixture[str]) -> None:
    results = {"best_val_accuracy": 0.9, "test_accuracy": 0.8, "train_seconds": 2.0, "accuracy": 0.1}
    first = record("mnist_mlp", data, results | {"best_accuracy": 0.95})
    tags = {"git.commit": "0123456789", "git.dirty": "true", "version.keras": "3.0.0"}
    second = record("mnist_mlp", data, results | {"best_val_accuracy": 0.95}, tags, epochs=3, hidden=(8, 4))
    compare.main(first, second)
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    lines = rows(shown)
    assert ["settings", "2", "differ:", "epochs,", "hidden"] in lines
    assert ["epochs", str(load_app("mnist_mlp").settings().epochs), "3"] in lines
    assert any(line[0] == "hidden" and line[-2:] == ["8", "4"] for line in lines if line)
    assert f"the same, mnist {data.digest[:8]}" in shown
    assert ["code", "abcdef01", "and", "01234567", "with", "changed", "files"] in lines
    assert any(line[0] == "keras" and line[-1] == "3.0.0" for line in lines if line)
    assert f"validation accuracy 0.9 and 0.95: {second[:8]} is better by 0.05" in shown
    assert "test accuracy 0.8 and 0.8: the same" in shown
    assert "train_seconds" not in shown
    assert ["accuracy", "0.1"] not in lines  # of the last epoch


def test_equal_runs_are_the_same_and_chance_is_named(data: Data, capsys: pytest.CaptureFixture[str]) -> None:
    first = record("mnist_mlp", data, {"best_val_accuracy": 0.9})
    compare.main(first, first)
    shown = capsys.readouterr().out
    assert ["settings", "the", "same"] in rows(shown)
    assert ["versions", "the", "same"] in rows(shown)
    assert "that differ" not in shown
    assert "load or threads" not in shown
    compare.main(first, record("mnist_mlp", data, {"best_val_accuracy": 0.91}))
    assert "load or threads make the difference" in " ".join(capsys.readouterr().out.split())


def test_runs_on_other_data_or_of_another_task_are_not_comparable(
    data: Data, capsys: pytest.CaptureFixture[str]
) -> None:
    first = record("mnist_mlp", data, {"best_val_accuracy": 0.9})
    compare.main(first, record("mnist_mlp", dataclasses.replace(data, digest="another-0"), {"best_val_accuracy": 0.9}))
    shown = capsys.readouterr().out
    assert f"mnist {data.digest[:8]} and mnist another-" in shown
    assert "not comparable: their data differs" in shown
    compare.main(first, record("linear_regression", data, {"best_val_rmse": 0.9}))
    shown = capsys.readouterr().out
    assert "mnist_mlp and linear_regression" in shown
    assert "not comparable: their metrics differ" in shown


def test_a_lower_error_is_better(data: Data, capsys: pytest.CaptureFixture[str]) -> None:
    first = record("linear_regression", data, {"test_rmse": 1.0})
    second = record("linear_regression", data, {"test_rmse": 2.0})
    compare.main(first, second)
    assert f"test rmse 1 and 2: {first[:8]} is better by 1" in capsys.readouterr().out


def test_a_missing_run_and_options_of_a_table_are_errors(data: Data) -> None:
    first = record("mnist_mlp", data, {})
    with pytest.raises(UserError, match="run nothing: there is none"):
        compare.main(first, "nothing")
    with pytest.raises(UserError, match="--markdown"):
        compare.main(first, first, markdown=True)
