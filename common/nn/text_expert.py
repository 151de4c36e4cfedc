"""A linear expert on the words and pairs of words of a sentence, for a product of experts with another network.

Each expert is trained alone: the linear one by logistic regression, then the other network by `fit`. The exponents come
last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops
from scipy.optimize import minimize
from scipy.sparse import csr_array, eye_array, hstack, vstack
from scipy.special import log_softmax

from common.data import Array, Data, Pair
from common.nn import experts, linear, losses
from common.nn.experts import LINEAR, TRAINED
from common.preprocessing import arrays, row_shards

if TYPE_CHECKING:
    from common.config import Config

PENALTIES = (1.0, 3.0, 10.0, 30.0)
"""Values of scikit-learn's C, the inverse of the penalty, from which `pretrain` chooses."""
LARGEST_EXPONENT = 3.0
"""Limit of an exponent: without errors on the validation set, larger exponents always have a smaller log loss."""
ROWS = 1000
"""Sentences at once, where many become terms."""
UNKNOWN = 1
"""Largest word number that is no word of the vocabulary: 0 is padding, 1 an unknown word."""


@keras.saving.register_keras_serializable("common")
class WordPairs(keras.layers.Layer):
    """Scores that each word of a sentence adds to those of the classes, in a linear model of words and pairs of words.

    The score of a class is sum_t w_t idf_t / sqrt(sum_t idf_t²) over the terms t of the sentence: its words, and its
    pairs of adjacent words (TF-IDF, Salton and Buckley 1988). A term counts once, where it is first (Pang et al. 2002).
    Terms that training lacks do not count. A pair's score is shared equally by its two words. (batch, length) word
    numbers -> (batch, length, outputs).

    Args:
        words: Number of word numbers.
        pairs: Number of pairs.
        outputs: Number of classes.
    """

    def __init__(self, words: int, pairs: int, outputs: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.words, self.pairs, self.outputs = words, pairs, outputs

    def build(self, _input_shape: Any) -> None:
        terms = self.words + self.pairs
        self.keys = self.add_weight((self.pairs,), "zeros", "int64", trainable=False, name="keys")
        self.idf = self.add_weight((terms,), "ones", trainable=False, name="idf")
        self.kernel = self.add_weight((terms, self.outputs), "zeros", name="kernel")
        # A checkpoint keeps the penalty from `pretrain` to `calibrate`.
        self.penalty = self.add_weight((), "ones", trainable=False, name="penalty")

    @classmethod
    def fitted(
        cls, vectorizer: keras.layers.Layer, sentences: Array, words: int, outputs: int, **kwargs: Any
    ) -> WordPairs:
        """Return the layer with the pairs and the inverse document frequencies of sentences, and with weights of 0.

        Args:
            vectorizer: Layer from sentences to word numbers (batch, length): 0 is padding, 1 an unknown word.
            sentences: Training sentences (sentences,).
            words: Number of word numbers.
            outputs: Number of classes.
            **kwargs: Arguments of every layer.
        """
        numbers = ops.convert_to_numpy(vectorizer(sentences))
        known = (numbers[:, :-1] > UNKNOWN) & (numbers[:, 1:] > UNKNOWN)
        pairs = numbers[:, :-1].astype("int64") * words + numbers[:, 1:]
        # Of an unknown pair, the first key is found: that of two paddings, which does not count.
        keys = np.unique(np.append(pairs[known], 0))
        layer = cls(words, len(keys), outputs, **kwargs)
        layer.build(numbers.shape)
        layer.keys.assign(keys)
        counts = np.zeros(words + len(keys))
        for rows in np.array_split(numbers, -(-len(numbers) // ROWS)):
            counts += np.bincount(ops.convert_to_numpy(layer.terms(rows)).ravel(), minlength=len(counts))
        counts[[0, UNKNOWN, words]] = 0
        layer.idf.assign(np.where(counts > 0, np.log((1 + len(numbers)) / (1 + counts)) + 1, 0))
        return layer

    def terms(self, numbers: Any) -> Any:
        """Return the numbers of the terms of sentences, (batch, 2 length - 1): the words, then the pairs.

        The number of a repeated term is 0, like padding.
        """
        numbers = ops.cast(numbers, "int64")
        pairs = numbers[:, :-1] * self.words + numbers[:, 1:]
        places = ops.zeros_like(pairs)
        # A binary search by operations that export formats have, unlike that of `ops.searchsorted`.
        for bit in reversed(range((self.pairs - 1).bit_length())):
            later = ops.minimum(places + 2**bit, self.pairs - 1)
            places = ops.where(ops.take(self.keys, later) <= pairs, later, places)
        places = ops.where(ops.take(self.keys, places) == pairs, places, 0)
        terms = ops.concatenate([numbers, self.words + places], axis=1)
        order = ops.argsort(terms, axis=1)  # equal terms keep their order
        sorted_terms = ops.take_along_axis(terms, order, axis=1)
        repeated = sorted_terms == ops.pad(sorted_terms[:, :-1], [(0, 0), (1, 0)])
        return ops.where(ops.take_along_axis(repeated, ops.argsort(order, axis=1), axis=1), 0, terms)

    def weights_of(self, terms: Any) -> Any:
        """Return the TF-IDF weights of `terms`, of their shape; their squares have the sum 1."""
        idf = ops.take(self.idf, terms)
        return idf * ops.rsqrt(ops.maximum(ops.sum(ops.square(idf), axis=1, keepdims=True), 1e-6))

    def call(self, inputs: Any) -> Any:
        terms, length = self.terms(inputs), inputs.shape[1]
        scores = self.weights_of(terms)[..., None] * ops.take(self.kernel, terms, axis=0)
        halves = scores[:, length:] / 2
        before, after = (ops.pad(halves, [(0, 0), side, (0, 0)]) for side in ((1, 0), (0, 1)))
        return scores[:, :length] + before + after


def multiply(scores: Any, words: Any) -> Any:
    """Return the scores of the product of two experts, at first with equal exponents, (batch, classes).

    Args:
        scores: Scores of the network that `fit` trains, (batch, classes).
        words: Scores that each word adds to those of the linear expert, (batch, length, classes), from `WordPairs`.
    """
    return experts.multiply(scores, ops.sum(words, axis=1), exponents=(0.5, 0.5))


def pretrain(model: keras.Model, config: Config, data: Data) -> tuple[()]:
    """Fit the linear expert of a network, if it has one, to the training set, with the best penalty for validation."""
    if layer := _expert(model):
        print(f"{LINEAR}: logistic regression on words and pairs of words of {data.examples(config):,} sentences")
        spelling = _spelling(model, layer)
        train, validation = _features(model, layer, config, data, spelling)
        _fit_linear(model, layer, config, spelling, train, validation, PENALTIES)
    return ()


def _expert(model: keras.Model) -> WordPairs | None:
    """Return the layer of a network with the linear expert."""
    return next((layer for layer in model.layers if isinstance(layer, WordPairs)), None)


def _features(
    model: keras.Model, layer: WordPairs, config: Config, data: Data, spelling: csr_array
) -> list[tuple[csr_array, Array]]:
    """Return the features (sentences, terms + n-grams) and labels of the training and validation sets."""
    network = keras.Model(model.input, layer.input)
    train, validation = row_shards.sample(data.train), row_shards.sample(data.validation)
    pairs = arrays.first(train, data.examples(config)), validation
    return [(_term_weights(layer, _predict(network, sentences)) @ spelling, labels) for sentences, labels in pairs]


def _fit_linear(
    model: keras.Model,
    layer: WordPairs,
    config: Config,
    spelling: csr_array,
    train: Pair,
    validation: Pair,
    penalties: Sequence[float],
) -> None:
    """Fit the linear expert to `train`, with that of `penalties` which is best on `validation`.

    A word's weight is its own one plus the weighted sum of those of its n-grams of 3 to 5 letters, so that words which
    are spelled alike learn from each other (Bojanowski et al. 2017).
    """
    balanced = config.class_weights == "balanced"
    kernel, bias, penalty = linear.fit_softmax(train, validation, layer.outputs, balanced, penalties)
    layer.kernel.assign(spelling @ kernel)
    layer.penalty.assign(penalty)
    model.get_layer(LINEAR).bias.assign(bias)


def _spelling(model: keras.Model, layer: WordPairs) -> csr_array:
    """Return the matrix (terms, terms + n-grams) that turns TF-IDF weights into features.

    A term has a feature of its own; a word also has a part in those of its n-grams.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = next(one for one in model.layers if isinstance(one, keras.layers.TextVectorization)).get_vocabulary()
    ngrams = csr_array(TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5)).fit_transform(words))
    terms = layer.words + layer.pairs
    ngrams.resize((terms, ngrams.shape[1]))  # pairs have none
    return hstack([eye_array(terms), ngrams], format="csr", dtype="float32")


def _term_weights(layer: WordPairs, numbers: Array) -> csr_array:
    """Return the TF-IDF weights of sentences, (sentences, terms)."""
    parts = []
    for rows in np.array_split(numbers, -(-len(numbers) // ROWS)):
        terms = layer.terms(rows)
        weights, columns = (ops.convert_to_numpy(one) for one in (layer.weights_of(terms), terms))
        starts = np.arange(len(rows) + 1) * columns.shape[1]
        part = csr_array((weights.ravel(), columns.ravel(), starts), (len(rows), layer.words + layer.pairs))
        part.eliminate_zeros()
        parts.append(part)
    return vstack(parts, format="csr")


def calibrate(model: keras.Model, config: Config, data: Data) -> None:
    """Set the exponents of the experts of a network, if it has them, on the validation set.

    Then the linear expert, for which every sentence counts, is fitted to the training and validation sets together.
    """
    if not (layer := _expert(model)):
        return
    found = [model.get_layer(name) for name in (TRAINED, LINEAR)]
    inputs, labels = row_shards.sample(data.validation)
    weights = np.array(losses.class_weights(config.class_weights, data))[labels]
    outputs = _predict(keras.Model(model.input, [expert.input for expert in found]), inputs)
    scores = [
        one.astype("float64") + ops.convert_to_numpy(expert.bias) for one, expert in zip(outputs, found, strict=True)
    ]
    for expert, exponent in zip(found, exponents(scores, labels, weights), strict=True):
        expert.exponent.assign(exponent)
        print(f"{expert.name}: exponent {exponent:.2g}, from {len(labels):,} validation sentences")
    spelling = _spelling(model, layer)
    (train, train_labels), (validation, validation_labels) = _features(model, layer, config, data, spelling)
    both = vstack([train, validation], format="csr"), np.concatenate([train_labels, validation_labels])
    _fit_linear(model, layer, config, spelling, both, both, [float(layer.penalty)])


def exponents(scores: Sequence[Array], labels: Array, weights: Array) -> Array:
    """Return the exponents (experts,) for which the product of experts has the smallest log loss.

    The loss is convex: a logistic regression on the scores of the experts.

    Args:
        scores: Scores of each expert, (examples, classes).
        labels: Labels (examples,).
        weights: Weight of each example in the loss, (examples,).
    """
    rows = np.arange(len(labels))

    def loss(factors: Array) -> float:
        product = np.tensordot(factors, scores, 1)
        return -float((log_softmax(product, axis=1)[rows, labels] * weights).mean())

    equal = np.full(len(scores), 1 / len(scores))
    return minimize(loss, equal, bounds=[(0, LARGEST_EXPONENT)] * len(scores)).x


def _predict(network: keras.Model, sentences: Array) -> Any:
    """Return the network's outputs for `sentences`, without compiling it."""
    parts = np.array_split(sentences, -(-len(sentences) // arrays.PREDICTION_BATCH))
    outputs = [network(ops.convert_to_tensor(part), training=False) for part in parts]
    return keras.tree.map_structure(lambda *one: np.concatenate([ops.convert_to_numpy(part) for part in one]), *outputs)
