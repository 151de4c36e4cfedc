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
from common.data import ColumnFormat, Data
from common.errors import UserError
from common.preprocessing import features, table_rows, tables
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
        ("a,b\n" + "1,2\n" * 20, {"target": "c"}, "no column c; it has a, b"),
        ("a,b\n" + "1,2\n1,3\n" * 20, {"target": "b", "ignore": ("z",)}, "no column z"),
        ("a,b\n" + "1,2\n" * 20, {"target": None}, "`csv` needs `target`"),
        ("a,b\n" + "1,2\n" * 3, {"target": "b"}, "3 rows"),
        ("a,b\n" + "1,2\n" * 20, {"target": "b"}, "1 classes in the column b"),
        ("a,b\n" + "1,2\n" * 20 + "1,3\n", {"target": "b"}, "b 3 in only 1 of 21 rows"),
        ("a,b\n" + ",2\n,3\n" * 20, {"target": "b"}, "no column is left to predict b from"),
        ("a,b\n" + "1,2\n1,3\n" * 20 + "one,3\n", {"target": "b"}, "line 42: 'one' in the column a is not a number"),
        ("a,b\n" + "1,2\n1,3\n" * 20 + "1e99,3\n", {"target": "b"}, "line 42: '1e99'"),
        ("a,b\n" + "".join(f"x{row % 30},{row % 2}\n" for row in range(40)), {"target": "b"}, "30 different values"),
        ("a,b\n" + "".join(f"x{row},{row % 2}\n" for row in range(40)), {"target": "b"}, "no column is left"),
        ("a,b\n" + "1,2\n" * 5 + "1,2,3\n", {"target": "b"}, "line 7: 3 cells, but there are 2 columns"),
        ("a,b\n" + "1,2\n" * 5 + "1\n", {"target": "b"}, "line 7: 1 cells"),
        ('a,b\n1,"2\n', {"target": "b"}, "line 2: a quote opens here"),
        ("a,a\n1,2\n", {"target": "a"}, r"column 2 \(a\) repeats the name"),
        ("a,\n1,2\n", {"target": "a"}, "column 2 has no name"),
        ("", {"target": "a"}, "no column names"),
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


def test_all_problems_of_a_file_are_in_one_report(tmp_path: Path) -> None:
    rows = [f"{row},{'x' if row == 7 else row},n{row % 30},0{row % 9 + 1}/02/2024,{row % 2}" for row in range(60)]
    file = tmp_path / "bad.csv"
    file.write_text("\n".join(["ok,number,name,day,left", *rows]) + "\n")
    with pytest.raises(UserError) as error:
        read(file, target="left", categories=("nmae",), ignore=())
    lines = str(error.value).splitlines()
    for line, words in zip(
        lines,
        ["no column nmae; did you mean name?", "line 9: 'x' in the column number", "column day: 01/02"],
        strict=True,
    ):
        assert words in line


def test_rows_without_a_target_and_columns_without_information_are_left_out_with_a_note(tmp_path: Path) -> None:
    rows = [f"C{row},,{row % 3},{'' if row in (3, 5) else row % 2}" for row in range(60)]
    file = tmp_path / "table.csv"
    file.write_text("\n".join(["id,empty,number,left", *rows]) + "\n")
    data = read(file, categories=())
    assert [*data.train[0]] == ["number"]
    notes = " ".join(data.description.notes)
    for words in ("2 of 60 rows have no left, first in line 5", "column id has a different value", "empty is empty"):
        assert words in notes
    assert data.description.facts["rows"] == "58"
    assert data.formats.columns == {"number": ColumnFormat("number", ".")}


def test_a_missing_class_is_missing_among_numbers_and_a_name_among_names(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    file.write_text("a,left\n" + "1,0\n2,1\n3,1\n" * 20 + "4,NA\n")
    assert read(file, categories=()).outputs == ("0", "1")
    file.write_text("a,left\n" + "1,no\n2,NA\n3,NA\n" * 20)
    assert read(file, categories=()).outputs == ("NA", "no")


def test_a_description_names_what_a_careful_colleague_would(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    frame = pd.DataFrame({"order": range(1, 101), "same": 7, "left": draw.choice(["a", "b"], 100)})
    frame["code"] = frame["left"].map({"a": "p", "b": "q"})
    frame["score"] = np.where(frame["left"] == "a", 1, 5) + draw.random(100)
    frame["noise"] = draw.normal(size=100)
    frame.to_csv(tmp_path / "table.csv", index=False)
    description = read(tmp_path / "table.csv", categories=()).description
    notes = "\n".join(description.notes)
    for words in (
        "column order counts the rows",
        "column same has the same value",
        "column code alone gives left away",
        "column score alone gives left away",
    ):
        assert words in notes
    assert "noise" not in notes
    overview = description.tables["columns"].set_index("column")
    assert overview.loc["code", "read as"] == "text"
    assert overview.loc["order", "content"] == "1 to 100"
    twice = pd.concat([frame.drop(columns="order")] * 2)
    twice.to_csv(tmp_path / "twice.csv", index=False)
    notes = "\n".join(read(tmp_path / "twice.csv", categories=()).description.notes)
    assert "100 of 200 rows are copies" in notes
    assert "test rows are copies of training rows" in notes


def test_a_column_that_gives_a_quantity_away_is_named(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(100, 2))
    pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "y": 3 * x[:, 0] + 1}).to_csv(tmp_path / "t.csv", index=False)
    notes = read(tmp_path / "t.csv", "quantity", target="y", categories=()).description.notes
    assert [note.split(";")[0] for note in notes] == ["column a alone gives y away"]


