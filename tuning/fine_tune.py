"""Search the settings of transfer learning.

python -m tuning.fine_tune --images FOLDER --trials 10
"""

from typing import Any

from apps.fine_tune import Settings, app
from tuning import search


def space(hp: Any) -> Settings:
    """Draw augmentation, number of trained layers and optimisation of a trial."""
    return Settings(
        trained_layers=hp.Choice("trained_layers", [0, 5, 15, 30]),
        distortion=hp.Choice("distortion", [0.0, 0.05, 0.1, 0.2]),
        reflections=hp.Boolean("reflections"),
        dropout=hp.Choice("dropout", [0.0, 0.2, 0.5]),
        learning_rate=hp.Float("learning_rate", 3e-5, 1e-3, sampling="log"),
    )


if __name__ == "__main__":
    search.main(app, space, __doc__)
