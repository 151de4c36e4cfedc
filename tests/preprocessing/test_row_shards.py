"""Tables and sentences in shards: the same data as the file, each row once an epoch, and errors in one line."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from apps import linear_regression, lstm_text, table_mlp
from common import training
from common.cli import shard
from common.data import Data
from common.errors import UserError
from common.preprocessing import csv_file, row_files, row_shards, shards, tables
from common.training import batches, devices

ROWS = 400
WORDS = ("fine", "dull", "film", "story", "long", "short")


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files have many parts, and several shards."""
    assert csv_file.CHUNK > 3000  # which imports the modules
    assert shards.SHARD_BYTES > 5000
    monkeypatch.setattr("common.preprocessing.csv_file.CHUNK", 3000)
    monkeypatch.setattr("common.preprocessing.shards.SHARD_BYTES", 5000)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    size = random.normal(size=ROWS).round(3)
    frame = pd.DataFrame(
        {
            "size": np.where(random.random(ROWS) < 0.1, "NA", size.astype(str)),
            "count": random.integers(0, 50, ROWS),
            "time": 1_700_000_000 + random.integers(0, 100, ROWS),
            "day": pd.date_range("2024-01-01", periods=ROWS).strftime("%d.%m.%Y"),
            "place": random.choice(["here", "there,\nor not", 'a "hill"', ""], ROWS),
            "kind": random.choice(["a", "b"], ROWS),
            "price": (3 * size + random.normal(size=ROWS)).round(2),
        }
    )
    frame.loc[5, "price"] = np.nan
    frame.to_csv(tmp_path / "houses.csv", index=False)
    return tmp_path / "houses.csv"


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    words = [" ".join(random.choice(WORDS, 6)) for _ in range(120)]
    frame = pd.DataFrame({"review": words, "mark": ["good" if "fine" in text else "bad" for text in words]})
    frame.loc[7, "review"] = ""
    frame.to_csv(tmp_path / "reviews.csv", index=False)
    return tmp_path / "reviews.csv"


def write(file: Path, **options: Any) -> str:
    folder = file.with_suffix("")
    shard.main(str(file), folder, **options)
    return str(folder)


def load(file: Any, target: str, kind: tables.Target = "auto", **settings: Any) -> Data:
    return tables.load(tables.TableConfig(csv=str(file), target=target, seed=1, **settings), kind)


def assert_equal(first: Data, second: Data) -> None:
    assert (first.name, first.outputs, first.formats) == (second.name, second.outputs, second.formats)
    for part in ("train", "validation", "test"):
        (inputs, targets), (others, other_targets) = getattr(first, part), getattr(second, part)
        np.testing.assert_array_equal(targets, other_targets, strict=True)
        if not isinstance(inputs, dict):
            inputs, others = {"": inputs}, {"": others[:]}
        for name, column in inputs.items():
            np.testing.assert_array_equal(column, others[:][name] if name else others[name], strict=True)


