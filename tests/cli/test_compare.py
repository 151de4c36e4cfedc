"""The leaderboard: the order of its runs, which of them compare, and its formats."""

import dataclasses
import json
from pathlib import Path

import mlflow
import pandas as pd
import pytest

from common import tracking
from common.app import App
from common.cli import compare
from common.data import Data, RawData
from common.errors import UserError
from common.tracking.runs import Kind
from tests.conftest import assert_user_error, few, load_app, run

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
def data(mnist: RawData, monkeypatch: pytest.MonkeyPatch) -> Data:
    """A few digits."""
    monkeypatch.setenv("COLUMNS", "200")
    return few(mnist, 8, 8, 8)


VIEWS = {"leaderboard": "tags.kind != 'trial' AND tags.kind != 'fold'", "trials": "tags.kind = 'trial'"}
"""The runs that the pages of the UI show."""


def record(app: App, data: Data, kind: Kind = "train", seed: int = 0, **measured: float) -> None:
    """A finished run that measured this."""
    with tracking.run(app, kind, app.settings(seed=seed), data) as recorded:
        recorded.log_metrics(measured)


def column(board: tracking.Leaderboard, name: str) -> list[object]:
    return list(board.runs[name])


def test_runs_are_ordered_by_validation_accuracy_not_test_accuracy(
    data: Data, capsys: pytest.CaptureFixture[str]
) -> None:
    mlp, lenet = load_app("mnist_mlp"), load_app("lenet5")
    record(mlp, data, best_val_accuracy=0.91, test_accuracy=0.99, trainable_parameters=7850, train_seconds=1.26)
    record(lenet, data, best_val_accuracy=0.97, test_accuracy=0.95)
    record(mlp, data, "baseline", best_val_accuracy=0.93, test_accuracy=0.92)
    record(mlp, data, "trial", best_val_accuracy=0.99)
    with pytest.raises(ZeroDivisionError), tracking.run(mlp, "train", mlp.settings(), data) as failed:
        failed.log_metrics({"best_val_accuracy": 1.0, "test_accuracy": 1 / 0})
    (board,) = tracking.leaderboards("mnist", ("train", "baseline"))
    assert column(board, "run") == ["lenet5", "mnist_mlp baseline", "mnist_mlp"]
    assert column(board, "kind") == ["train", "baseline", "train"]
    assert column(board, "val_accuracy") == [0.97, 0.93, 0.91]
    assert column(board, "test_accuracy") == [0.95, 0.92, 0.99]
    assert column(board, "parameters")[2] == 7850
    compare.main("mnist")
    shown = capsys.readouterr().out
    assert "by val_accuracy, the highest first" in shown
    _, names, *rows = [line.split() for line in shown.splitlines() if set(line) - set(" ─")]
    assert names == ["run", "kind", "val_accuracy", "test_accuracy", "seconds", "parameters"]
    assert rows == [
        ["lenet5", "train", "0.97", "0.95"],
        ["mnist_mlp", "baseline", "baseline", "0.93", "0.92"],
        ["mnist_mlp", "train", "0.91", "0.99", "1.3", "7850"],
    ]
    (tried,) = tracking.leaderboards("mnist", ("trial",))
    assert column(tried, "val_accuracy") == [0.99]


def test_lowest_validation_error_first_and_unmeasured_runs_last(data: Data) -> None:
    app = load_app("linear_regression")
    record(app, data, best_val_rmse=4.0, test_rmse=2.0)
    record(app, data, "baseline", test_rmse=1.0)
    record(app, data, seed=1, best_val_rmse=3.0, test_rmse=2.5)
    (board,) = tracking.leaderboards("mnist", ("train", "baseline"))
    assert column(board, "val_rmse")[:2] == [3.0, 4.0]
    assert column(board, "run")[2] == "linear_regression baseline"
    assert column(board, "test_rmse") == [2.5, 2.0, 1.0]
    assert column(board, "settings that differ")[:2] == ["seed 1", "seed 0"]


def test_other_data_or_another_metric_gets_its_own_leaderboard(data: Data, capsys: pytest.CaptureFixture[str]) -> None:
    mlp, regression = load_app("mnist_mlp"), load_app("linear_regression")
    record(mlp, data, best_val_accuracy=0.9)
    record(mlp, dataclasses.replace(data, digest="another-0"), best_val_accuracy=0.95)
    record(regression, data, best_val_rmse=1.0)
    boards = tracking.leaderboards("mnist", ("train",))
    assert {(board.digest, board.metric, len(board.runs)) for board in boards} == {
        (data.digest, "accuracy", 1),
        ("another-0", "accuracy", 1),
        (data.digest, "rmse", 1),
    }
    compare.main("mnist")
    shown = capsys.readouterr().out
    assert "are not comparable" in shown
    assert shown.count("by val_accuracy") == 2


