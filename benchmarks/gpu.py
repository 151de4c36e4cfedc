"""Measure the trainings on one GPU: the suite on JAX beside PyTorch and plain JAX, within 8 minutes.

    python -m benchmarks.gpu
    python -m benchmarks.gpu --device cpu --rounds 1 --examples 256 --rows rbm    # a check without a GPU

Prints a table for each row, then the seconds of training to 99 % on MNIST's test set.
"""

import json
import os
import tempfile
import time
from pathlib import Path
from typing import Literal

import numpy as np
import tyro

from benchmarks.speed import report
from benchmarks.speed.contest import progress, python, train
from benchmarks.speed.report import Section
from benchmarks.speed.rows import CONTESTANTS, GPU_ROWS, find
from common.files import ROOT

SUITE, PLAIN = "suite, JAX", "JAX, scan"
SIDES = {"cuda": 8192, "cpu": 1024}
"""Side of the matrices whose product is the peak, by device."""
MINUTES = 6
"""Rows that would begin later are left out."""
RIGHT = 0.99
EPOCHS = (2, 3, 4, 6, 8)
"""Lengths of the training that are tried until one reaches `RIGHT`."""


def main(
    device: Literal["cuda", "cpu"] = "cuda", rows: tuple[str, ...] = GPU_ROWS, rounds: int = 3, examples: int = 0
) -> None:
    """Measure and print.

    Args:
        device: Where to train.
        rows: Names of the rows.
        rounds: Rounds of each contestant.
        examples: Largest number of training examples, for a quick look; 0 for all.
    """
    began = time.perf_counter()
    os.environ |= {"JAX_PLATFORMS": device, "XLA_PYTHON_CLIENT_PREALLOCATE": "false", "KERAS_BACKEND": "jax"}
    peak = float(python("-c", f"from benchmarks import gpu; print(gpu.matrix_rate({device!r}))"))
    print(f"products of matrices of {SIDES[device]} on {device}: {peak / 1e12:.2f} TFLOP a second", flush=True)
    torch = [label for label, who in CONTESTANTS.items() if "cuda" in who.option]
    labels = (SUITE, PLAIN, *(torch if device == "cuda" else ("PyTorch",)))
    with tempfile.TemporaryDirectory() as name:
        for row in rows:
            if time.perf_counter() - began > 60 * MINUTES:
                print(f"{row}: left out, there was no time")
                continue
            print("\n".join(trainings(row, Path(name), labels, rounds, examples, peak)), flush=True)
    words = json.loads(python("-c", f"from benchmarks import gpu; gpu.time_to_accuracy({examples})").splitlines()[-1])
    print(f"\nlenet5 on {SUITE}:", ", ".join(f"{name} {value:.4g}" for name, value in words.items()))


def trainings(name: str, folder: Path, labels: tuple[str, ...], rounds: int, examples: int, peak: float) -> list[str]:
    """Measure a row and return its table, and for each contestant its examples a second and its share of the peak."""
    row = find(name, examples)
    python("-m", "benchmarks.speed.arrays", str(folder), name, str(examples))
    contestants = {label: (label, CONTESTANTS[label].environment, ROOT) for label in labels}
    measured = train(name, contestants, folder, rounds, examples, progress)
    with np.load(folder / f"{name}.npz") as data:
        number = len(data["y_train"]) * row.epochs
    lines = list(report.lines(Section(row.title, name, "GPU", measured)))
    for label, found in measured.items():
        if not found.fault:
            rate = number / found.seconds
            lines.append(f"- {label}: {rate:,.0f} examples a second, {rate * row.flops / peak:.1%} of the peak")
    return lines


def matrix_rate(device: str) -> float:
    """Return operations per second of the product of large matrices, in bfloat16 on a GPU and float32 on a CPU."""
    import torch

    side = SIDES[device]
    matrix = torch.rand(side, side, device=device, dtype=torch.bfloat16 if device == "cuda" else torch.float32)
    found = []
    for _ in range(5):
        began = time.perf_counter()
        product = matrix
        for _ in range(8):
            product = matrix @ product
        product.sum().item()  # waits for the device
        found.append((time.perf_counter() - began) / 8)
    return float(2 * side**3 / min(found))


def time_to_accuracy(examples: int) -> None:
    """Train lenet5 for a few epochs, more until `RIGHT` of the test set are right, and print the result as JSON.

    The seconds are those of `fit` in the second of two trainings. The first one compiles.
    """
    from apps import lenet5
    from common import training

    import keras  # isort: skip - deferred by `common`

    for epochs in EPOCHS:
        config = lenet5.Settings(epochs=epochs, batch_size=256, restore="last", limit=examples, learning_rate=0.006)
        data = lenet5.app.load_data(config)
        for _ in range(2):
            keras.utils.set_random_seed(config.seed)
            model = lenet5.app.build_model(config, data)
            began = time.perf_counter()
            training.fit(model, data, config, lenet5.app.task, training.FitOptions(validate=False))
            seconds = time.perf_counter() - began
        predictions = training.predictions_for(lenet5.app.task, model, data.test)
        accuracy = lenet5.app.task.score(data.test[1], predictions)["accuracy"]
        if accuracy >= RIGHT or examples:
            break
    print(json.dumps({"seconds": seconds, "epochs": epochs, "accuracy": accuracy}))


if __name__ == "__main__":
    tyro.cli(main)
