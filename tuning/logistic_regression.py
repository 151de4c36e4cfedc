"""Search the penalties of logistic regression.

python -m tuning.logistic_regression --trials 20
"""

from typing import Any

from apps.logistic_regression import Settings, app
from tuning import search


def space(hp: Any) -> Settings:
    """Draw the penalties of a trial on breast_cancer."""
    return Settings(
        l1=hp.Choice("l1", [0.0, 0.001, 0.003, 0.01]),
        l2=hp.Float("l2", 1e-4, 0.1, sampling="log"),
    )


if __name__ == "__main__":
    search.main(app, space, __doc__)
