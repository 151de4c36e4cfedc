"""Compare `lstm_text` with TF-IDF and logistic regression on five sets of sentences.

    python -m benchmarks.texts --tickets tickets.csv   # with your own file, of the columns message and topic
    python -m benchmarks.texts --only tweets --seeds 2
    python -m benchmarks.texts --only "product reviews" --redraw

Both have the same test part, which is read once: that of the app, or with --redraw another one for each seed, so that
the standard error contains the noise of the test part. The network has its default settings, and then `--epochs 6`; its
seed also draws the validation part. The peer learns from the training and validation parts together, with TF-IDF
weights of words and pairs of words, and the penalty that is best in a cross-validation of five folds.
"""

import dataclasses
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from apps import lstm_text
from benchmarks import measure
from common import training
from common.data import Array, Data, RawData
from common.preprocessing import splits, text
from common.training.checkpoint import Stopwatch
from common.training.few_examples import enough_steps

import keras  # isort: skip - deferred by `common`

GRID = {"logisticregression__C": [1.0, 3.0, 10.0, 30.0, 100.0]}
FEW = 6
"""Number of epochs of the second training with each seed."""


@dataclass(frozen=True)
class Score:
    """The result of a contestant."""

    error: float
    """Test error in per cent."""
    seconds: float
    """CPU seconds of the training."""
    epochs: int = 0
    """Number of epochs after which it stopped."""


def network(config: lstm_text.Settings, data: Data) -> Score:
    """Train `lstm_text` as its command does."""
    keras.backend.clear_session()
    trained = measure.train(lstm_text.app, enough_steps(config, data), data)
    found = error(training.predict(trained.model, data.test[0]).argmax(axis=1), data)
    return Score(found, trained.cpu, trained.epochs)


def peer(data: Data) -> Score:
    """Fit TF-IDF with logistic regression to the training and validation parts."""
    stopwatch = Stopwatch()
    sentences, labels = splits.join_pairs(data.train, data.validation)
    weights = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    fitted = GridSearchCV(make_pipeline(weights, LogisticRegression(max_iter=1000)), GRID).fit(sentences, labels)
    _, seconds = stopwatch.seconds()
    return Score(error(fitted.predict(data.test[0]), data), seconds)


def error(predicted: Array, data: Data) -> float:
    """Return the error of predicted labels for the test part in per cent."""
    return 100 * float((predicted != data.test[1]).mean())


def settings(tickets: Path | None) -> Iterator[tuple[str, lstm_text.Settings]]:
    """Yield the name of each set and the settings that name it."""
    yield "movie reviews", lstm_text.Settings(data="movie_reviews")
    yield "product reviews", lstm_text.Settings(data="product_reviews")
    yield "editorials", lstm_text.Settings(data="editorials")
    yield "tweets", lstm_text.Settings(data="tweets")
    if tickets:
        yield "tickets", lstm_text.Settings(csv=str(tickets), text="message", label="topic")


def redrawn(data: Data, config: lstm_text.Settings) -> Data:
    """Draw the test and validation parts anew from all sentences."""
    everything = splits.join_pairs(splits.join_pairs(data.train, data.validation), data.test)
    raw = RawData(name=data.name, digest=data.digest, kind="text", outputs=data.outputs, train=everything)
    return splits.split(raw, config.validation, config.seed, text.TEST_SHARE)


def row(name: str, own: Sequence[Score], other: Sequence[Score]) -> list[str]:
    """Return the cells of a row of the table."""
    errors, others = (np.array([one.error for one in scores]) for scores in (own, other))
    noise = (errors - others).std(ddof=1) / np.sqrt(len(own)) if len(own) > 1 else np.nan
    numbers = (errors.mean(), others.mean(), (errors - others).mean(), noise)
    seconds = (statistics.fmean(one.seconds for one in scores) for scores in (own, other))
    return [name, *(f"{number:.2f}" for number in numbers), *(f"{number:.0f}" for number in seconds)]


def main(seeds: int = 5, only: tuple[str, ...] = (), tickets: Path | None = None, redraw: bool = False) -> None:
    """Train both on each set, and print the means of the network's seeds.

    Args:
        seeds: Number of seeds.
        only: Names of the sets to use; by default all.
        tickets: File of the set of tickets.
        redraw: Draw another test part with each seed.
    """
    titles = ("`lstm_text`", "TF-IDF", "difference", "standard error", "CPU s", "CPU s of TF-IDF")
    table = Table("set", *titles, title=f"test errors in per cent, means of {seeds} seeds")
    for name, usual in settings(tickets):
        if only and name not in only:
            continue
        other: list[Score] = []
        own: dict[str, list[Score]] = {name: [], f"{name}, --epochs {FEW}": []}
        for seed in range(seeds):
            config = dataclasses.replace(usual, seed=seed)
            data = lstm_text.app.load_data(config)
            if redraw:
                data = redrawn(data, config)
            # Without --redraw, its sentences are the same for all seeds.
            other.append(peer(data) if redraw or not other else other[0])
            score = network(config, data)
            # A training that stopped by itself would be the same with fewer epochs allowed.
            fewer = score if score.epochs <= FEW else network(dataclasses.replace(config, epochs=FEW), data)
            for scores, one in zip(own.values(), (score, fewer), strict=True):
                scores.append(one)
            print(f"{name}, seed {seed}: {score}, {fewer}; TF-IDF {other[-1]}", flush=True)
        for title, scores in own.items():
            table.add_row(*row(title, scores, other))
    Console().print(table)


if __name__ == "__main__":
    tyro.cli(main)