def test_the_leaderboard_as_csv_and_in_markdown(data: Data, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    app = load_app("mnist_mlp")
    for value in (1 / 3, 2 / 3):
        record(app, data, best_val_accuracy=value, test_accuracy=value)
    path = tmp_path / "runs.csv"
    compare.main("mnist", csv=path)
    assert capsys.readouterr().out == f"2 runs on mnist in {path}\n"
    table = pd.read_csv(path)
    assert list(table["val_accuracy"]) == [2 / 3, 1 / 3]
    (board,) = tracking.leaderboards("mnist", ("train",))
    assert list(table["id"]) == column(board, "id")
    assert set(table["digest"]) == {data.digest}
    compare.main("mnist", markdown=True)
    heading, _, names, rule, *rows = capsys.readouterr().out.strip().splitlines()
    assert heading == f"### mnist {data.digest[:8]}, by val_accuracy, the highest first"
    assert [cell.strip() for cell in names.split("|")] == ["", "run", "kind", "val_accuracy", "test_accuracy", ""]
    assert set(rule) == {"|", "-"}
    assert [[cell.strip() for cell in row.split("|")][3] for row in rows] == ["0.66667", "0.33333"]
    with pytest.raises(UserError, match=r"--csv .*cannot write"):
        compare.main("mnist", csv=tmp_path / "missing" / "runs.csv")
    assert {entry.name for entry in tmp_path.iterdir()} == {"mlruns", "runs.csv"}


def test_errors_name_the_data_sets_and_kinds_that_exist(data: Data) -> None:
    with pytest.raises(UserError, match=r"no runs are recorded in .*make train"):
        compare.main("mnist")
    record(load_app("mnist_mlp"), data, best_val_accuracy=0.9)
    with pytest.raises(UserError, match=r"no runs on mnits; there are runs on mnist$"):
        compare.main("mnits")
    with pytest.raises(UserError, match="is a trial; choose others with `kind`"):
        compare.main("mnist", kind=("trial",))


def test_a_page_compares_the_newest_run_of_each_app(data: Data) -> None:
    mlp, lenet = load_app("mnist_mlp"), load_app("lenet5")
    record(mlp, data)
    record(mlp, data)
    assert set(tracking.pages("http://server")["mnist"]) == {"table", "charts"}
    record(lenet, data)
    newest = [tracking.find({"app": app.name})[0].info.run_id for app in (mlp, lenet)]
    address = tracking.pages("http://server")["mnist"]["compare"]
    assert all(run in address for run in newest)
    assert address.count("%22") == 2 * len([*newest, "experiment"])


def test_trials_have_a_page_of_their_own_and_are_not_among_the_networks(data: Data) -> None:
    record(load_app("mnist_mlp"), data)
    record(load_app("mnist_mlp"), data, "trial", best_val_accuracy=0.5)
    assert "viewStateShareKey=trials" in tracking.pages("http://server")["mnist"]["trials"]
    tags = mlflow.get_experiment(tracking.find({"kind": "trial"})[0].info.experiment_id).tags
    assert tags["mlflow.experimentKind"] == "custom_model_development"
    views = {name: json.loads(json.loads(tags[f"mlflow.sharedViewState.{name}"])["state"]) for name in VIEWS}
    assert {name: view["searchFilter"] for name, view in views.items()} == VIEWS


def test_flags_that_exclude_each_other_and_a_wrong_suffix_are_one_line() -> None:
    assert_user_error(run("-m", "common.cli.compare", "mnist", "--csv", "a.csv", "--markdown"), "--csv", "--markdown")
    assert_user_error(run("-m", "common.cli.compare", "mnist", "--csv", "a.txt"), "--csv a.txt", ".csv")


def test_on_a_narrow_terminal_no_number_is_broken_and_no_word_lost(
    data: Data, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = load_app("logistic_regression")
    for seed in (0, 1):
        record(app, data, seed=seed, best_val_accuracy=0.98765, test_accuracy=0.87654, trainable_parameters=7_850_000)
    for columns in ("80", "200"):
        monkeypatch.setenv("COLUMNS", columns)
        compare.main("mnist")
        shown = capsys.readouterr().out
        assert max(map(len, shown.splitlines())) <= int(columns)
        for words in ("val_accuracy", "test_accuracy", "parameters", "logistic_regression", "seed 0", "seed 1"):
            assert words in shown
        assert shown.count("7850000") == shown.count("0.98765") == 2


def test_two_runs_differ_in_what_the_table_names(data: Data, capsys: pytest.CaptureFixture[str]) -> None:
    app = load_app("mnist_mlp")
    record(app, data, seed=1, best_val_accuracy=0.9, test_accuracy=0.8)
    record(app, data, seed=2, best_val_accuracy=0.95, test_accuracy=0.7)
    record(app, dataclasses.replace(data, digest="other"), seed=2, best_val_accuracy=0.99)
    third, second, first = [run.info.run_id for run in tracking.find({"kind": "train"})]
    compare.main(first, second)
    shown = capsys.readouterr().out
    assert "The second run has a better accuracy on the validation set: 0.95, the first 0.9." in shown
    assert "They differ in settings." in shown
    assert "They have the same data and code and versions." in shown
    assert [line.split() for line in shown.splitlines() if line.startswith(("settings", "results"))] == [
        ["settings", "seed", "1", "2"],
        ["results", "best_val_accuracy", "0.9", "0.95"],
        ["results", "test_accuracy", "0.8", "0.7"],
    ]
    compare.main(second, third)
    shown = capsys.readouterr().out
    assert "better" not in shown
    assert "different data, so that their results are not comparable" in shown
    with pytest.raises(UserError, match="the same run twice"):
        compare.main(first, first)
    with pytest.raises(UserError, match="run nothing: there is none"):
        compare.main(first, "nothing")
