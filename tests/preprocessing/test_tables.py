"""Tables: what a CSV may hold, what is refused in one line, and raw rows in, answers out, of a saved model."""

import json
import pickle
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import make_pipeline

from common import baselines, tracking, training
from common.data import Data
from common.errors import UserError
from common.preprocessing import features, tables
from tests.conftest import Trained, assert_user_error, load_app, run, run_app, train_once


def customers(rows: int = 400) -> pd.DataFrame:
    """Customers of whom some leave: numbers with gaps, text with gaps, a code; and their spending."""
    draw = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": draw.integers(18, 80, rows).astype(float),
            "plan, kind": draw.choice(["basic", "pro", "old"], rows, p=[0.6, 0.3, 0.1]),
            "calls": draw.poisson(2, rows),
            "code": draw.choice([10, 20], rows),
        }
    )
    score = 0.9 * frame.calls - 3.5 + 2 * (frame["plan, kind"] == "old") + (frame.code == 20)
    frame["left"] = np.where(draw.random(rows) < 1 / (1 + np.exp(-score)), "yes", "no")
    frame["spent"] = 10 * frame.age + 100 * frame.calls
    frame.loc[::9, "age"] = np.nan
    frame.loc[::13, "plan, kind"] = np.nan
    return frame


@pytest.fixture
def file(tmp_path: Path) -> Path:
    customers().to_csv(tmp_path / "customers.csv", index=False)
    return tmp_path / "customers.csv"


def read(file: Path, task: Literal["quantity", "class"] = "class", **settings: Any) -> Data:
    config = tables.TableConfig(csv=str(file), **({"target": "left", "categories": ("code",)} | settings))
    return tables.load(config, task)


def test_columns_are_numbers_or_text_and_gaps_stay(file: Path) -> None:
    data = read(file, ignore=("spent",))
    inputs, labels = data.train
    assert {name: column.dtype.kind for name, column in inputs.items()} == {
        "age": "f",
        "plan, kind": "O",
        "calls": "f",
        "code": "O",
    }
    assert data.outputs == ("no", "yes")
    assert np.isnan(inputs["age"]).any()
    assert "" in inputs["plan, kind"]
    assert [len(part[1]) for part in (data.train, data.validation, data.test)] == [240, 80, 80]
    shares = [part[1].mean() for part in (data.train, data.validation, data.test)]
    np.testing.assert_allclose(shares, labels.mean(), atol=0.02)
    assert data.digest == read(file, ignore=("spent",)).digest
    assert data.digest != read(file).digest


def test_features_are_those_of_scikit_learn_also_for_rows_that_training_never_saw(file: Path) -> None:
    data = read(file)
    table = features.standardised(data)
    model = keras.Model(table.inputs, table.outputs)
    prepared = make_pipeline(*baselines.standardised(data)).fit(data.train[0])
    for part in (data.train, data.test):
        np.testing.assert_allclose(model.predict(part[0], verbose=0), prepared.transform(part[0]), atol=1e-4)
    names = [name for _, name in features.made_of(data)]
    assert names[:5] == ["age", "calls", "spent", "age missing", "plan, kind = pro"]
    assert table.train.shape == (240, len(names))
    row = {name: column[:1].copy() for name, column in data.train[0].items()}
    row["age"][0], row["plan, kind"][0] = np.nan, "unheard of"
    (unseen,) = model.predict(row, verbose=0)
    row["plan, kind"][0] = "basic"  # the most frequent value
    np.testing.assert_array_equal(unseen, model.predict(row, verbose=0)[0])


@pytest.mark.parametrize(
    ("content", "settings", "words"),
    [
        ("a,b\n1,2\n", {"target": "c"}, "no column c; it has a, b"),
        ("a,b\n" + "1,2\n" * 20, {"target": "b", "ignore": ("z",)}, "no column z"),
        ("a,b\n" + "1,2\n" * 20, {"target": None}, "`csv` needs `target`"),
        ("a,b\n" + "1,2\n" * 3, {"target": "b"}, "3 rows"),
        ("a,b\n" + "1,2\n" * 20, {"target": "b"}, "1 classes in the column b"),
        ("a,b\n" + "1,2\n" * 20 + "1,3\n", {"target": "b"}, "b 3 in only 1 of 21 rows"),
        ("a,b\n" + "1,2\n" * 20 + "1,\n", {"target": "b"}, "line 22: no value in the column b"),
        ("a,b\n" + ",2\n,3\n" * 20, {"target": "b"}, "column a is empty; `ignore` a"),
        ("a,b\n" + "1,2\n1,3\n" * 20 + "one,3\n", {"target": "b"}, "line 42: 'one' in the column a is not a number"),
        ("a,b\n" + "1,2\n1,3\n" * 20 + "1e99,3\n", {"target": "b"}, "line 42: '1e99'"),
        ("a,b\n" + "".join(f"x{row},{row % 2}\n" for row in range(40)), {"target": "b"}, "40 different values"),
        ("a,b\n" + "1,2\n" * 5 + "1,2,3\n", {"target": "b"}, "line 7: 3 cells, but there are 2 columns"),
        ("a,b\n" + "1,2\n" * 5 + "1\n", {"target": "b"}, "line 7: 1 cells"),
        ('a,b\n1,"2\n', {"target": "b"}, "not comma-separated"),
        ("a,a\n1,2\n", {"target": "a"}, r"column 2 \(a\) repeats the name"),
        ("a,\n1,2\n", {"target": "a"}, "column 2 has no name"),
        ("a,b/c\n" + "1,2\n" * 20, {"target": "a"}, "slash"),
        ("", {"target": "a"}, "no column names"),
        ("a,b\n1,2\n".encode("utf-16"), {"target": "b"}, "not UTF-8"),
        ("a,b\n1,2\n".encode("utf-16-le"), {"target": "b"}, "not UTF-8"),
        (",".join(map(str, range(10_000_000))), {"target": "b"}, "more than 1,000 columns"),
    ],
)
def test_a_bad_table_is_one_line(content: str | bytes, settings: dict[str, Any], words: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=words) as error:
        read(file, **({"categories": ()} | settings))
    assert "\n" not in str(error.value)


