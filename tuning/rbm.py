"""Search the settings of the restricted Boltzmann machine.

python -m tuning.rbm --trials 20
"""

from typing import Any

from apps.rbm import Settings, app
from tuning import search


def space(hp: Any) -> Settings:
    """Draw size, sampling, sparsity and optimisation of a trial."""
    sparsity_cost = hp.Choice("sparsity_cost", [0.0, 0.01, 0.1])
    with hp.conditional_scope("sparsity_cost", [0.01, 0.1]):
        sparsity_target = hp.Choice("sparsity_target", [0.05, 0.1, 0.2])
    return Settings(
        hidden=hp.Choice("hidden", [250, 500, 1000]),
        gibbs_steps=hp.Choice("gibbs_steps", [1, 3, 5]),
        persistent=hp.Boolean("persistent"),
        sparsity_cost=sparsity_cost,
        sparsity_target=sparsity_target or Settings.sparsity_target,
        l2=hp.Choice("l2", [0.0, 1e-5, 1e-4]),
        learning_rate=hp.Float("learning_rate", 5e-3, 2e-1, sampling="log"),
    )


if __name__ == "__main__":
    search.main(app, space, __doc__)
