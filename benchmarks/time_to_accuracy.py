"""Measure how long LeNet-5 takes to 99 % on MNIST by the settings of apps/lenet5_fast.json.

    python -m benchmarks.time_to_accuracy

The settings were chosen by the validation accuracy of four seeds, and are evaluated once on the test set.
"""

import statistics
from dataclasses import replace
from pathlib import Path

import tyro

from apps import lenet5
from benchmarks import measure
from common import training
from common.cli import like

import keras  # isort: skip - deferred by `common`

SETTINGS = Path(lenet5.__file__).with_name("lenet5_fast.json")


def main(seeds: int = 10, settings: Path = SETTINGS) -> None:
    """Train with several seeds; print the test accuracy and the time of each, and their means.

    Args:
        seeds: Number of seeds.
        settings: File of settings.
    """
    reached = []
    for seed in range(seeds):
        keras.backend.clear_session()
        config = replace(like.settings(lenet5.app, str(settings)), seed=seed)
        data = lenet5.app.load_data(config)
        trained = measure.train(lenet5.app, config, data)
        correct = training.predict(trained.model, data.test[0]).argmax(axis=1) == data.test[1]
        reached.append((100 * float(correct.mean()), trained.cpu, trained.wall))
        print("seed {}: {:.2f} % after {:.1f} CPU s, {:.1f} s".format(seed, *reached[-1]), flush=True)
    print("mean: {:.2f} % after {:.1f} CPU s, {:.1f} s".format(*map(statistics.fmean, zip(*reached, strict=True))))


if __name__ == "__main__":
    tyro.cli(main)
