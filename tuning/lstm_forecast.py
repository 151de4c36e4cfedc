"""Search the settings of the forecast.

python -m tuning.lstm_forecast --trials 20
"""

from typing import Any

from apps.lstm_forecast import Settings, app
from tuning import search


def space(hp: Any) -> Settings:
    """Draw anchor, size, dropout and optimisation of a trial. The window is fixed: all have the same targets."""
    units, depth = hp.Choice("units", [8, 16, 32, 64]), hp.Int("layers", 1, 2)
    return Settings(
        anchor=hp.Choice("anchor", ["auto", "last", "mean", "season"]),
        linear=hp.Boolean("linear"),
        units=(units,) * depth,
        dropout=hp.Float("dropout", 0.0, 0.4, step=0.1),
        learning_rate=hp.Float("learning_rate", 3e-4, 1e-2, sampling="log"),
        batch_size=hp.Choice("batch_size", [8, 16, 32]),
    )


if __name__ == "__main__":
    search.main(app, space, __doc__)
