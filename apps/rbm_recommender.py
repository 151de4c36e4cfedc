"""Recommendations by a restricted Boltzmann machine (Salakhutdinov, Mnih and Hinton 2007).

    python -m apps.rbm_recommender train                              # generated ratings: RMSE 0.710, 9 CPU s
    python -m apps.rbm_recommender train --ratings ml-20m/ratings.csv # MovieLens, or any table of ratings
    python -m apps.rbm_recommender predict --user 42 --top 10         # the best items that user 42 has not rated
    python -m apps.rbm_recommender predict rows.npy                   # the expected rating of every item

"Restricted Boltzmann machines for collaborative filtering": each rated item is a softmax unit with one state for each
level of the scale. Items without a rating take no part. All users share the weights to one hidden layer. Some ratings
of each user are held out for validation and test, and predicted from the others.

Contrastive divergence trains this machine with `--form softmax`; with `--hidden 200 --epochs 50 --batch-size 100
--learning-rate 0.005` it reaches 0.711. The default form is conditional on the rated items and on the user's own level,
has one weight for an item and a hidden unit, and learns to predict ratings that are left out. On 100,004 real ratings
of MovieLens it has an RMSE of 0.880, a matrix factorisation 0.894 (`python -m benchmarks.ratings`, means of seeds 0, 1
and 2). The generated ratings have exactly the structure of a factorisation, which is better on them: 0.685. A few
Gaussian hidden units have it, too: with `--units gaussian --hidden 4 --penalty 20` the error is 0.681. The mean of each
item has 0.983.

NDCG@10 ranks the held-out ratings only. `predict` takes .npy files of ratings (items,) or (n, items), in the order of
the items, with 0 for no rating.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import keras
import numpy as np
from annotated_types import Ge

from common import (
    App,
    Array,
    Config,
    Count,
    Data,
    Examples,
    NotNegative,
    Pair,
    Positive,
    PredictOptions,
    SavedModel,
    Schedule,
    Share,
    Task,
    Trained,
    UserError,
    baselines,
    cli,
    layer_names,
)
from common.config import Mode
from common.data import Description
from common.metrics import recommendation
from common.metrics import training as training_metrics
from common.nn import optimizers, rating_rbm
from common.plots import results
from common.preprocessing import arrays, rating_files, ratings, storage
from common.preprocessing.ratings import Ratings

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


GENERATED = (2000, 300, 60)
"""Users, items and mean ratings per user of the generated data set."""
PRIOR = 5.0
"""Number of ratings with the overall distribution that are added to each item's for the initial biases."""
BIAS_PENALTY = 2.0
"""L2 penalty of the items' biases of the conditional form, in ratings."""


@dataclass(frozen=True)
class Settings(Config):
    """Settings of the machine and of its data."""

    ratings: str | None = None
    """File of ratings: u.data, ratings.dat or ratings.csv of MovieLens, or a table; by default, they are generated."""
    columns: tuple[str, str, str] | None = None
    """Columns of --ratings with the user, the item and the rating; by default, those with usual names."""
    test: Share = 0.1
    """Share of each user's ratings in the test set, the same for every seed."""
    form: Literal["conditional", "softmax"] = "conditional"
    """Machine: conditional, with offsets of users and items, or the softmax units of the paper alone."""
    hidden: Count = 50
    """Number of hidden units."""
    units: Literal["binary", "gaussian"] = "binary"
    """Hidden units of the conditional form: gaussian ones are linear, as the factors of a factorisation."""
    penalty: NotNegative = 40.0
    """L2 penalty of the weights of the conditional form, in ratings, as the ridge of a factorisation."""
    left_out: Share = 0.2
    """Share of the ratings that a step of the conditional form leaves out and predicts from the others."""
    gibbs_steps: Count = 1
    """Steps of Gibbs sampling of contrastive divergence, by which the softmax form is trained."""
    weight_decay: NotNegative = 0.001
    """Share of each weight that a step with learning rate 1 subtracts in the softmax form."""

    validation: Share = 0.1
    """Share of each user's other ratings in the validation set."""
    limit: Annotated[int, Ge(0)] = 0
    """Number of users to train on, for a quick look; 0 for all."""
    epochs: Count = 20
    batch_size: Count = 25
    learning_rate: Positive = 0.01
    schedule: Schedule = "cosine"
    patience: Count = 15


