"""Search the settings of the recommender.

python -m tuning.rbm_recommender --trials 20
"""

from typing import Any

from apps.rbm_recommender import Settings, app
from tuning import search


def space(hp: Any) -> Settings:
    """Draw width, penalties and optimisation of a trial of the conditional form."""
    return Settings(
        hidden=hp.Choice("hidden", [4, 8, 20, 50, 100, 200]),
        units=hp.Choice("units", ["binary", "gaussian"]),
        penalty=hp.Float("penalty", 5, 200, sampling="log"),
        left_out=hp.Float("left_out", 0.05, 0.5),
        learning_rate=hp.Float("learning_rate", 1e-3, 3e-2, sampling="log"),
        batch_size=hp.Choice("batch_size", [10, 25, 50, 100]),
    )


if __name__ == "__main__":
    search.main(app, space, __doc__)
