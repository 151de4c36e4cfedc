"""Train trials of lenet5, then the best one on all images, with Keras's `fit` alone: FILE of flags, a trial a line."""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import tyro

from common.preprocessing import splits

import keras  # isort: skip - deferred by `common`

app = import_module("apps.lenet5").app
drawn = [line.split() for line in Path(sys.argv[1]).read_text().splitlines()]
tried: list[tuple[float, int, Any]] = []
for flags in drawn:
    config = tyro.cli(app.settings, args=flags)
    data = app.load_data(config)
    keras.utils.set_random_seed(config.seed)
    model = app.build_model(config, data)
    x, y = data.train[0][: config.limit], data.train[1][: config.limit]
    history = model.fit(x, y, config.batch_size, config.epochs, validation_data=data.validation, verbose=0).history
    tried.append((max(history["val_accuracy"]), len(tried), config))
_, _, best = max(tried)
data = app.load_data(best)
x, y = splits.join_pairs(data.train, data.validation)
model = app.build_model(best, data)
model.fit(x[: best.limit], y[: best.limit], best.batch_size, best.epochs, verbose=0)
print(f"{len(tried)} trials\ntest accuracy {model.evaluate(*data.test, verbose=0)[1]:.4f}")