def load_data(config: Settings) -> Data:
    """Load ratings (users, items). Inputs are the training ratings, targets those of each part.

    Raises:
        UserError: if the file cannot be read, or has too few ratings per user.
    """
    if config.columns and not config.ratings:
        raise UserError("`columns` needs `ratings`, a file with these columns")
    notes: tuple[str, ...] = ()
    if config.ratings:
        whole, notes = rating_files.read(Path(storage.local(config.ratings)), config.columns)
    else:
        whole = generated()
    rest, test = whole.hold_out(config.test, 0)
    known, validation = rest.hold_out(config.validation, 1, config.seed)
    if not test.size or not validation.size:
        raise UserError(
            f"{config.ratings}: too few ratings per user for validation and test; add some, or choose larger shares"
        )
    name = "_".join(Path(config.ratings).resolve().parts[-2:]) if config.ratings else "generated_ratings"
    parts = (known, known), (known, validation), (known, test)
    return Data(name, whole.digest, *parts, whole.items, kind="ratings", description=Description(notes))


def generated() -> Ratings:
    """Generate the default ratings (users, items), which are always the same."""
    users, items, each = GENERATED
    return ratings.collect(ratings.generate(users, items, each), dict.fromkeys(range(1, items + 1), "generated"))


def build_model(config: Settings, data: Data) -> keras.Model:
    """Build the machine: ratings (items,) in, 0 for no rating, expected ratings of all items (items,) out."""
    known: Ratings = data.train[0]
    machine = conditional(config, known) if config.form == "conditional" else softmax(config, known)
    inputs = keras.Input(data.input_shape, name="ratings")
    model = keras.Model(inputs, machine(inputs))
    # These biases are about the maximum of the likelihood without hidden units.
    if config.form == "conditional":
        machine.level_bias.assign(np.log(np.bincount(level_of(known), minlength=len(known.levels)) + 1))
        machine.item_bias.assign(item_offsets(known))
    else:
        machine.visible_bias.assign(np.log(level_shares(known)))
    model.compile(
        optimizers.build(config, data), rating_rbm.squared_error, metrics=[training_metrics.RatingError(name="rmse")]
    )
    return model


def conditional(config: Settings, known: Ratings) -> rating_rbm.ConditionalRBM:
    """Return a machine with offsets of users and items, whose loss is a mean over ratings."""
    mean, deviation = float(known.matrix.data.mean()), float(known.matrix.data.std())
    penalties = config.penalty / known.size, BIAS_PENALTY / known.size
    machine = layer_names.MACHINE
    return rating_rbm.ConditionalRBM(
        known.levels,
        mean,
        deviation,
        config.hidden,
        config.left_out,
        *penalties,
        config.seed,
        config.units,
        name=machine,
    )


def softmax(config: Settings, known: Ratings) -> rating_rbm.SoftmaxRBM:
    """Return the machine of the paper."""
    steps, decay = config.gibbs_steps, config.weight_decay
    return rating_rbm.SoftmaxRBM(known.levels, config.hidden, steps, decay, config.seed, name=layer_names.MACHINE)


def level_of(known: Ratings) -> Array:
    """Return the number of the level of each stored rating, from 0, (ratings,)."""
    return np.searchsorted(np.array(known.levels, "float32"), known.matrix.data)


def item_offsets(known: Ratings) -> Array:
    """Return the mean of each item's ratings, in standard deviations from that of all, nearer to 0 for few ratings."""
    scores = (known.matrix.data - known.matrix.data.mean()) / known.matrix.data.std()
    columns, items = known.matrix.indices, known.shape[1]
    return np.bincount(columns, scores, items) / (np.bincount(columns, minlength=items) + BIAS_PENALTY)


def level_shares(known: Ratings) -> Array:
    """Return the share of each level among the ratings of each item and `PRIOR` more, (items, levels)."""
    of_level = [known.matrix.data == level for level in np.array(known.levels, "float32")]
    counts = np.stack([np.bincount(known.matrix.indices[own], minlength=known.shape[1]) for own in of_level], axis=1)
    overall = counts.sum(axis=0) + 1  # a level that only held-out ratings have must be possible
    counts = counts + PRIOR * overall / overall.sum()
    return counts / counts.sum(axis=1, keepdims=True)


