"""Real searches on a few digits, and what they leave in the store."""

import ast
import re
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import tyro
from PIL import Image

from apps.mnist_mlp import Settings as MnistMlp
from tests.tuning.searching import Store, settings

GRID = ("--algorithm", "grid", "--trials", "7")


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, str]:
    """A grid of which the seventh settings cannot be built, and its output."""
    store = Store(tmp_path_factory.mktemp("searched"))
    status, output, errors = store.search(*GRID, TINY_FAULT="build")
    assert status == 0, errors
    return store, output


def test_a_search_is_a_run_with_a_child_run_a_trial(searched: tuple[Store, str]) -> None:
    store, _ = searched
    (parent,), trials = store.runs("search"), store.trials()
    assert parent.data.params["algorithm"] == "grid"
    assert parent.info.status == "FINISHED"
    assert list(trials) == list("0123456")
    tried = [(run.data.params["hidden"], float(run.data.params["learning_rate"])) for run in trials.values()]
    assert tried == [(f"({units},)", rate) for units in (8, 16) for rate in (0.003, 0.01, 0.03)] + [("(24,)", 0.003)]
    usual = {name: str(value) for name, value in vars(MnistMlp(dropout=0.2, epochs=3)).items()}
    for number, run in trials.items():
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        changed = {name for name, value in run.data.params.items() if value != usual[name]}
        assert changed <= {"hidden", "learning_rate"}
        assert run.data.params.keys() == usual.keys()
        assert run.info.status == ("FAILED" if number == "6" else "FINISHED")
        if number != "6":
            curve = store.curve(run, "val_accuracy")
            assert len(curve) == 3
            assert run.data.metrics["best_val_accuracy"] == max(curve)
            assert run.data.metrics["train_seconds"] > 0
    assert trials["6"].data.tags["error"] == "ValueError: no such network"


def test_the_best_is_trained_on_all_but_the_test_set_which_nothing_else_reads(
    searched: tuple[Store, str], tmp_path: Path
) -> None:
    store, output = searched
    (parent,), (tuned,), trials = store.runs("search"), store.runs("train"), store.trials()
    best = max(settings(trials).values(), key=lambda tried: float(str(tried[-1] or 0)))
    assert (tuned.data.params["hidden"], tuned.data.params["learning_rate"]) == best[:2]
    assert tuned.data.metrics["best_val_accuracy"] == parent.data.metrics["best_val_accuracy"] == best[-1]
    assert tuned.data.metrics["test_accuracy"] > 0.3
    assert not any(name.startswith("test_") for run in trials.values() for name in run.data.metrics)
    (training,) = (entry for entry in tuned.inputs.dataset_inputs if entry.tags[0].value == "training")  # type: ignore[union-attr]
    assert '"features_shape": [1536, 28, 28]' in str(training.dataset.profile)  # 1,024 to train, 512 to validate
    assert not store.curve(tuned, "val_loss")
    client = mlflow.MlflowClient(store.uri)
    assert client.get_model_version_by_alias("mnist_mlp-mnist", "champion").run_id == tuned.info.run_id
    names = {artifact.path for artifact in client.list_artifacts(parent.info.run_id)}
    assert names >= {"best_so_far.png", "best_trials.csv", "importance.csv", "space.csv"}
    with Image.open(client.download_artifacts(parent.info.run_id, "best_so_far.png", str(tmp_path))) as picture:
        assert len(picture.getcolors(2**24) or []) > 20
    for words in (
        "failed: 1 of 7 trials (6); ValueError: no such network",
        "best trials",
        "importance",
        "trial 6 (7 of 7)",
    ):
        assert words in output
    flags = output.strip().splitlines()[-1].split(" train ")[1].split()
    assert vars(tyro.cli(MnistMlp, args=flags))["hidden"] == ast.literal_eval(str(best[0]))


