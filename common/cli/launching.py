"""Train on hosts of a Ray cluster: `train --hosts N --cluster ADDRESS`.

On each host a process runs the command that one would start there by hand. The first one records the run, and its
output appears here. If a host is lost, all of them end, and may start again from the checkpoint.
"""

import contextlib
import json
import math
import shlex
import signal
import sys
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from rich.console import Console

from common import cluster, host_log, interruption, tracking
from common.app import App
from common.cli import resuming, terminal
from common.cli.parsing import main_module
from common.cluster import Hosts, LostHostError
from common.config import Config, as_flags, changed
from common.errors import UserError, print_notes
from common.interruption import InterruptionError

LAUNCH = "launch"
"""Tag of a run: the command that has started its processes."""
GRACE = 15
"""Seconds in which the other processes may end after one has failed, or the first one has ended."""
RETURN = 120
"""Seconds in which a lost host may come back before the training goes on without it."""


@dataclass(frozen=True)
class Launch:
    """A training on the hosts of a cluster."""

    app: App
    settings: Config
    resumed: str | None
    """Id of an interrupted run to go on with; None for a new run."""
    address: str
    """Address of the cluster, or auto."""
    hosts: int
    restarts: int
    """Number of times that the training starts again after the loss of a host."""
    devices: int | Literal["all"]
    options: Mapping[str, Any]
    """Other options of `train`, by name."""

    def train(self) -> None:
        """Train on the cluster, and exit as the first process does if it fails.

        Raises:
            UserError: if the cluster does not answer or is too small, or a host was lost too often.
            InterruptionError: after Ctrl-C or SIGTERM.
        """
        nodes = cluster.connect(self.address)
        most = None if self.devices == "all" else self.devices
        resources = cluster.shares(self.hosts, nodes, most)
        if resources.get("num_gpus", math.inf) < (most or 1):
            raise UserError(f"`hosts` {self.hosts}: the cluster has too few GPUs; use fewer hosts or `devices`")
        launch = uuid.uuid4().hex
        variables = cluster.environment(resources) | {
            "MLFLOW_RUN_CONTEXT": json.dumps({LAUNCH: launch}),  # MLflow gives these tags to new runs
            "COLUMNS": str(Console().width),
        }
        if self.resumed:
            tracking.connect().set_tag(self.resumed, LAUNCH, launch)
        run_id = self.resumed
        with interruption.deferred():
            for restart in range(self.restarts + 1):
                try:
                    with self._reserved(resources, again=restart > 0) as hosts:
                        self._run(hosts, run_id, variables)
                    return
                except (LostHostError, InterruptionError) as error:
                    tracking.end_stale({LAUNCH: launch})
                    run_id = next((run.info.run_id for run in tracking.find({LAUNCH: launch, "kind": "train"})), None)
                    going_on = f"to go on: {self._command(run_id)}" if run_id else "no run had begun"
                    if isinstance(error, InterruptionError):
                        print(f"the training is interrupted; {going_on}", file=sys.stderr)
                        raise
                    if restart == self.restarts:
                        raise UserError(f"{error}; {going_on}") from error
                    print_notes([f"{error}; the training starts again, {restart + 1} of {self.restarts} times"])

    def _command(self, run_id: str) -> str:
        """Return the command that goes on with a run."""
        others = {"devices": self.devices, "hosts": self.hosts, "cluster": self.address, "restarts": self.restarts}
        flags = as_flags({name: value for name, value in others.items() if value not in (0, 1)})
        return f"{terminal.this_python()} {resuming.command(self.app, run_id)} {flags}"

    @contextlib.contextmanager
    def _reserved(self, resources: Mapping[str, float], again: bool) -> Iterator[Hosts]:
        """Reserve the hosts in this block; if one is lost and stays so, as many as divide a batch as well.

        Raises:
            UserError: if none is left.
        """
        for count in range(self.hosts, 0, -1) if again else [self.hosts]:
            if self.hosts % count:
                continue
            seconds = (RETURN if count == self.hosts else cluster.BUSY) if again else math.inf
            with cluster.reserved(count, resources, seconds) as hosts:
                if hosts:
                    if count < self.hosts:
                        print_notes([f"the cluster has room for {count} of {self.hosts} hosts"])
                    yield hosts
                    return
        raise UserError("`cluster`: no host is left")

    def _run(self, hosts: Hosts, run_id: str | None, variables: Mapping[str, str]) -> None:
        """Run the processes on these hosts, and show the output of the first one.

        Raises:
            LostHostError: if a host was lost.
            InterruptionError: after Ctrl-C or SIGTERM.
            SystemExit: if the training has failed.
        """
        given = {} if run_id != self.resumed else changed(self.settings)
        flags = {**given, **self.options, "devices": self.devices, "resume": run_id, "hosts": len(hosts.addresses)}
        train = [main_module(), "train", *shlex.split(as_flags(flags)), "--coordinator", hosts.free]
        commands = [[*train, "--host", str(index)] for index in range(len(hosts.addresses))]
        statuses, errors = dict[int, int | None](), defaultdict[int, str](str)
        deadline, stopping = math.inf, False
        for index, part in hosts.run(commands, variables):
            match part:
                case "output", line if index == 0:
                    print(line, end="", flush=True)
                case "errors", line:
                    errors[index] += line
                    if index == 0 and host_log.LOST not in line and not stopping:
                        print(line, end="", file=sys.stderr)
                case "status", status:
                    statuses[index] = status
                    if index == 0 or status != 0:
                        deadline = min(deadline, time.monotonic() + GRACE)
            if interruption.requested() and not stopping:
                stopping = True
                hosts.terminate(0)  # the others stop with it
            if time.monotonic() > deadline:
                break
        if statuses.get(0) == 0:
            return
        interruption.check()
        failed = {index: status for index, status in statuses.items() if status and status > 0}
        failed = {index: status for index, status in failed.items() if host_log.LOST not in errors[index]}
        if failed:
            if 0 not in failed:
                print("".join(dict.fromkeys(errors[index] for index in failed)), end="", file=sys.stderr)
            sys.exit(failed[min(failed)])
        raise LostHostError(_loss(hosts, statuses, errors))


def _loss(hosts: Hosts, statuses: Mapping[int, int | None], errors: Mapping[int, str]) -> str:
    """Return words for the first host that was lost, and not by the loss of another one."""
    for index, status in sorted(statuses.items()):
        if host_log.LOST not in errors[index] and (status is None or status < 0):
            end = "is lost" if status is None else f"was ended by {signal.Signals(-status).name}"
            return f"host {index} on {hosts.addresses[index]} {end}"
    return "a host does not answer"
