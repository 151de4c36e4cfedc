"""Search the settings of AlexNet.

python -m tuning.alexnet --trials 20
"""

from typing import Any

from apps.alexnet import Settings, app
from tuning import search


def space(hp: Any) -> Settings:
    """Draw dropout, batch size and learning rate of a trial on Fashion-MNIST; one patch per image suffices here."""
    return Settings(
        dropout=hp.Float("dropout", 0.1, 0.5, step=0.1),
        batch_size=hp.Choice("batch_size", [32, 64, 128]),
        learning_rate=hp.Float("learning_rate", 2e-4, 2e-3, sampling="log"),
        crops=1,
        epochs=6,
    )


if __name__ == "__main__":
    search.main(app, space, __doc__)
