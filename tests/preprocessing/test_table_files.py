"""Parquet files, and several files of a table: the same data as one CSV file, and errors that name file and line."""

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from common.cli import shard
from common.data import Data
from common.errors import UserError
from common.preprocessing import csv_file, table_files, tables
from tests.conftest import assert_user_error, run_app
from tests.preprocessing.test_row_shards import assert_equal

ROWS = 300


@pytest.fixture
def frame() -> pd.DataFrame:
    random = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "size": np.where(random.random(ROWS) < 0.1, np.nan, random.normal(size=ROWS)),
            "count": pd.Series(random.integers(0, 50, ROWS)).astype("Int64").mask(random.random(ROWS) < 0.1),
            "time": pd.date_range("2024-01-01", periods=ROWS, freq="7h"),
            "day": [datetime.date(2024, 1, 1) + datetime.timedelta(days=index) for index in range(ROWS)],
            "new": random.random(ROWS) < 0.5,
            "place": pd.Categorical(random.choice(["here", "there, or not", " hill"], ROWS)),
            "price": random.normal(size=ROWS).astype("float32"),
        }
    )


def load(file: Any, **settings: Any) -> Data:
    return tables.load(tables.TableConfig(csv=str(file), target="price", seed=1, **settings), "auto")


def halves(frame: pd.DataFrame, folder: Path) -> str:
    """Write a CSV file and a Parquet file, whose columns have another order, and return the pattern of both."""
    frame[:100].to_csv(folder / "part-1.csv", index=False)
    frame[100:][frame.columns[::-1]].to_parquet(folder / "part-2.parquet")
    return str(folder / "part-*")


def test_a_parquet_file_and_several_files_are_the_data_of_the_csv_file(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame.to_csv(tmp_path / "all.csv", index=False)
    frame.to_parquet(tmp_path / "all.parquet", row_group_size=70)
    whole = load(tmp_path / "all.csv")
    assert whole.formats.columns["time"].kind == whole.formats.columns["day"].kind == "date"
    for file in (tmp_path / "all.parquet", Path(halves(frame, tmp_path))):
        data = load(file)
        assert data.digest == whole.digest
        assert data.formats == whole.formats
        for part in ("train", "validation", "test"):
            (inputs, targets), (others, other_targets) = getattr(data, part), getattr(whole, part)
            np.testing.assert_array_equal(targets, other_targets, strict=True)
            for name in {**inputs, **others}:
                np.testing.assert_array_equal(inputs[name], others[name], strict=True)


def test_shards_of_several_files_are_their_data(
    frame: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert csv_file.CHUNK > 3000  # which imports the modules
    assert table_files.ROWS > 50
    monkeypatch.setattr("common.preprocessing.csv_file.CHUNK", 3000)
    monkeypatch.setattr("common.preprocessing.table_files.ROWS", 50)
    pattern = halves(frame, tmp_path)
    shard.main(pattern, tmp_path / "shards", target="price")
    assert_equal(load(pattern), load(tmp_path / "shards"))


def test_errors_name_the_file_and_the_line(frame: pd.DataFrame, tmp_path: Path) -> None:
    pattern = halves(frame, tmp_path)
    texts = frame.assign(price=frame["price"].astype(str).where(frame.index != 150, "cheap"))
    texts[100:].to_parquet(tmp_path / "part-2.parquet")
    with pytest.raises(UserError, match=r"part-\*, line 51 of .*part-2\.parquet: 'cheap' in the column price is not a"):
        tables.load(tables.TableConfig(csv=pattern, target="price"), "quantity")
    with pytest.raises(UserError, match=r"part-2\.parquet, line 51: 'cheap' in the column price is not a number"):
        tables.load(tables.TableConfig(csv=str(tmp_path / "part-2.parquet"), target="price"), "quantity")
    file = tmp_path / "part-3.csv"
    for columns, words in (
        ({"more": 1}, rf"{file}: .*part-1\.csv has no column more; the files of a table have the same columns"),
        ({"size": None}, rf"{file}: no column size"),
    ):
        found = frame.drop(columns=[name for name in columns if columns[name] is None])
        found.assign(**{name: value for name, value in columns.items() if value}).to_csv(file, index=False)
        with pytest.raises(UserError, match=words):
            load(pattern)
    (tmp_path / "part-3.csv").write_text("size\n1,2\n")
    with pytest.raises(UserError, match=r"part-3\.csv"):
        load(pattern)


def test_a_parquet_file_that_cannot_be_used_is_one_line(frame: pd.DataFrame, tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    for content, words in (
        (frame.assign(lists=pd.Series([[1]] * ROWS, dtype=object)), "column lists has values of the type list<"),
        (frame[:0], "0 rows; at least"),
        (frame.rename(columns={"size": ""}), "column 1 has no name"),
    ):
        content.to_parquet(file)
        with pytest.raises(UserError, match=rf"a\.parquet: {words}") as error:
            load(file)
        assert "\n" not in str(error.value)
    file.write_bytes(b"PAR1" + bytes(50))
    with pytest.raises(UserError, match=r"a\.parquet: not a Parquet file that can be read \(") as error:
        load(file)
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match=r"b\.parquet: no such file"):
        load(tmp_path / "b.parquet")
    assert_user_error(
        run_app("table_mlp", "check", "--csv", f"{tmp_path}/no-*.csv", "--target", "x"), "no file fits this pattern"
    )


@pytest.mark.usefixtures("store")
def test_a_model_reads_raw_rows_of_a_parquet_file(frame: pd.DataFrame, tmp_path: Path) -> None:
    pattern = halves(frame, tmp_path)
    flags = ("--target", "price", "--hidden", "4", "--members", "1", "--epochs", "1")
    result = run_app("table_mlp", "train", "--csv", pattern, *flags)
    assert result.returncode == 0, result.stderr
    frame[:3].to_parquet(tmp_path / "new.parquet")
    result = run_app("table_mlp", "predict", str(tmp_path / "new.parquet"))
    assert result.returncode == 0, result.stderr
    assert "new.parquet:3" in result.stdout
