"""The command explain, for one app a kind of data, and whether what it shows depends on what was learned."""

from collections.abc import Callable
from pathlib import Path

import keras
import mlflow
import numpy as np
import pandas as pd
import pytest

from apps import lstm_text
from common import explain, tracking
from common.data import Data, RawData
from common.explain.attribution import agreement, grad_cam, integrated_gradients, randomised, saliency
from common.explain.parts import split_model
from common.nn import experts
from common.nn.text_expert import WordPairs
from common.preprocessing import text
from tests.conftest import Trained, assert_user_error, train_for_all, train_once

Explain = Callable[..., pd.DataFrame]
SENTENCES = {"good": ["a fine film", "what a treat - really", "fine , fine acting"], "bad": ["a dull film", "so dull"]}


@pytest.fixture(scope="module")
def lenet(shared: Path) -> Trained:
    return train_for_all("lenet5", shared)


@pytest.fixture(scope="module")
def digits(mnist: RawData, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("digits") / "digits.npy"
    np.save(path, mnist.test[0][:3])
    return str(path)


@pytest.fixture(scope="module")
def churn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trained, Path]:
    """A table with gaps and text, in which the plan decides; and the model that learned it."""
    folder, rng = tmp_path_factory.mktemp("table"), np.random.default_rng(0)
    plan, age = rng.choice(["basic", "extra", "full"], 200), rng.normal(40, 10, 200).round(1)
    frame = pd.DataFrame({"plan": plan, "age": age, "noise": rng.normal(size=200)})
    frame.loc[::7, "age"] = np.nan
    frame["churned"] = np.where(plan == "basic", "yes", "no")
    frame.to_csv(folder / "churn.csv", index=False)
    settings = ("--csv", str(folder / "churn.csv"), "--target", "churned", "--epochs", "30")
    return train_once("logistic_regression", folder, *settings), folder / "churn.csv"


def explained(trained: Trained, folder: Path, *arguments: str) -> tuple[str, pd.DataFrame]:
    """What the command says, and its table of attributions."""
    result = trained("explain", *arguments, "--output", str(folder))
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return result.stdout, pd.read_csv(folder / "attributions.csv", keep_default_na=False)


def complete(trained: Trained, output: str) -> None:
    """The largest completeness error that is said is at most 1 %, and the pictures are in the model's run."""
    errors = [float(line.split(" % (")[0].split()[-1]) for line in output.splitlines() if " steps)" in line]
    assert errors
    assert max(errors) <= 1
    mlflow.set_tracking_uri(trained.uri)
    client = mlflow.MlflowClient()
    (version,) = client.search_model_versions()
    assert str(version.run_id) in output
    kept = {Path(artifact.path).name for artifact in client.list_artifacts(str(version.run_id), "explain")}
    assert "attributions.csv" in kept
    assert any(name.endswith(".png") for name in kept)


def test_pictures(lenet: Trained, digits: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explain, "PAGE", 2)
    output, table = explained(lenet, tmp_path / "why", digits)
    complete(lenet, output)
    assert (table.groupby("input").size() == 49).all()  # squares
    assert {path.name for path in (tmp_path / "why").iterdir()} == {
        "attributions.csv",
        "explanation_1.png",
        "explanation_2.png",  # of the third
    }
    assert "black image" in output


def test_the_class_to_explain_can_be_chosen(churn: tuple[Trained, Path], tmp_path: Path) -> None:
    """Of two classes, what speaks for one speaks against the other."""
    trained, rows = churn
    (tmp_path / "row.csv").write_text("".join(rows.read_text().splitlines(keepends=True)[:2]))
    _, yes = explained(trained, tmp_path / "yes", str(tmp_path / "row.csv"), "--target", "yes")
    output, no = explained(trained, tmp_path / "no", str(tmp_path / "row.csv"), "--target", "no")
    assert " no " in output
    np.testing.assert_allclose(yes.integrated_gradients, -no.integrated_gradients, rtol=1e-4, atol=1e-6)