@dataclass(frozen=True)
class Recommendation(Task):
    """Prediction and ranking of held-out ratings. The network's output is the ratings of all items, (users, items)."""

    monitor: str = "val_rmse"
    mode: Mode = "min"
    metric: ClassVar[str] = "rmse"
    metric_mode: ClassVar[Mode] = "min"

    def predict(self, estimator: Any, inputs: Any) -> Array:
        return estimator.predict(inputs)

    def predictions_for(self, predict: Callable[[Any], Array], pair: Pair) -> Array:
        return recommendation.at_targets(predict, *pair)

    def score(self, targets: Any, predictions: Array) -> dict[str, float]:
        return {
            "rmse": recommendation.root_mean_square(targets, predictions),
            "ndcg_10": recommendation.ranking_gain(targets, predictions),
            "ratings": targets.size,
        }

    def summary(self, metrics: Mapping[str, float], examples: int) -> dict[str, str]:
        held_out = f"{metrics['test_ratings']:,.0f} held-out ratings of {examples:,} users"
        return {
            "test error": f"root mean square {metrics['test_rmse']:.4f}, {held_out}",
            "test NDCG@10": f"{metrics['test_ndcg_10']:.4f}, ranking of each user's held-out ratings",
        }

    def figures(self, trained: Trained) -> Iterator[tuple[str, Figure]]:
        yield "learning_curves", results.learning_curves(trained.history, trained.best_epoch)
        known, targets = trained.data.test
        counts = np.diff(known.matrix.indptr)[targets.user_of]
        yield "error_by_known", results.error_by_known(counts, targets.matrix.data, trained.predictions)

    def answers(self, predictions: Array, outputs: Sequence[str]) -> pd.DataFrame:
        import pandas as pd

        best = predictions.argmax(axis=1)
        answers = {"highest": [outputs[item] for item in best], "expected": predictions.max(axis=1)}
        return pd.DataFrame(answers | dict(zip(outputs, predictions.T, strict=True)))


@dataclass(frozen=True)
class Recommend(PredictOptions):
    """Options of recommendations for a user."""

    user: str | None = None
    """A user of the training ratings, to whom unrated items are recommended; instead of files."""
    top: Count = 10
    """Number of items to recommend to --user."""

    def check(self, app: App, files: Sequence[str]) -> None:
        if self.user is None:
            super().check(app, files)
        elif files:
            raise UserError("`user` and files exclude each other; give only one of them")

    def read(self, app: App, files: Sequence[str], saved: SavedModel) -> Examples:
        if self.user is None:
            return super().read(app, files, saved)
        data = app.data_of(saved)
        known: Ratings = data.train[0]
        rows = np.flatnonzero(known.users.astype(str) == self.user)
        if not len(rows):
            raise UserError(f"`user` {self.user}: no such user; there are {known.users[0]} to {known.users[-1]}")
        # The user's held-out ratings are inputs, too.
        parts = [targets[rows] for _, targets in (data.train, data.validation, data.test)]
        return Examples([f"user {self.user}"], np.sum(parts, axis=0))

    def answers(self, task: Task, examples: Examples, predictions: Array, outputs: Sequence[str]) -> pd.DataFrame:
        if self.user is None:
            return super().answers(task, examples, predictions, outputs)
        return recommend(examples.inputs[0], predictions[0], outputs, self.top)


def recommend(known: Array, expected: Array, items: Sequence[str], top: int) -> pd.DataFrame:
    """Return a table of the `top` items with the highest ratings `expected` (items,), and none in `known` (items,)."""
    import pandas as pd

    unseen = np.flatnonzero(known == 0)
    chosen = unseen[np.argsort(-expected[unseen], kind="stable")][:top]
    columns = {"item": [items[item] for item in chosen], "expected rating": expected[chosen]}
    return pd.DataFrame({"rank": np.arange(1, len(chosen) + 1)} | columns)


def read_rows(files: Sequence[str], saved: SavedModel) -> Examples:
    """Read ratings from .npy files, (items,) or (n, items), 0 for no rating.

    Returns:
        The ratings (n, items).

    Raises:
        UserError: if a file cannot be read, or its array has another shape or ratings outside the scale.
    """
    named, items = [], len(saved.outputs)
    levels = np.array([0, *saved.model.get_layer(layer_names.MACHINE).levels], "float32")
    for path in map(Path, files):
        for name, ratings_of_items in arrays.read_examples(path, (items,), "ratings"):
            if len(unknown := ratings_of_items[~np.isin(ratings_of_items, levels)]):
                scale = ", ".join(f"{level:g}" for level in levels[1:])
                raise UserError(f"{path}: has the rating {unknown[0]:g}; the scale is {scale}, and 0 for none")
            named.append((name, ratings_of_items))
    return Examples([name for name, _ in named], np.stack([row for _, row in named]).astype("float32"))


def baseline(_config: Settings, data: Data) -> dict[str, Any]:
    """Return the global mean, the item means and a matrix factorisation, by name."""
    return {
        "global mean": baselines.GlobalMean(),
        "item mean": baselines.ItemMean(),
        "matrix factorisation": baselines.MatrixFactorisation(data.validation, (2, 4, 8, 16), (2, 5, 10, 20)),
    }


app = App(
    settings=Settings,
    load_data=load_data,
    build_model=build_model,
    task=Recommendation(),
    read_inputs=read_rows,
    baseline=baseline,
    predict_options=Recommend,
)

if __name__ == "__main__":
    cli.main(app, __doc__)
