"""The command group: groups of examples that no label made, their page and table, and its errors."""

import dataclasses
import re
import sys
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw
from sklearn.metrics import adjusted_rand_score

from apps import fine_tune, logistic_regression, lstm_text, rbm, rbm_recommender, table_mlp
from common import tracking
from common.app import App
from common.cli import commands
from common.data import Array, Data, Formats, ImageFormat, RawData, SavedModel
from common.errors import UserError
from common.explain import clusters, groups
from tests.conftest import few

RANDOM = np.random.default_rng(0)


def clouds(number: int, each: int) -> tuple[Array, Array]:
    """Points around centres that are far from each other, the first centre with twice as many, and their centres."""
    of = np.repeat(np.arange(number), [2 * each, *[each] * (number - 1)])
    return (10 * np.eye(number, 60)[of] + RANDOM.normal(size=(len(of), 60))).astype("float32"), of


@pytest.mark.parametrize("number", [2, 3, 6])
def test_the_number_of_separate_clouds_is_found(number: int) -> None:
    points, of = clouds(number, 20)
    found = clusters.cluster(points)
    assert found.number == number
    assert found.tried[number] == max(found.tried.values())
    assert found.silhouette > 0.3
    assert adjusted_rand_score(of, found.of) == pytest.approx(1)
    assert (np.diff(np.bincount(found.of)) <= 0).all()  # the largest first
    nearest = found.distances[found.of == 0].argmin()
    members = points[found.of == 0]
    assert np.linalg.norm(members - members.mean(axis=0), axis=1).argsort()[:5].tolist().count(nearest) == 1


def test_a_given_number_is_taken() -> None:
    points, _ = clouds(3, 20)
    found = clusters.cluster(points, 5)
    assert found.number == 5
    assert not found.tried


def test_many_examples_are_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "SAMPLE", 60)
    points, of = clouds(4, 50)
    found = clusters.cluster(points)
    assert adjusted_rand_score(of, found.of) == pytest.approx(1)
    examples = groups.Unsorted([""] * len(of), points, None, "", {})
    assert "of 60 random images, of 2 to 20 groups" in groups._facts(found, None, examples, "images")["groups"]


def test_copies_are_no_groups() -> None:
    points = np.repeat(RANDOM.normal(size=(3, 8)), 10, axis=0)
    assert clusters.cluster(points).number == 2
    with pytest.raises(UserError, match="`groups` 4: only 3 of the 30 examples differ"):
        clusters.cluster(points, 4)
    with pytest.raises(UserError, match="only 1 of the 10 images differ"):
        clusters.cluster(points[:10], noun="images")


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of discs and stripes, ten each, and a file that is no image."""
    folder, random = tmp_path_factory.mktemp("shapes"), np.random.default_rng(0)
    for kind in ("disc", "stripe"):
        (folder / kind).mkdir()
        for number in range(10):
            image = Image.new("L", (28, 28), 0)
            draw = ImageDraw.Draw(image)
            x = int(random.integers(3, 7))
            draw.ellipse((x, 6, x + 17, 23), fill=255) if kind == "disc" else draw.rectangle(
                (x + 6, 2, x + 9, 25), fill=255
            )
            image.save(folder / kind / f"{number}.png")
    (folder / "disc" / "broken.png").write_bytes(b"no image")
    return folder


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> SavedModel:
    """The app's saved model: a machine that was not trained."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((28, 28), dtype="uint8"),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(30, "sigmoid", name="rbm"),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(2, "softmax"),
        ]
    )
    saved = SavedModel(
        model=model,
        label="rbm-mnist version 1",
        data="mnist",
        kind="image",
        outputs=("0", "1"),
        settings={},
        formats=Formats(image=ImageFormat(28, 20)),
    )
    monkeypatch.setattr(tracking, "load", lambda *_: saved)
    return saved


