"""A real Ray cluster for tests."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from ray.cluster_utils import Cluster


@contextlib.contextmanager
def two_nodes(**environment: str) -> Iterator[tuple[Cluster, Any]]:
    """A cluster of two nodes with a core each, which have these variables of the environment; and the second node."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"RAY_USAGE_STATS_ENABLED": "0", **environment}.items():
            patch.setenv(name, value)
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        node = cluster.add_node(num_cpus=1)
    try:
        yield cluster, node
    finally:
        cluster.shutdown()
