"""Search the settings of the network for the adding problem.

python -m tuning.lstm_memory --trials 20
"""

from typing import Any

from apps.lstm_memory import Settings, app
from tuning import search


def space(hp: Any) -> Settings:
    """Draw width, initial biases of the gates, and optimisation of a trial."""
    return Settings(
        units=hp.Choice("units", [8, 16, 32, 64]),
        forget_bias=hp.Float("forget_bias", 1.0, 8.0, step=1.0),
        input_bias=hp.Float("input_bias", -6.0, 0.0, step=1.0),
        clip=hp.Choice("clip", [0.1, 1.0, 10.0]),
        learning_rate=hp.Float("learning_rate", 1e-3, 2e-2, sampling="log"),
        batch_size=hp.Choice("batch_size", [10, 20, 50]),
    )


if __name__ == "__main__":
    search.main(app, space, __doc__)
