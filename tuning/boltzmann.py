"""Search the settings of the Boltzmann machine.

python -m tuning.boltzmann --trials 20
"""

from typing import Any

from apps.boltzmann import Settings, app
from tuning import search


def space(hp: Any) -> Settings:
    """Draw samples and learning rate of a trial."""
    return Settings(
        learning_rate=hp.Float("learning_rate", 0.01, 0.3, sampling="log"),
        chains=hp.Choice("chains", [30, 100, 300]),
        sweeps=hp.Choice("sweeps", [1, 2, 5, 10]),
    )


if __name__ == "__main__":
    search.main(app, space, __doc__)