@pytest.mark.parametrize("target", ["price", "kind"])
def test_shards_of_a_table_are_the_same_data_as_the_file(
    target: str, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(table, target=target, ignore=("count",))
    assert f"{ROWS - (target == 'price')} rows, " in capsys.readouterr().out
    assert len(list(Path(folder).glob("*.rows"))) > 2
    whole, data = load(table, target, ignore=("count",)), load(folder, target)
    assert isinstance(data.train[0], row_shards.TableRows)
    assert_equal(whole, data)
    rows = data.train[0].part(np.array([3, 1])).joined(data.test[0])
    np.testing.assert_array_equal(rows[:2]["time"], whole.train[0]["time"][[3, 1]])
    assert len(rows) == 2 + len(data.test[1])


def test_rows_that_the_disk_has_to_read_are_those_of_the_file(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_files.RowFiles, "_on_disk", lambda _files, _rows: True)
    assert_equal(load(table, "price"), load(write(table, target="price"), "price"))


def test_parts_of_a_file_have_the_cells_and_the_lines_of_the_whole(tmp_path: Path) -> None:
    file = tmp_path / "parts.csv"
    file.write_text("\ufeffa;b\n" + '"x\nyy";2\n' * 600 + '5" disk;3\n' + "z;4\n" * 1800, encoding="utf-8")
    parts = [cells.frame for cells in csv_file.read_chunks(file)]
    assert len(parts) > 2
    pd.testing.assert_frame_equal(pd.concat(parts), csv_file.read(file).frame)


def test_some_rows_of_the_whole_file_decide_the_types(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.preprocessing.csv_shards.SAMPLE", 5000)
    data = load(write(table, target="price"), "price")
    assert any("of the 400 rows decided the types" in note for note in data.description.notes)
    assert_equal(load(table, "price"), data)
    table.write_text(table.read_text() + "".join(f"1,2,{time},01.01.2024,here,a,3\n" for time in (3, "many")))
    with pytest.raises(UserError, match=r"houses\.csv, line \d+: 'many' in the column time is not a number") as error:
        shard.main(str(table), table.with_name("second"), target="price")
    assert f"line {table.read_text().count(chr(10))}:" in str(error.value)
    assert not table.with_name("second").exists()


def test_each_row_is_read_exactly_once_an_epoch_over_all_hosts(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the rows that do not fill a batch of all hosts, which differ in each epoch."""
    inputs, targets = load(write(table, target="price"), "price").train
    whole, numbers = load(table, "price").train[0], np.arange(len(targets))
    for hosts in (1, 2):
        for epoch in range(2):
            read = []
            for host in range(hosts):
                half = slice(8 // hosts * host, 8 // hosts * (host + 1))
                monkeypatch.setattr(devices, "share", lambda _, half=half: half)
                gathered = [
                    batches.GatheredBatches(batches.Batches((columns, numbers), 8, seed=0, epoch=epoch))
                    for columns in (inputs, whole)
                ]
                for index in range(len(gathered[0])):
                    (columns, rows), (expected, same) = (one[index] for one in gathered)
                    np.testing.assert_array_equal(rows, same)
                    for name, column in expected.items():
                        np.testing.assert_array_equal(columns[name], column)
                    read += list(rows)
                resumed = batches.GatheredBatches(batches.Batches((inputs, numbers), 8, seed=0, epoch=epoch, step=3))
                assert list(resumed[0][1]) == list(gathered[0][3][1])
            assert len(read) == len(set(read)) == len(targets) // 8 * 8


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("app", "settings"),
    [
        (table_mlp, {"target": "kind", "hidden": (4,), "members": 2, "epochs": 1, "class_weights": "balanced"}),
        (linear_regression, {"target": "price", "epochs": 2}),
    ],
)
def test_training_from_shards_equals_training_from_the_file(app: Any, settings: dict[str, Any], table: Path) -> None:
    def metrics(place: Any) -> dict[str, float]:
        found = training.train(app.app, app.Settings(csv=str(place), **settings)).metrics
        return {name: value for name, value in found.items() if "test" in name or "val" in name}

    assert metrics(write(table, target=settings["target"])) == pytest.approx(metrics(table), rel=1e-5)


@pytest.mark.usefixtures("store")
def test_sentences_in_shards_are_those_of_the_file_and_train(texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings: dict[str, Any] = {"text": "review", "label": "mark", "length": 6, "embedding": 4, "units": 2, "epochs": 1}
    config, other = (
        lstm_text.Settings(csv=str(place), **settings) for place in (texts, write(texts, text="review", label="mark"))
    )
    assert_equal(lstm_text.load_data(config), lstm_text.load_data(other))
    monkeypatch.setattr("common.preprocessing.row_shards.FITTED_SENTENCES", 20)
    assert "are fitted to 20 of " in lstm_text.load_data(other).description.notes[-1]
    training.train(lstm_text.app, other)


def test_a_wrong_setting_or_damage_is_one_line(table: Path, texts: Path) -> None:
    folder = Path(write(table, target="price"))
    for settings, words in (
        ({"target": "kind"}, r"`target` kind: the shards .*houses have price; write them again"),
        ({"target": "price", "ignore": ("day",)}, r"`ignore` day: the shards .*houses have none; write them again"),
        ({"target": "price", "kind": "class"}, r"houses: price is a quantity there, not a class"),
    ):
        with pytest.raises(UserError, match=words):
            load(folder, **settings)
    with pytest.raises(UserError, match=r"reviews: shards of a text, not of a table"):
        load(write(texts, text="review", label="mark"), "review")
    first = folder / "00000.rows"
    content = first.read_bytes()
    first.write_bytes(content[:1000] + bytes(500) + content[1500:])
    with pytest.raises(UserError, match=r"houses: a shard is damaged .*; copy it again") as error:
        load(folder, "price").train[0][:]
    assert "\n" not in str(error.value)
    first.unlink()
    with pytest.raises(UserError, match=r"00000\.rows: no such file"):
        load(folder, "price")


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        ("a,b\n1,2\n", {}, r"bad\.csv: a file; name --target for a table"),
        ("a,b\n1,2\n", {"text": "a"}, "sentences need --text and --label"),
        ("a,b\n1,2\n", {"target": "c"}, r"bad\.csv: no column c"),
        ("", {"target": "c"}, r"bad\.csv: no column names"),
        ("a,b\n" + "1,2\n" * 2000 + "3\n", {"target": "b"}, r"bad\.csv, line 2002: 1 cells, but there are 2 columns"),
        ("a,b\n1,\xe9\n", {"target": "b"}, r"bad\.csv: not UTF-8 text"),
    ],
)
def test_a_file_that_cannot_be_written_as_shards_is_one_line(
    content: str, options: dict[str, Any], words: str, tmp_path: Path
) -> None:
    file = tmp_path / "bad.csv"
    file.write_text(content, encoding="latin-1")
    with pytest.raises(UserError, match=words):
        write(file, **options)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.csv"]