def test_maps_depend_on_what_was_learned(lenet: Trained, mnist: RawData, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sanity check of Adebayo et al. 2018: those of a network with shuffled weights are others, by every method."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", lenet.uri)
    model = tracking.load("lenet5", None).model
    pictures = mnist.test[0][:4]
    chosen = model.predict(pictures, verbose=0).argmax(axis=1)
    maps = []
    for shuffled in (False, True):
        if shuffled:
            model.set_weights(randomised(model).get_weights())
        scored = split_model(model, classes=True)
        x, _ = scored.enter(pictures)
        integrated = [
            integrated_gradients(scored.network, one, number, np.zeros_like(one)).values
            for one, number in zip(x, chosen, strict=True)
        ]
        assert scored.maps
        cam = grad_cam(*scored.maps, x, chosen)
        maps.append([np.stack(integrated), saliency(scored.network, x, chosen), cam])
    for trained, random in zip(*maps, strict=True):
        alike = [agreement(one, other) for one, other in zip(trained, random, strict=True)]
        assert abs(np.nanmean(alike)) < 0.5


def test_rows_of_a_table(churn: tuple[Trained, Path], tmp_path: Path) -> None:
    trained, _ = churn
    rows = tmp_path / "rows.csv"
    rows.write_text("plan,age,noise\nbasic,40,0\nfull,,0.5\n")
    output, table = explained(trained, tmp_path / "why", str(rows))
    complete(trained, output)
    assert list(table.part) == ["age = 40", "noise = 0", "plan = basic", "age = missing", "noise = 0.5", "plan = full"]
    first = table.iloc[:3].set_index("part").integrated_gradients
    assert first["plan = basic"] > 10 * first.drop("plan = basic").abs().max()
    # A linear model's attributions are what it loses without the column.
    np.testing.assert_allclose(table.integrated_gradients, table.occlusion, rtol=1e-3, atol=1e-4)


def test_a_table_as_a_whole(churn: tuple[Trained, Path], tmp_path: Path) -> None:
    trained, _ = churn
    result = trained("explain", "--output", str(tmp_path / "why"))
    assert result.returncode == 0, result.stderr
    importance = pd.read_csv(tmp_path / "why" / "importance.csv")
    assert importance.column[0] == "plan"
    assert importance["accuracy lost"][0] > 0.2
    assert abs(importance["accuracy lost"][1:]).max() < 0.05
    assert {path.name for path in (tmp_path / "why").glob("*.png")} == {"importance.png", "coefficients.png"}


def test_words(tmp_path: Path) -> None:
    lines = [
        f"{sentence},{label}" for label, ones in SENTENCES.items() for sentence in ones * 30 if "," not in sentence
    ]
    (tmp_path / "reviews.csv").write_text("text,label\n" + "\n".join(lines))
    data = ("--csv", str(tmp_path / "reviews.csv"), "--text", "text", "--label", "label")
    small = ("--units", "4", "--embedding", "8", "--length", "6", "--epochs", "20", "--learning-rate", "0.02")
    trained = train_once("lstm_text", tmp_path, *data, *small)
    output, table = explained(trained, tmp_path / "why", "what a dull - dull film this really is", "!!!")
    complete(trained, output)
    # As many as the network reads; a dash is no word.
    assert list(table.part) == ["what", "a", "dull", "dull", "film", "this"]
    values = table.set_index("part").integrated_gradients
    assert values.groupby("part").sum().abs().idxmax() == "dull"


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_words_of_both_experts(share: float, tmp_path: Path) -> None:
    """What is attributed to a word has its parts in both; those of the linear expert alone are its scores."""
    pair = (np.array(["a fine film", "a dull film"] * 20, dtype=object), np.array([1, 0] * 20))
    data = Data("few", "", pair, pair, pair, ("bad", "good"), kind="text")
    model = lstm_text.build_model(lstm_text.Settings(vocabulary=9, length=2, embedding=3, units=2), data)
    pairs = next(layer for layer in model.layers if isinstance(layer, WordPairs))
    pairs.kernel.assign(np.random.default_rng(0).normal(size=pairs.kernel.shape))
    for layer, exponent in ((experts.TRAINED, 1 - share), (experts.LINEAR, share)):
        model.get_layer(layer).exponent.assign(exponent)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    scored, sentences = split_model(loaded, classes=True), pair[0][:1]
    x, context = scored.enter(sentences)
    (probability,) = model.predict(sentences, verbose=0)
    np.testing.assert_allclose(
        scored.network([x, *context])[0, 1], np.log(probability[1] / probability[0]), rtol=1e-4, atol=1e-5
    )
    found = integrated_gradients(scored.network, x[0], 1, np.zeros_like(x[0]), [part[0] for part in context])
    assert found.error < 0.01
    by_word = found.values.sum(axis=-1)
    assert by_word.shape == (3,)  # the LSTM reads two
    if share == 0:
        assert by_word[2] == 0
    if share == 1:
        scores = keras.Model(model.input, pairs.output).predict(sentences, verbose=0)[0]
        np.testing.assert_allclose(by_word, scores[:, 1] - scores[:, 0], rtol=1e-4, atol=1e-6)


