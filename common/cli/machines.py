"""Options of `train` for the devices and hosts that share a training."""

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from common import lazy
from common.config import Count, Whole
from common.errors import UserError


@dataclass(frozen=True)
class Machines:
    """GPUs and hosts that share the training."""

    devices: Count | Literal["all"] = 1
    """Number of GPUs of this machine that share each batch, or all."""
    hosts: Count | Literal["auto"] = 1
    """Number of hosts that share each batch, on JAX; auto for that of Slurm or the environment."""
    host: Whole | None = None
    """Number of this host, from 0; by default that of Slurm, Kubernetes or the environment."""
    coordinator: Annotated[str | None, tyro.conf.arg(metavar="HOST:PORT")] = None
    """Address at which host 0 listens; by default JAX_COORDINATOR_ADDRESS."""
    cluster: Annotated[str | None, tyro.conf.arg(metavar="auto|ADDRESS")] = None
    """Start a process on each host of the Ray cluster at this address, or of this machine's (auto)."""
    restarts: Whole = 0
    """Number of times that a training on a cluster starts again, from its checkpoint, if a host is lost."""

    def check(self) -> None:
        """Check that the options go together.

        Raises:
            UserError: if they do not, or Ray is missing.
        """
        if not self.cluster and not self.restarts:
            return
        if not self.cluster or self.hosts == "auto" or self.host is not None or self.coordinator:
            words = "`restarts` needs `cluster`, which needs a number of `hosts`"
            raise UserError(f"{words}, and no `host` or `coordinator`")
        lazy.require("ray", "`cluster`: Ray", "cluster")


ONE_DEVICE = Machines()
"""One device of this machine, the default."""
