"""Search the settings of the deep belief network.

python -m tuning.dbn --trials 20
"""

from typing import Any

from apps.dbn import Settings, app
from tuning import search


def space(hp: Any) -> Settings:
    """Draw pretraining and fine-tuning of a trial."""
    pretraining = hp.Choice("pretraining", [0, 10, 20])
    with hp.conditional_scope("pretraining", [10, 20]):
        pretraining_rate = hp.Choice("pretraining_rate", [0.02, 0.05, 0.1])
    return Settings(
        pretraining=pretraining,
        pretraining_rate=pretraining_rate or Settings.pretraining_rate,
        input_dropout=hp.Choice("input_dropout", [0.0, 0.1, 0.2]),
        dropout=hp.Choice("dropout", [0.0, 0.2, 0.5]),
        learning_rate=hp.Float("learning_rate", 3e-4, 3e-3, sampling="log"),
    )


if __name__ == "__main__":
    search.main(app, space, __doc__)
