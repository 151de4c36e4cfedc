"""The linear expert on words and pairs of words: its formula, its fit, and its product with a network."""

from pathlib import Path

import keras
import numpy as np
import pytest
from scipy.sparse import hstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from apps.lstm_text import Settings, app
from common import training
from common.data import Array, Data
from common.nn import experts, text_expert
from common.preprocessing import text

SENTENCES = np.array(["a fine film", "not a fine film", "a dull film", "not so not so dull"] * 15, dtype=object)
LABELS = np.array([1, 0, 0, 1] * 15, dtype="int32")
PAIR = (SENTENCES, LABELS)
FEW = Data("few", "", PAIR, PAIR, PAIR, ("bad", "good"), kind="text")
SMALL = Settings(vocabulary=20, length=4, embedding=4, units=2, epochs=1)


@pytest.fixture
def layer() -> tuple[keras.layers.Layer, text_expert.WordPairs]:
    """A layer that numbers words, and the terms of the sentences; weights that say something."""
    vectorizer = text.vectorizer(SENTENCES, 20, 6)
    pairs = text_expert.WordPairs.fitted(vectorizer, SENTENCES, 22, 2)
    pairs.kernel.assign(np.random.default_rng(0).normal(size=pairs.kernel.shape))
    return vectorizer, pairs


def scores(layers: tuple[keras.layers.Layer, text_expert.WordPairs], *sentences: str) -> Array:
    """What each word adds to the scores of the classes, (sentences, words, classes)."""
    vectorizer, pairs = layers
    return np.asarray(pairs(vectorizer(np.array(sentences, dtype=object))))


def test_the_linear_expert_is_scikit_learns_tf_idf_and_logistic_regression() -> None:
    """A repeated word or pair of words counts once; a word's weight is its own one and those of its n-grams."""
    model = training.build(app, SMALL, FEW)
    text_expert.pretrain(model, SMALL, FEW)
    linear = model.get_layer(experts.LINEAR)
    network = keras.Model(model.input, linear.input)
    found = network.predict(SENTENCES[:4], verbose=0) + np.asarray(linear.bias)
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\S+", binary=True)
    weights = vectorizer.fit_transform(SENTENCES)
    terms = ["" if " " in term else term for term in vectorizer.get_feature_names_out()]
    ngrams = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5)).fit(["[UNK]", *filter(None, terms), ""])
    weights = hstack([weights, weights @ ngrams.transform(terms)], format="csr")
    fits = [LogisticRegression(C=one, max_iter=200, tol=1e-3).fit(weights, LABELS) for one in text_expert.PENALTIES]
    expected = [fit.decision_function(weights[:4]) for fit in fits]
    distances = [np.abs(found[:, 1] - found[:, 0] - one).max() for one in expected]
    assert min(distances) < 0.02
    assert found.argmax(axis=1).tolist() == LABELS[:4].tolist()


def test_unknown_words_their_pairs_and_padding_do_not_count(
    layer: tuple[keras.layers.Layer, text_expert.WordPairs],
) -> None:
    known, unknown = scores(layer, "a fine film", "fine zzz")
    np.testing.assert_array_equal(known[3:], 0)
    np.testing.assert_array_equal(unknown[1:], 0)
    vectorizer, pairs = layer
    number = vectorizer.get_vocabulary().index("fine")
    np.testing.assert_allclose(unknown[0], np.asarray(pairs.kernel)[number], rtol=1e-5)  # its only term


def test_the_words_of_a_pair_share_its_score(layer: tuple[keras.layers.Layer, text_expert.WordPairs]) -> None:
    (before,) = scores(layer, "a dull film")
    vectorizer, pairs = layer
    left, right = (vectorizer.get_vocabulary().index(word) for word in ("dull", "film"))
    term = 22 + int(np.flatnonzero(np.asarray(pairs.keys) == 22 * left + right)[0])
    kernel = np.array(pairs.kernel)
    kernel[term] += 1
    pairs.kernel.assign(kernel)
    (after,) = scores(layer, "a dull film")
    added = after - before
    assert (added[1] > 0).all()
    np.testing.assert_allclose(added[1], added[2], rtol=1e-4)
    np.testing.assert_array_equal(added[[0, 3]], 0)


def test_the_exponents_undo_too_much_certainty_and_end_that_of_what_is_not_known() -> None:
    rng = np.random.default_rng(0)
    chances = rng.dirichlet([1.0] * 3, 5000)
    labels = np.array([rng.choice(3, p=one) for one in chances])
    scores = [3 * np.log(chances), 10 * rng.normal(size=(5000, 3))]
    np.testing.assert_allclose(text_expert.exponents(scores, labels, np.ones(5000)), [1 / 3, 0], atol=0.02)
    only = (labels == 0).astype(float)  # the weights choose the examples that count
    certain = np.tile([1.0, 0, 0], (5000, 1))
    assert text_expert.exponents([certain], labels, only) == text_expert.LARGEST_EXPONENT


def test_the_network_learns_alone_and_answers_with_the_expert(tmp_path: Path) -> None:
    model = training.build(app, SMALL, FEW)
    text_expert.pretrain(model, SMALL, FEW)
    alone = keras.Model(model.input, keras.layers.Softmax()(model.get_layer(experts.TRAINED).input))
    asked = keras.ops.convert_to_tensor(SENTENCES[:4])
    for one in model.layers:
        if isinstance(one, keras.layers.Dropout):
            one.rate = 0.0
    np.testing.assert_allclose(model(asked, training=True), alone(asked), rtol=1e-5)
    text_expert.calibrate(model, SMALL, FEW)  # the network has learned nothing
    own, linear = (float(model.get_layer(name).exponent) for name in (experts.TRAINED, experts.LINEAR))
    assert linear > 1
    assert own != 0.5
    assert np.asarray(model(asked)).argmax(axis=1).tolist() == LABELS[:4].tolist()
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    np.testing.assert_array_equal(again(asked), model(asked))
    pairs = next(one for one in model.layers if isinstance(one, text_expert.WordPairs))
    pairs.penalty.assign(1e-6)
    text_expert.calibrate(model, SMALL, FEW)
    assert np.abs(pairs.kernel).max() < 1e-3  # the penalty is not chosen again


def test_the_expert_can_be_left_out() -> None:
    config = Settings(linear=False, vocabulary=20, length=4, embedding=4, units=2)
    model = training.build(app, config, FEW)
    text_expert.pretrain(model, config, FEW)
    text_expert.calibrate(model, config, FEW)
    assert not any(isinstance(one, text_expert.WordPairs | experts.Expert) for one in model.layers)
    assert model.output_shape == (None, 2)
