"""Search the settings of LeNet-5.

python -m tuning.lenet5 --trials 20 --prune median
"""

from typing import Any

from apps.lenet5 import Settings, app
from tuning import search


def space(hp: Any) -> Settings:
    """Draw distortions, pooling, dropout and optimisation of a trial of the modern variant."""
    return Settings(
        distortions=hp.Boolean("distortions"),
        pooling=hp.Choice("pooling", ["average", "max"]),
        dropout=hp.Float("dropout", 0.0, 0.5, step=0.1),
        learning_rate=hp.Float("learning_rate", 3e-4, 1e-2, sampling="log"),
        batch_size=hp.Choice("batch_size", [64, 128, 256]),
        epochs=30,
    )


if __name__ == "__main__":
    search.main(app, space, __doc__)
