"""Search the settings of the network that reads digits row by row.

python -m tuning.lstm_mnist --trials 20
"""

from typing import Any

from apps.lstm_mnist import Settings, app
from tuning import search


def space(hp: Any) -> Settings:
    """Draw cell, width, dropout and optimisation of a trial."""
    return Settings(
        cell=hp.Choice("cell", ["LSTM", "GRU"]),
        units=hp.Choice("units", [64, 128, 192]),
        dropout=hp.Float("dropout", 0.0, 0.5, step=0.1),
        learning_rate=hp.Float("learning_rate", 3e-4, 1e-2, sampling="log"),
        batch_size=hp.Choice("batch_size", [64, 128, 256]),
        epochs=8,
    )


if __name__ == "__main__":
    search.main(app, space, __doc__)
