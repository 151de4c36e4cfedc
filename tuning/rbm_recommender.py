"""Search the settings of the recommender.

python -m tuning.rbm_recommender --trials 20
"""

from __future__ import annotations

from typing import Any

from apps.rbm_recommender import Settings, app
from tuning import search


def space(hp: Any) -> Settings:
    """Draw width, penalty, sampling and optimisation of a trial."""
    return Settings(
        hidden=hp.Choice("hidden", [20, 50, 100, 200]),
        gibbs_steps=hp.Choice("gibbs_steps", [1, 3, 5]),
        weight_decay=hp.Float("weight_decay", 1e-4, 1e-1, sampling="log"),
        learning_rate=hp.Float("learning_rate", 5e-4, 1e-2, sampling="log"),
        batch_size=hp.Choice("batch_size", [50, 100, 200]),
    )


if __name__ == "__main__":
    search.main(app, space, __doc__)
