"""Train networks in 32 and in 16 bits, and compare time and validation accuracy: the default precision rests on this.

    python -m benchmarks.precision
    KERAS_BACKEND=jax python -m benchmarks.precision

A seed's trainings follow one another, so that both precisions have the same conditions.
"""

import statistics
from dataclasses import replace

import tyro
from rich.console import Console
from rich.table import Table

from apps import lenet5, lstm_mnist, mnist_mlp
from benchmarks import measure
from common import App, training
from common.config import Count, Precision

import keras  # isort: skip - deferred by `common`

PRECISIONS: tuple[Precision, ...] = ("float32", "mixed_bfloat16")


def main(seeds: Count = 3, epochs: Count = 3) -> None:
    """Train with several seeds, with both precisions in turn; print the accuracies, and medians of the seconds.

    Args:
        seeds: Number of seeds.
        epochs: Epochs of a training.
    """
    table = Table("app", "precision", "validation accuracy, %", "CPU s", "wall s")
    for app in (mnist_mlp.app, lenet5.app, lstm_mnist.app):
        measured: dict[Precision, list[tuple[float, float, float]]] = {precision: [] for precision in PRECISIONS}
        for seed in range(seeds):
            for precision, results in measured.items():
                results.append(train(app, seed, epochs, precision))
        for precision, results in measured.items():
            accuracies, *seconds = zip(*results, strict=True)
            shown = ", ".join(f"{accuracy:.2f}" for accuracy in accuracies)
            table.add_row(app.name, precision, shown, *(f"{statistics.median(spent):.1f}" for spent in seconds))
    Console().print(table)


def train(app: App, seed: int, epochs: int, precision: Precision) -> tuple[float, float, float]:
    """Return the validation accuracy in per cent, and the CPU and wall seconds of a training with its compilation."""
    keras.backend.clear_session()
    config = replace(app.settings(), seed=seed, epochs=epochs, precision=precision)
    data = app.load_data(config)
    trained = measure.train(app, config, data)
    predictions = training.predictions_for(app.task, trained.model, data.validation)
    accuracy = app.task.score(data.validation[1], predictions)["accuracy"]
    return 100 * accuracy, trained.cpu, trained.wall


if __name__ == "__main__":
    tyro.cli(main)