@pytest.mark.parametrize("name", ["features", "a/b", "é x", "numbers", "column_x", "standardise", "output", ":"])
def test_any_column_name_trains(name: str, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=40)
    pd.DataFrame({name: x, "other": x**2, "y": 2 * x}).to_csv(tmp_path / "t.csv", index=False)
    app = load_app("linear_regression")
    config: Any = app.settings
    config = config(csv=str(tmp_path / "t.csv"), target="y")
    data = app.load_data(config)
    model = app.build_model(config, data)
    assert training.predict(model, data.test[0]).shape == (8, 1)


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
        table_rows.read_rows([str(tmp_path / "new.csv")], saved)
    for word in words:
        assert word in str(error.value)


def test_predict_keeps_every_row_in_order_and_names_unusable_ones(churn: Trained, tmp_path: Path) -> None:
    new = customers(8).drop(columns=["left", "spent"]).astype(object)
    new.insert(0, "id", ["=cmd()", "-5", "+x", "@a", "e", "f", "g", "h"])
    new.loc[2, "calls"] = "many"
    new.iloc[5, 1:] = np.nan
    new.loc[3, "plan, kind"] = "gold"
    new.to_csv(tmp_path / "new.csv", index=False)
    output = tmp_path / "answers.csv"
    result = churn("predict", str(tmp_path / "new.csv"), "--keep", "id", "--output", str(output))
    assert result.returncode == 0, result.stderr
    answers = pd.read_csv(output)
    assert answers["id"].tolist() == ["'=cmd()", "-5", "'+x", "'@a", "e", "f", "g", "h"]
    assert answers["class"].isna().tolist() == [row in (2, 5) for row in range(8)]
    assert "'many' in the column calls is not a number" in answers["problem"][2]
    assert answers["problem"][5] == "the row is empty"
    assert "; 2 rows have none" in result.stdout
    assert "column plan, kind has values that training did not see ('gold') in 1 rows" in result.stderr
    strict = churn("predict", str(tmp_path / "new.csv"), "--strict")
    assert_user_error(strict, "did not see ('gold')")
    mistyped = churn("predict", str(tmp_path / "new.csv"), "--keep", "idd")
    assert_user_error(mistyped, "no column idd; did you mean id?")
    as_json = churn("predict", str(tmp_path / "new.csv"), "--keep", "id", "--output", str(tmp_path / "a.json"))
    assert as_json.returncode == 0
    assert json.loads((tmp_path / "a.json").read_text())[0]["id"] == "=cmd()"


