"""Search the penalties of linear regression.

python -m tuning.linear_regression --trials 20
"""

from typing import Any

from apps.linear_regression import Settings, app
from tuning import search


def space(hp: Any) -> Settings:
    """Draw the penalties of a trial on diabetes."""
    return Settings(
        data="diabetes",
        l1=hp.Float("l1", 0.01, 30.0, sampling="log"),
        l2=hp.Float("l2", 1e-4, 1.0, sampling="log"),
    )


if __name__ == "__main__":
    search.main(app, space, __doc__)
