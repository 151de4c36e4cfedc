"""Measure the probabilities of classifiers with balanced class weights, before and after they are recalibrated.

    python -m benchmarks.calibration

The test set is that of `train`. The calibration error is the mean difference between predicted probability and share of
the rarer class over ten bins with as many examples each. Each number is a mean of three seeds.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table
from sklearn.metrics import log_loss

from apps import logistic_regression, table_mlp
from benchmarks import measure
from benchmarks.tables import Source
from common import App, training
from common.data import Array

SEEDS = (0, 1, 2)
BINS = 10
SOURCES = (
    Source("modeldata", "attrition", "Attrition"),
    Source("modeldata", "mlc_churn", "churn"),
    Source("ISLR", "Default", "default"),
)


def calibration_error(labels: Array, probabilities: Array) -> float:
    """Return the mean |mean probability - share of label 1| over bins of the sorted probabilities (examples,)."""
    bins = np.array_split(np.argsort(probabilities), BINS)
    return float(sum(len(one) * abs(probabilities[one].mean() - labels[one].mean()) for one in bins) / len(labels))


def probabilities(app: App, file: Path, target: str, seed: int) -> Iterator[tuple[str, Array, Array]]:
    """Yield the class weights, the test labels, and the test probabilities of both classes."""
    for weights in ("none", "balanced"):
        config = app.settings(csv=str(file), target=target, seed=seed, class_weights=weights)  # type: ignore[call-arg]
        data = app.load_data(config)
        model = measure.train(app, config, data).model
        yield weights, data.test[1], training.predict(model, data.test[0])
        if weights == "balanced":
            model, _ = training.recalibrated(model, app.for_data(data).task, data, app.calibrate is None)
            yield "recalibrated", data.test[1], training.predict(model, data.test[0])


def main(only: tuple[str, ...] = ()) -> None:
    """Print the log loss and the calibration error of each network on each table.

    Args:
        only: Names of the tables to use; by default all.
    """
    table = Table("", "class weights", "log loss", "calibration error")
    with tempfile.TemporaryDirectory() as folder:
        for source in SOURCES:
            if only and source.name not in only:
                continue
            frame = source.frame()
            frame.to_csv(file := Path(folder) / f"{source.name}.csv", index=False)
            share = 100 * frame[source.target].value_counts(normalize=True).min()
            for app in (logistic_regression.app, table_mlp.app):
                found: dict[str, list[tuple[float, float]]] = {}
                for seed in SEEDS:
                    for weights, labels, both in probabilities(app, file, source.target, seed):
                        rare = both[:, 1].astype("float64")
                        scores = (float(log_loss(labels, rare)), calibration_error(labels, rare))
                        found.setdefault(weights, []).append(scores)
                for weights, values in found.items():
                    name = f"{source.name} ({share:.1f} %), {app.name}"
                    table.add_row(name, weights, *(f"{value:.3f}" for value in np.mean(values, axis=0)))
    Console().print(table)


if __name__ == "__main__":
    tyro.cli(main)
