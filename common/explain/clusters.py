"""Clusters of examples: k-means on their features, with the number of groups that has the highest silhouette."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_score

from common.data import Array
from common.errors import UserError

FEWEST = 3
"""Minimum number of different examples."""
MOST = 20
"""Largest number of groups that is tried."""
EACH = 3
"""Examples per group, on average, from which a number of groups is tried."""
COMPONENTS = 50
"""Principal components of the features that k-means reads."""
SAMPLE = 2000
"""Largest number of examples from which the number of groups is chosen and the silhouette is computed."""


@dataclass(frozen=True)
class Clusters:
    """Groups of examples, the largest first."""

    of: Array
    """Group of each example, from 0, (examples,)."""
    distances: Array
    """Distance of each example from the centre of its group, (examples,)."""
    silhouette: float
    """Mean silhouette: 1 if the groups are far from each other, 0 if they touch."""
    sample: int
    """Number of examples from which the silhouettes are computed."""
    tried: Mapping[int, float]
    """Silhouette of each number of groups that was tried; empty if the number was given."""

    @property
    def number(self) -> int:
        """Number of groups."""
        return int(self.of.max()) + 1


def cluster(features: Array, number: int | None = None, seed: int = 0, noun: str = "examples") -> Clusters:
    """Sort examples by k-means on the principal components of their features.

    Args:
        features: Features (examples, features).
        number: Number of groups; None chooses the number with the highest silhouette.
        seed: Seed of the initial centres.
        noun: Word for the examples in errors.

    Raises:
        UserError: if there are fewer different examples than groups, or than `FEWEST`.
    """
    # 50 components hold most of the variance, and k-means on them takes a small part of the time.
    components = min(COMPONENTS, *features.shape)
    points = PCA(components, random_state=seed).fit_transform(features.astype("float32"))
    different = len(np.unique(points.round(4), axis=0))
    if different < max(FEWEST, number or 0):
        more = f"`groups` {number}: only " if number and number > different else "only "
        raise UserError(f"{more}{different} of the {len(points):,} {noun} differ; add others")
    sample = points
    if len(points) > SAMPLE:
        sample = points[np.random.default_rng(seed).choice(len(points), SAMPLE, replace=False)]
    tried = {}
    if number is None:
        most = max(2, min(MOST, len(sample) // EACH, different - 1))
        for groups in range(2, most + 1):
            own = KMeans(groups, n_init=5, random_state=seed).fit_predict(sample)
            tried[groups] = float(silhouette_score(sample, own))
        number = max(tried, key=tried.__getitem__)
    fitted = KMeans(number, n_init=10, random_state=seed).fit(points)
    order = np.argsort(-np.bincount(fitted.labels_, minlength=number), kind="stable")
    of = np.argsort(order)[fitted.labels_]
    silhouette = float("nan")
    if 1 < number < len(points):
        silhouette = float(silhouette_score(points, of, sample_size=len(sample), random_state=seed))
    return Clusters(of, fitted.transform(points).min(axis=1), silhouette, len(sample), tried)
