"""Write the settings and the arrays of rows for the peers: python -m benchmarks.speed.arrays FOLDER ROW EXAMPLES."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from apps import lenet5
from benchmarks.speed import suite
from benchmarks.speed.gate import Array
from benchmarks.speed.rows import Row, find
from common.config import Config
from common.data import Data
from common.preprocessing import images, text

import keras  # isort: skip - deferred by `common`


def main(folder: str, name: str, examples: str) -> None:
    """Write ROW.json, the settings, and ROW.npz, the arrays."""
    row = find(name, int(examples))
    _, config, data = suite.load(row, folder)
    (Path(folder) / f"{name}.json").write_text(json.dumps(dataclasses.asdict(config)))
    found: dict[str, Any] = arrays(row, config, data)
    np.savez(Path(folder) / f"{name}.npz", **found)


def arrays(row: Row, config: Config, data: Data) -> dict[str, Array]:
    """Return the training and test arrays, with the constants that the network computes from its data."""
    (x_train, y_train), (x_test, y_test) = data.train, data.test
    used, found = data.examples(config), dict[str, Array]()
    if data.kind == "text":
        settings: Any = config
        layer = text.vectorizer(x_train, settings.vocabulary, settings.length)
        x_train, x_test = (keras.ops.convert_to_numpy(layer(part)) for part in (x_train, x_test))
    if data.kind == "table":
        x_train, x_test = (np.stack(list(part.values()), axis=1) for part in (x_train, x_test))
    if row.app == "alexnet":
        mean, covariance = images.colour_statistics(x_train)
        found = {"mean": np.asarray(mean, "float32"), "covariance": covariance}
    if row.name == "lenet5_1998":
        table = np.zeros((6, len(lenet5.C3_TABLE)), "float32")
        for target, sources in enumerate(lenet5.C3_TABLE):
            table[list(sources), target] = 1
        found = {"table": table, "codes": lenet5.digit_codes().astype("float32")}
    return {"x_train": x_train[:used], "y_train": y_train[:used], "x_test": x_test, "y_test": y_test} | found


if __name__ == "__main__":
    main(*sys.argv[1:])
