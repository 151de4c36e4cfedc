"""Programs that JAX compiles. `python -m tests.nn.test_programs FOLDER` trains two networks of the same shapes."""

import json
import sys
from pathlib import Path

import numpy as np

from common.nn import programs
from tests.conftest import run_on_jax

import keras  # isort: skip - deferred by `common`


def main(folder: Path) -> None:
    """Print as JSON the programs in the folder after the training of each network."""
    programs.keep(folder)
    print(json.dumps([trained(folder), trained(folder)]))


def trained(folder: Path) -> list[str]:
    """The programs in the folder after the training of a new network, for which nothing in memory is used again."""
    import jax

    jax.clear_caches()
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(np.ones((8, 2)), np.ones(8), verbose=0)
    return sorted(path.name for path in folder.glob("*/*-cache"))


def test_networks_of_the_same_shapes_share_their_programs(tmp_path: Path) -> None:
    result = run_on_jax("-m", "tests.nn.test_programs", str(tmp_path), kept="programs")
    first, second = json.loads(result.stdout)
    assert len(first) > 3
    assert second == first


if __name__ == "__main__":
    main(Path(sys.argv[1]))