def test_the_page_of_a_search_has_its_trials_cost_and_commands(searched: tuple[Store, str], tmp_path: Path) -> None:
    store, _ = searched
    (parent,), (tuned,) = store.runs("search"), store.runs("train")
    client = mlflow.MlflowClient(store.uri)
    html = Path(client.download_artifacts(parent.info.run_id, "report.html", str(tmp_path))).read_text()
    sections = ["Search", "Best trials", "Final model", "Importance", "Trials", "Cost", "Commands"]
    assert re.findall(r"<h2>(.*)</h2>", html) == sections
    trials = pd.read_csv(client.download_artifacts(parent.info.run_id, "best_trials.csv", str(tmp_path)))
    best = html.partition("Best trials</h2>")[2].partition("</section>")[0]
    assert re.findall(r"<tr><td.*?>(\d+)</td>", best) == [str(number) for number in trials["trial"]]
    assert len(re.findall(r'src="data:image/png', html)) == 2  # the best so far, and parallel coordinates
    python, seconds = (
        ".venv/bin/python -m",
        sum(run.data.metrics.get("train_seconds", 0) for run in store.runs("trial")),
    )
    for words in (
        "7, of which 1 failed and 0 were pruned",
        f"{100 * tuned.data.metrics['test_accuracy']:.2f} % of 512 examples",
        f"{seconds:,.1f} s, ",
        f"<pre>{python} apps.mnist_mlp predict FILE --model {tuned.info.run_id}</pre>",
        f"<pre>{python} tuning.mnist_mlp --algorithm grid --trials N</pre>",
    ):
        assert words in html, words
    assert f"in trial {trials['trial'][0]}" in parent.data.tags["mlflow.note.content"]
    assert (
        "No examples were left for validation"
        in Path(client.download_artifacts(tuned.info.run_id, "report.html", str(tmp_path / ".."))).read_text()
    )


def test_a_finished_search_shows_what_it_found_and_goes_on_with_more_trials(searched: tuple[Store, str]) -> None:
    store, _ = searched
    before = settings(store.trials())
    status, output, _ = store.search(*GRID[:-1], "8")
    assert status == 0
    assert "resumes the search with 7 finished trials" in output
    after = settings(store.trials())
    assert {number: tried for number, tried in after.items() if number != "7"} == before
    assert len(after) == 8
    assert len(store.runs("search")) == 1
    again = store.runs("train")
    if after["7"][-1] <= max(float(str(tried[-1] or 0)) for tried in before.values()):  # type: ignore[operator]
        assert len(again) == 1
        assert "has its final training already" in output


def test_median_pruning_ends_exactly_the_trials_that_are_worse(tmp_path: Path) -> None:
    store = Store(tmp_path)
    status, _, errors = store.search("--trials", "9", "--prune", "median", "--seed", "1", TINY_EPOCHS="4")
    assert status == 0, errors
    standard: list[list[float]] = []
    pruned = 0
    for run in store.trials().values():
        curve = store.curve(run, "val_accuracy")
        below = []
        for epoch, value in enumerate(curve):
            reached = [other[epoch] for other in standard if len(other) > epoch]
            below.append(len(reached) >= 3 and value < np.median(reached))
        if "pruned" in run.data.tags:
            pruned += 1
            assert run.data.tags["pruned"] == f"epoch {len(curve)}"
            assert below == [False] * (len(curve) - 1) + [True]
        else:
            assert len(curve) == 4
            assert not any(below)
        standard.append(curve)
    assert pruned >= 1


def test_hyperband_goes_on_with_the_best_from_where_they_were(tmp_path: Path) -> None:
    store = Store(tmp_path)
    status, _, errors = store.search("--trials", "7", "--algorithm", "hyperband", TINY_EPOCHS="4")
    assert status == 0, errors
    trials = store.trials()
    early = [run for run in trials.values() if len(store.curve(run, "loss")) == 2]
    late = [run for run in trials.values() if len(store.curve(run, "loss")) == 4]
    assert (len(early), len(late)) == (5, 2)
    for run in late:
        tried = {name: run.data.params[name] for name in ("hidden", "learning_rate")}
        (before,) = (one for one in early if tried.items() <= one.data.params.items())
        assert store.curve(run, "val_loss")[:2] == store.curve(before, "val_loss")
    scores = sorted((max(store.curve(run, "val_accuracy")[:2]) for run in early), reverse=True)
    assert sorted((max(store.curve(run, "val_accuracy")[:2]) for run in late), reverse=True) == scores[:2]


def test_flags_of_the_app_hold_in_all_trials_and_are_checked_at_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    _, output, _ = store.search("--dry-run", "--hidden", "5", "6", "--seed", "4")
    assert re.search(r"size: 12 settings\b", output)
    lines = [line for line in output.splitlines() if re.match(r"\d: ", line)]
    assert len(lines) == 5
    assert all("--hidden 5 6" in line for line in lines)
    assert len({line.split(": ")[1] for line in lines}) > 1
    assert not store.folder.joinpath("searches").exists()
    for arguments, words in {
        ("--batch-size", "0"): "--batch-size",
        ("--workers", "0"): "--workers",
        ("--objective", "val_acuracy"): "val_accuracy",
        ("--objective", "accuracy"): "val_NAME",
        ("--folds", "600"): "--folds",
        ("--algorithm", "grid", "--warm-start"): "--warm-start",
        ("--algorithm", "hyperband", "--folds", "2"): "--folds",
    }.items():
        status, _, errors = store.search("--trials", "1", *arguments)
        assert status == 2, arguments
        (line,) = errors.strip().splitlines()
        assert words in line
    assert store.runs("trial") == []
