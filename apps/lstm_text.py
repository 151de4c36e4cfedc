"""Classify sentences with a bidirectional LSTM (Schuster and Paliwal 1997; Graves and Schmidhuber 2005).

    python -m apps.lstm_text train                                        # movie reviews: 22.09 % test error
    python -m apps.lstm_text predict "a fine film" "two hours of my life" reviews.txt
    python -m apps.lstm_text train --data imdb --length 300               # needs Keras's own download
    python -m apps.lstm_text train --csv mails.csv --text body --label folder

A logistic regression on the TF-IDF weights of words and pairs of words is as good as the LSTM on small sets, and makes
other errors. So the model is a product of both (Hinton 2002), except with --no-linear. The logistic regression comes
first; the LSTM is trained on its own loss, and the best epoch is that of the product with equal exponents; then the
exponents are those with the smallest log loss on the validation set. In the logistic regression, words with the same
letters in a row share weights: in short texts, most words are rare. `python -m benchmarks.texts` compares the product
with TF-IDF alone. The error is its mean of seeds 0, 1 and 2.

The model takes raw text: the vocabulary of the training part is a layer of it. `predict` takes sentences, .txt files
with one sentence on each line, or .csv files.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import keras

from common import App, Classification, Config, Count, Data, Fraction, Positive, UserError, cli
from common.nn import optimizers, text_expert
from common.preprocessing import datasets, row_shards, shards, splits, storage, text


@dataclass(frozen=True)
class Settings(Config):
    """Settings of the bidirectional LSTM."""

    data: Literal["movie_reviews", "product_reviews", "editorials", "tweets", "imdb"] = "movie_reviews"
    """Data set: 10,568, 3,610, 4,946 or 4,196 sentences, or 50,000 reviews that Keras must be able to download."""
    csv: str | None = None
    """CSV or Parquet file to use instead of a built-in data set, several ('part-*.csv'), or shards of them."""
    text: str | None = None
    """Column of --csv with the sentences."""
    label: str | None = None
    """Column of --csv with the classes."""
    vocabulary: Count = 10_000
    """Size of the vocabulary, which is the most frequent words of the training set."""
    length: Count = 40
    """Maximum number of words of a sentence that the LSTM reads."""
    embedding: Count = 100
    """Size of the word embeddings."""
    units: Count = 64
    """Number of LSTM cells in each direction."""
    summary: Literal["last", "mean"] = "last"
    """Output of the LSTM that is classified: the last one of each direction, or the mean over the sentence."""
    word_dropout: Fraction = 0.3
    """Dropout rate of the embeddings."""
    dropout: Fraction = 0.5
    """Dropout rate of the LSTM's output."""
    linear: bool = True
    """Combine the LSTM with a linear model of words and pairs of words."""

    epochs: Count = 10
    batch_size: Count = 64
    patience: Count = 3
    learning_rate: Positive = 0.001


def load_data(config: Settings) -> Data:
    """Load sentences (n,) of strings and integer labels (n,), and draw a stratified validation part."""
    if config.csv and not (config.text and config.label):
        raise UserError("`csv` needs `text` and `label`, the columns of sentences and of their classes")
    if config.csv:
        path = Path(storage.local(config.csv))
        stored = shards.is_shards(path)
        raw = row_shards.read(path, "text", config) if stored else text.read(path, str(config.text), str(config.label))
    else:
        raw = datasets.load(config.data)
    return row_shards.sampled(splits.split(raw, config.validation, config.seed, text.TEST_SHARE, test_seed=0))


def build_model(config: Settings, data: Data) -> keras.Model:
    """Build the network: a string in, class probabilities out."""
    sentences, words = row_shards.sample(data.train)[0], config.vocabulary + 2
    longest = max(config.length, text.longest(sentences)) if config.linear else config.length
    vectorizer = text.vectorizer(sentences, config.vocabulary, longest)
    inputs = keras.Input((), dtype="string")
    numbers = vectorizer(inputs)
    read, mean = numbers[:, : config.length], config.summary == "mean"
    if mean:  # of no word, it would be no number: an empty sentence is one unknown word
        read = keras.ops.concatenate([keras.ops.maximum(read[:, :1], text_expert.UNKNOWN), read[:, 1:]], axis=1)
    # The mask marks the padding for all later layers.
    x = keras.layers.Embedding(words, config.embedding, mask_zero=True)(read)
    x = keras.layers.Dropout(config.word_dropout, seed=config.seed)(x)
    x = keras.layers.Bidirectional(keras.layers.LSTM(config.units, return_sequences=mean))(x)
    if mean:
        x = keras.layers.GlobalAveragePooling1D()(x)
    x = keras.layers.Dropout(config.dropout, seed=config.seed + 1, name="summary")(x)
    scores = keras.layers.Dense(len(data.outputs))(x)
    if config.linear:
        pairs = text_expert.WordPairs.fitted(vectorizer, sentences, words, len(data.outputs), trainable=False)
        scores = text_expert.multiply(scores, pairs(numbers))
    model = keras.Model(inputs, keras.layers.Softmax()(scores))
    model.compile(optimizers.build(config, data), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


app = App(
    settings=Settings,
    load_data=load_data,
    build_model=build_model,
    task=Classification(),
    features="summary",
    # The module of nn is imported at its first use.
    pretrain=lambda model, config, data, _fit: text_expert.pretrain(model, config, data),
    calibrate=lambda model, config, data: text_expert.calibrate(model, config, data),
)

if __name__ == "__main__":
    cli.main(app, __doc__)