def test_steps_of_a_series(tmp_path: Path) -> None:
    trained = train_once("lstm_forecast", tmp_path, "--units", "4", "--horizon", "3", "--window", "11")
    output, table = explained(trained, tmp_path / "why", "sunspots")
    complete(trained, output)
    assert list(table.part) == [f"step {step}" for step in range(-11, 0)]


def test_steps_of_a_series_with_known_columns(tmp_path: Path) -> None:
    """The network has operations of the same names as those that explain adds, such as a mean."""
    days = pd.date_range("2024-01-01", periods=63)
    rows = [
        f"{day:%Y-%m-%d},{row % 7 + 5 * (row % 4 == 0) if row < 60 else ''},{row % 4 == 0:d}"
        for row, day in enumerate(days)
    ]
    (tmp_path / "days.csv").write_text("day,x,promo\n" + "\n".join(rows) + "\n")
    data = ("--csv", str(tmp_path / "days.csv"), "--target", "x", "--known", "promo", "--anchor", "mean")
    small = ("--units", "2", "--horizon", "3", "--window", "7", "--season", "7")
    keras.utils.clear_session()  # names are counted anew, as in a process of its own
    trained = train_once("lstm_forecast", tmp_path, *data, *small)
    keras.utils.clear_session()  # as in yet another one
    result = trained("explain", str(tmp_path / "days.csv"), "--output", str(tmp_path / "why"))
    assert result.returncode == 0, result.stderr
    assert "2024-03-01 and 2 more" in result.stdout
    table = pd.read_csv(tmp_path / "why" / "attributions.csv")
    assert list(table.part) == [f"step {step}" for step in range(-7, 0)]


def test_what_is_wrong_is_said_in_a_line(lenet: Trained, digits: str, tmp_path: Path) -> None:
    boltzmann = Trained("boltzmann", tmp_path / "mlruns")
    assert_user_error(boltzmann("explain", "x.npy"), "boltzmann", "predict")
    assert_user_error(lenet("explain"), "needs files")
    assert_user_error(lenet("explain", "missing.png"), "missing.png", "no such file")
    (tmp_path / "text.png").write_text("no picture")
    assert_user_error(lenet("explain", str(tmp_path / "text.png")), "text.png", "not an image")
    assert_user_error(lenet("explain", digits, "--target", "ten"), "--target ten", "0, 1, 2")
    assert_user_error(lenet("explain", digits, "--output", digits), "--output", "name a folder")
    assert_user_error(lenet("explain", digits, "--output", "nowhere/why"), "--output", "no folder nowhere")
    assert_user_error(lenet("explain", digits, "--model", "none"), "--model none")


def test_words_are_counted_as_the_vectorizer_does() -> None:
    sentences = ["It's fine , really -- twice ...", "a\tb\nc  d", "!!!", "caf\u00e9\u00a0noir, na\u00efve"]
    numbers = text.vectorizer(np.array(sentences, dtype=object), 100, 12)(sentences)
    for sentence, row in zip(sentences, np.asarray(numbers), strict=True):
        assert len(text.words(sentence)) == (row != 0).sum()