def run_group(app: App, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    """Run the command in this process."""
    monkeypatch.setattr(sys, "argv", [app.name, "group", *arguments])
    monkeypatch.setenv("COLUMNS", "160")
    commands.main(app)


def refused(app: App, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the one line with which the command refuses."""
    with pytest.raises(SystemExit) as ended:
        run_group(app, monkeypatch, *arguments)
    assert ended.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    return line


@pytest.mark.usefixtures("machine", "store")
def test_a_folder_is_grouped(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "found"
    run_group(rbm.app, monkeypatch, str(shapes), "--groups", "2", "--output", str(output))
    told = capsys.readouterr()
    assert "rbm-mnist version 1, layer rbm" in told.out
    assert "the folders of the images are taken as labels" in told.err
    assert "broken.png: not an image" in told.err
    assert re.search(r"adjusted Rand index 1\.000; 1\.000 for k-means on pixels", told.out)
    assert "--groups N" in told.out
    table = pd.read_csv(output / "groups.csv", keep_default_na=False)
    assert len(table) == 21
    assert set(table["label"]) == {"disc", "stripe", ""}
    good = table[table["problem"] == ""]
    assert good.groupby("label")["group"].nunique().to_dict() == {"disc": 1, "stripe": 1}
    page = (output / "groups.html").read_text()
    assert page.count("data:image/png") == 2
    assert "10 images, 100.0 % of them with the label" in page


@pytest.mark.usefixtures("machine", "store")
def test_the_test_set_is_grouped_without_files(
    mnist: RawData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(App, "data_of", lambda *_: few(mnist, test=60))
    run_group(rbm.app, monkeypatch, "--output", str(tmp_path / "found"))
    assert "silhouette" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "found" / "groups.csv")
    assert table["input"].tolist() == list(range(60))
    assert table["label"].tolist() == mnist.test[1][:60].tolist()


@pytest.mark.usefixtures("machine", "store")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "nowhere: no such file"),
        (["{shapes}/disc", "--groups", "11"], "10 images; `--groups` 11 needs as many images"),
        (["{shapes}/disc", "--groups", "1"], "--groups must be at least 2, not 1"),
        (["{shapes}/disc/0.png", "{shapes}/disc/1.png"], "2 images; group needs 3 at least"),
        (["{shapes}", "--output", "{shapes}/disc/0.png"], "0.png: a file; name a folder"),
        (["{shapes}", "--output", "{shapes}/no/such"], "there is no folder"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    arguments: list[str],
    words: str,
    shapes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    line = refused(rbm.app, monkeypatch, capsys, *(word.format(shapes=shapes) for word in arguments))
    assert words.replace("`", "") in line
    assert not (tmp_path / "groups").exists()


@pytest.mark.usefixtures("store")
def test_photographs_are_grouped_before_any_training(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "needs files" in refused(fine_tune.app, monkeypatch, capsys)
    run_group(fine_tune.app, monkeypatch, str(shapes), "--output", str(tmp_path / "found"))
    told = " ".join(capsys.readouterr().out.split())
    assert re.search(r"features EfficientNetLite0, pretrained on ImageNet, layer pooled_features", told)
    assert re.search(r"groups \d, with the highest silhouette, of 2 to 5 groups", told)
    table = pd.read_csv(tmp_path / "found" / "groups.csv").dropna()
    assert adjusted_rand_score(table["label"], table["group"]) > 0.3
    assert "data:image/jpeg" in (tmp_path / "found" / "groups.html").read_text()


@pytest.mark.usefixtures("store")
def test_ratings_cannot_be_grouped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], machine: SavedModel
) -> None:
    monkeypatch.setattr(tracking, "load", lambda *_: dataclasses.replace(machine, kind="ratings"))
    assert "group sorts images, rows of tables and sentences" in refused(rbm_recommender.app, monkeypatch, capsys)


def test_the_features_of_sentences_are_those_of_the_lstm() -> None:
    pair = np.array(["a fine film", "a dull film", "so dull", "fine acting"]), np.array([1, 0, 0, 1])
    data = Data("films", "", pair, pair, pair, ("dull", "fine"), kind="text")
    model = lstm_text.build_model(lstm_text.Settings(units=3, vocabulary=10, length=4), data)
    network, name = groups.feature_network(lstm_text.app, model)
    assert name == "summary"
    assert network.output_shape == (None, 6)


def test_a_loaded_network_may_have_a_layer_that_flattens() -> None:
    model = keras.Sequential(
        [keras.Input((3, 4)), keras.layers.Flatten(name="flatten"), keras.layers.Dense(5), keras.layers.Dense(2)]
    )
    keras.backend.clear_session()  # the next layer without a name is called flatten
    network, _ = groups.feature_network(logistic_regression.app, model)
    assert network.output_shape == (None, 5)


def test_the_features_of_a_table_are_those_of_the_last_hidden_layer() -> None:
    columns = {"length": RANDOM.normal(size=60).astype("float32")}
    pair = columns, np.arange(60) % 2
    data = Data("rows", "", pair, pair, pair, ("short", "long"), kind="table")
    network, name = groups.feature_network(
        table_mlp.app, table_mlp.build_model(table_mlp.Settings(hidden=(6, 5), members=2), data)
    )
    assert name == "hidden"
    assert network.output_shape == (None, 2 * 5)


def test_sentences_and_tables_are_grouped_and_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rows = pd.DataFrame({"length": [*RANDOM.normal(1, 0.1, 20), *RANDOM.normal(9, 0.1, 20)]})
    rows["kind"] = ["short"] * 20 + ["long"] * 20
    rows.to_csv(tmp_path / "rows.csv", index=False)
    inputs = {"length": keras.Input((1,), name="length")}
    model = keras.Model(
        inputs, keras.layers.Dense(2, "softmax", name="output")(keras.layers.Identity()(inputs["length"]))
    )
    saved = SavedModel(
        model=model,
        label="logistic_regression",
        data="rows",
        kind="table",
        outputs=("short", "long"),
        settings={"target": "kind"},
    )
    monkeypatch.setattr(tracking, "load", lambda *_: saved)
    found = groups.group(logistic_regression.app, [str(tmp_path / "rows.csv")], None, None)
    assert found.table["label"].tolist() == rows["kind"].tolist()
    assert "adjusted Rand index 1.000; 1 is" in found.facts["agreement with labels"]
    assert "<th>row</th>" in found.page

    words = ["fine film"] * 3 + ["dull film"] * 2
    vectorizer = keras.layers.TextVectorization(vocabulary=["fine", "dull", "film"])
    text_in = keras.Input((), dtype="string")
    embedded = keras.layers.Embedding(6, 4)(vectorizer(text_in))
    pooled = keras.layers.GlobalAveragePooling1D()(embedded)
    reader = keras.Model(text_in, keras.layers.Dense(2, "softmax")(pooled))
    reviews = dataclasses.replace(saved, model=reader, kind="text", label="lstm_text", settings={"text": None})
    monkeypatch.setattr(tracking, "load", lambda *_: reviews)
    monkeypatch.setattr(clusters, "FEWEST", 2)
    found = groups.group(lstm_text.app, words, None, 2)
    assert found.table["group"].tolist() == [1, 1, 1, 2, 2]
    assert found.page.count("<li>fine film</li>") == 3