def test_the_training_file_itself_is_predicted(churn: Trained, tmp_path: Path) -> None:
    file = churn.store.parent.parent / "customers.csv"
    result = churn("predict", str(file), "--output", str(tmp_path / "answers.csv"))
    assert result.returncode == 0, result.stderr
    assert len(pd.read_csv(tmp_path / "answers.csv")) == 400


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Linear regression on a file with semicolons, decimal commas, dates and Unix times."""
    folder = tmp_path_factory.mktemp("exported")
    (folder / "sales.csv").write_text(sales(200), encoding="cp1252")
    settings = ["--csv", str(folder / "sales.csv"), "--target", "Umsatz"]
    return train_once("linear_regression", folder, *settings)


def sales(rows: int) -> str:
    """Rows of which 1.234 is ambiguous in one column, and the others decide."""
    lines = [
        f"{day:%d.%m.%Y};{1_700_000_000 + 10 * row};{row % 7},5;{1 + row % 5}.{100 + row};{2 * row},25"
        for row, day in enumerate(pd.date_range("2024-01-01", periods=rows))
    ]
    return "\n".join(["Tag;Zeit;Größe;Preis;Umsatz", *lines]) + "\n"


def test_the_formats_of_training_hold_for_new_files(exported: Trained, tmp_path: Path) -> None:
    saved = tracking.load("linear_regression", str(exported.model))
    assert saved.formats.columns
    assert saved.formats.columns["Tag"] == ColumnFormat("date", "%d.%m.%Y", ("week",))
    assert saved.formats.columns["Preis"] == ColumnFormat("number", ",")
    # Alone, these rows fit both separators, and both orders of day and month.
    (tmp_path / "new.csv").write_text("Tag;Zeit;Größe;Preis\n01.02.2024;1700000310;3;3.131\n")
    inputs = table_rows.read_rows([str(tmp_path / "new.csv")], saved).inputs
    assert inputs["Preis"] == 3131
    assert inputs["Tag elapsed days"] == (pd.Timestamp("2024-02-01") - pd.Timestamp(0)).days
    assert inputs["Zeit"].dtype == "float64"
    assert inputs["Zeit"] == 1_700_000_310


def test_evaluate_explain_and_request_take_such_a_file(exported: Trained, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("Tag;Zeit;Größe;Preis\n01.02.2024;1700000310;3,5;3.131\n")
    assert exported("evaluate").returncode == 0
    explained = exported("explain", str(tmp_path / "new.csv"))
    assert explained.returncode == 0, explained.stderr
    request = json.loads(exported("request", str(tmp_path / "new.csv")).stdout)
    assert request["inputs"]["Zeit"] == [1_700_000_310]


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
    for one, benefits in ((data, False), (app.load_data(app.settings()), True)):
        model = app.build_model(app.settings(), one)
        assert training.benefits_from_xla(model, batch_size=16, steps=1000) == benefits


def test_check_shows_on_a_terminal_that_it_reads() -> None:
    assert "reading the data of linear_regression" in run_app("linear_regression", "check", FORCE_COLOR="1").stderr
    assert "reading" not in run_app("linear_regression", "check").stderr


def test_rows_of_equal_numbers_are_copies_whatever_their_text(tmp_path: Path) -> None:
    rows = [f"{row},{row % 7}.5" for row in range(1, 40)] + ["-0.0,0.5", "0,0.5", "1.0,1.50"]
    (tmp_path / "t.csv").write_text("\n".join(["a,y", *rows]) + "\n")
    notes = read(tmp_path / "t.csv", "quantity", target="y", categories=()).description.notes
    assert any(note.startswith("2 of 42 rows are copies of other rows") for note in notes)


@pytest.mark.parametrize("rows", [slice(None), slice(None, None, 3), slice(None, None, -1)])
def test_the_index_of_a_data_frame_is_left_out(rows: slice, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    frame = pd.DataFrame({"size": draw.normal(size=90), "left": draw.choice(["a", "b"], 90)})
    frame[rows].to_csv(tmp_path / "table.csv")
    data = read(tmp_path / "table.csv", categories=())
    assert list(data.train[0]) == ["size"]
    assert any("column index has a number for each row" in note for note in data.description.notes)
    frame.assign(index=draw.normal(size=90)).to_csv(tmp_path / "table.csv", index=False)
    assert list(read(tmp_path / "table.csv", categories=()).train[0]) == ["size", "index"]


@pytest.mark.parametrize("name", ["customer_id", "ID", "passengerId", "paid", "humid"])
def test_a_numeric_identifier_is_left_out(name: str, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    numbers = draw.permutation(10_000)[:90]
    frame = pd.DataFrame({name: numbers, "size": draw.normal(size=90), "left": draw.choice(["a", "b"], 90)})
    frame.to_csv(tmp_path / "table.csv", index=False)
    assert (name in read(tmp_path / "table.csv", categories=()).train[0]) == (name in ("paid", "humid"))
    frame[name] %= 40  # the same in several rows
    frame.to_csv(tmp_path / "table.csv", index=False)
    assert name in read(tmp_path / "table.csv", categories=()).train[0]


def test_rows_that_a_column_without_use_tells_apart_are_no_copies(tmp_path: Path) -> None:
    rows = [f"guest {row},{row % 2},{row % 2}" for row in range(40)]
    file = tmp_path / "t.csv"
    config = tables.TableConfig(csv=str(file), target="y")
    file.write_text("\n".join(["name,a,y", *rows]) + "\n")
    assert not any("copies" in note for note in tables.load(config, "class").description.notes)
    file.write_text("\n".join(["name,a,y", *rows, *rows]) + "\n")
    notes = tables.load(config, "class").description.notes
    assert any(note.startswith("40 of 80 rows are copies of other rows") for note in notes)
    assert any("test rows are copies of training rows" in note for note in notes)


def test_rows_of_rare_classes_are_left_out_with_a_note(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("a,y\n" + "1,p\n2,q\n" * 20 + "3,r\n" * 3)
    data = tables.load(tables.TableConfig(csv=str(file), target="y"), "class")
    assert data.outputs == ("p", "q")
    assert any(
        "fewer than 5 rows are left out, and are never predicted: r 3" in note for note in data.description.notes
    )