def test_a_text_target_is_no_quantity(file: Path) -> None:
    with pytest.raises(UserError, match=r"'(yes|no)' in the column left is not a number"):
        read(file, "quantity")
    assert read(file, "quantity", target="spent").train[1].shape == (240, 1)


@pytest.mark.usefixtures("store")
def test_a_missing_table_ends_the_command_with_status_2(tmp_path: Path) -> None:
    missing = run_app("linear_regression", "train", "--csv", str(tmp_path / "none.csv"), "--target", "a")
    assert_user_error(missing, "none.csv", "no such file")


@pytest.fixture(scope="module")
def churn(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Logistic regression on the customers, by its own command."""
    folder = tmp_path_factory.mktemp("churn")
    customers().to_csv(folder / "customers.csv", index=False)
    settings = ["--csv", str(folder / "customers.csv"), "--target", "left", "--ignore", "spent", "--categories", "code"]
    return train_once("logistic_regression", folder, *settings, "--class-weights", "balanced", "--epochs", "40")


def test_raw_rows_are_answered_by_the_threshold_that_was_chosen_on_validation(churn: Trained, tmp_path: Path) -> None:
    new = customers(50).drop(columns=["left", "spent"])[["code", "calls", "age", "plan, kind"]]
    new.assign(more="x").to_csv(tmp_path / "new.csv", index=False)
    result = churn("predict", str(tmp_path / "new.csv"), "--output", str(tmp_path / "answers.json"))
    assert result.returncode == 0, result.stderr
    answers = pd.DataFrame(json.loads((tmp_path / "answers.json").read_text()))
    assert answers["input"][0] == f"{tmp_path / 'new.csv'}:2"
    saved = tracking.load("logistic_regression", str(churn.model))
    threshold = saved.task["threshold"]
    assert threshold != 0.5
    assert f"{threshold:.4f}" in churn.output
    assert list(answers["class"] == "yes") == list(answers["yes"] >= threshold)
    assert ((answers["yes"] >= threshold) != (answers["yes"] >= 0.5)).any()
    assert "odds_ratio_per_unit" in churn.output


def test_the_saved_model_takes_raw_rows_in_a_fresh_process(churn: Trained, tmp_path: Path) -> None:
    model = churn.model
    rows = {name: column[:7] for name, column in customers().fillna({"plan, kind": ""}).items()}
    new = {
        "age": rows["age"].to_numpy("float32"),
        "calls": rows["calls"].to_numpy("float32"),
        "plan, kind": rows["plan, kind"].to_numpy(object),
        "code": rows["code"].astype(str).to_numpy(object),
    }
    (tmp_path / "rows.pickle").write_bytes(pickle.dumps(new))
    script = (
        "import mlflow, pandas, pathlib, pickle\n"
        f"rows = pickle.loads(pathlib.Path({str(tmp_path / 'rows.pickle')!r}).read_bytes())\n"
        f"model = mlflow.pyfunc.load_model({str(model)!r})\n"
        "from_dict, from_frame = model.predict(rows), model.predict(pandas.DataFrame(rows))\n"
        "assert (from_dict == from_frame).all()\n"
        f"pathlib.Path({str(tmp_path / 'y.pickle')!r}).write_bytes(pickle.dumps(from_dict))\n"
    )
    result = run("-c", script, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    saved = tracking.load("logistic_regression", str(model))
    expected = training.predict(saved.model, new)
    np.testing.assert_allclose(pickle.loads((tmp_path / "y.pickle").read_bytes()), expected, rtol=1e-5)
    assert np.isfinite(expected).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"calls": "many"}, ["line 2", "'many'", "calls"]),
        ({"plan, kind": "gold"}, ["line 2", "'gold'", "plan, kind", "basic", "empty the cell"]),
        ({"calls": None}, ["no column calls"]),
    ],
)
def test_rows_that_the_model_cannot_take_are_one_line(
    change: dict[str, Any], words: list[str], churn: Trained, tmp_path: Path
) -> None:
    new = customers(5).assign(**change)
    new = new.drop(columns=[name for name, value in change.items() if value is None])
    new.to_csv(tmp_path / "new.csv", index=False)
    saved = tracking.load("logistic_regression", str(churn.model))
    with pytest.raises(UserError) as error:
        tables.read_rows([str(tmp_path / "new.csv")], saved)
    for word in words:
        assert word in str(error.value)


def test_a_table_that_changed_since_is_not_tested_on(churn: Trained) -> None:
    file = churn.store.parent.parent / "customers.csv"
    content = file.read_text()
    try:
        file.write_text(content.replace("yes", "no", 1))
        assert_user_error(churn("evaluate"), "customers.csv has changed")
    finally:
        file.write_text(content)
    assert churn("evaluate").returncode == 0


def test_xla_is_not_asked_to_compile_text(file: Path) -> None:
    data = read(file)
    app = load_app("logistic_regression")
    assert not training.benefits_from_xla(app.build_model(app.settings(), data))
    assert training.benefits_from_xla(app.build_model(app.settings(), app.load_data(app.settings())))
