"""Search the settings of AlexNet.

python -m tuning.alexnet --trials 20
"""

from typing import Any

from apps.alexnet import Settings, app
from tuning import search


def space(hp: Any) -> Settings:
    """Draw dropout, decay and learning rate of a trial on Fashion-MNIST; one patch per image suffices here."""
    return Settings(
        dropout=hp.Float("dropout", 0.2, 0.6, step=0.1),
        weight_decay=hp.Float("weight_decay", 5e-5, 5e-3, sampling="log"),
        learning_rate=hp.Float("learning_rate", 3e-3, 3e-2, sampling="log"),
        crops=1,
        epochs=6,
    )


if __name__ == "__main__":
    search.main(app, space, __doc__)
