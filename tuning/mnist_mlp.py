"""Search the settings of the multilayer perceptron.

python -m tuning.mnist_mlp --trials 20 --prune median
"""

from typing import Any

from apps.mnist_mlp import Settings, app
from tuning import search


def space(hp: Any) -> Settings:
    """Draw width, depth, dropout, activation and optimisation of a trial."""
    units, depth = hp.Choice("units", [512, 1024]), hp.Int("layers", 2, 4)
    return Settings(
        hidden=(units,) * depth,
        input_dropout=hp.Float("input_dropout", 0.1, 0.3, step=0.1),
        dropout=hp.Float("dropout", 0.1, 0.4, step=0.1),
        activation=hp.Choice("activation", ["elu", "relu"]),
        learning_rate=hp.Float("learning_rate", 1e-3, 1e-2, sampling="log"),
        batch_size=hp.Choice("batch_size", [128, 256, 512]),
        epochs=40,
    )


if __name__ == "__main__":
    search.main(app, space, __doc__)
