"""Search the number of hidden units that the perceptron needs to learn XOR.

python -m tuning.perceptron --trials 8
"""

from typing import Any

from apps.perceptron import Settings, app
from tuning import search


def space(hp: Any) -> Settings:
    """Draw the number of hidden units of a trial."""
    return Settings(data="xor", hidden=hp.Int("hidden", 0, 8))


if __name__ == "__main__":
    search.main(app, space, __doc__)
