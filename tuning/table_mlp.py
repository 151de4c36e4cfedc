"""Search the settings of the multilayer perceptron for tables.

python -m tuning.table_mlp --trials 20 --csv houses.csv --target price
"""

from typing import Any

from apps.table_mlp import Settings, app
from tuning import search


def space(hp: Any) -> Settings:
    """Draw size, encoding and regularisation of a trial."""
    units = hp.Choice("units", [64, 128, 256])
    return Settings(
        hidden=(units,) * hp.Int("layers", 1, 3),
        bins=hp.Choice("bins", [8, 16, 32, 64]),
        dropout=hp.Float("dropout", 0.0, 0.4, step=0.1),
        weight_decay=hp.Float("weight_decay", 1e-3, 0.3, sampling="log"),
        learning_rate=hp.Float("learning_rate", 5e-4, 1e-2, sampling="log"),
        batch_size=hp.Choice("batch_size", [128, 256, 512]),
    )


if __name__ == "__main__":
    search.main(app, space, __doc__)
