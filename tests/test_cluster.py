"""A cluster is divided among the processes that run on it."""

import pytest

from common import cluster
from common.errors import UserError


def test_each_process_has_a_gpu_or_a_share_of_the_cores() -> None:
    cores = [{"CPU": 3.0}, {"CPU": 5.0}, {"memory": 1.0}]
    assert cluster.shares(1, cores) == {"num_cpus": 5}
    assert cluster.shares(2, cores) == {"num_cpus": 3}
    assert cluster.shares(8, cores) == {"num_cpus": 1}
    assert cluster.shares(9, cores) == {"num_cpus": 0.5}
    gpus = [{"CPU": 8.0, "GPU": 2.0}, {"CPU": 8.0}]
    assert cluster.shares(1, gpus) == cluster.shares(2, gpus) == {"num_cpus": 0, "num_gpus": 1}
    assert cluster.shares(3, gpus) == {"num_cpus": 0, "num_gpus": 0.5}
    assert cluster.shares(1, gpus, None) == cluster.shares(1, gpus, 2) == {"num_cpus": 0, "num_gpus": 2}
    assert cluster.shares(2, gpus, 2) == {"num_cpus": 0, "num_gpus": 1}
    with pytest.raises(UserError, match="neither GPUs nor cores"):
        cluster.shares(1, [{"memory": 1.0}])
