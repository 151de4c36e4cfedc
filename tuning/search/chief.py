"""The process that runs a search: KerasTuner's chief, its worker processes, progress and results."""

import json
import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras_tuner
from filelock import FileLock, Timeout
from keras_tuner.engine import base_tuner
from rich.console import Console

from common import tracking
from common.app import App
from common.cli import terminal
from common.config import Config, as_flags, changed
from common.data import Data, fingerprint
from common.errors import UserError
from common.preprocessing import arrays, splits
from tuning.search import oracle, results, space, workers
from tuning.search.options import ExecutionOptions, SearchOptions, with_objective
from tuning.search.oracle import PersistentOracle
from tuning.search.space import ConfigBuilder
from tuning.search.workers import WorkerSpec

NAME = "worker"
"""Prefix of the names of the chief's own workers."""


def run(
    app: App, configs: ConfigBuilder, options: SearchOptions, execution: ExecutionOptions, flags: Sequence[str]
) -> bool:
    """Start or resume a search and finish it.

    Args:
        app: The app to tune.
        configs: The search space, with the settings that are fixed.
        options: The options that identify the search.
        execution: The execution options.
        flags: All command-line flags, which the workers receive too.

    Returns:
        Whether any trial has succeeded.
    """
    searched = with_objective(app, options.objective)
    data = app.load_data(configs.default)
    app, searched = app.for_data(data), searched.for_data(data)
    if options.objective:
        check_objective(searched, configs.default, data)
    if options.folds > 1:
        next(splits.k_folds(data, options.folds, app.task.fold_strategy, options.seed))
    address = free_address(execution)
    folder = search_folder(app, configs, options)
    with locked(folder):
        if execution.fresh:
            start_over(folder)
        key = tracking.RunKey(None, {"search.home": folder.name, "search.begun": start_time(folder)})
        with tracking.run(searched, "search", options, data, key=key) as run:
            proposer = load_or_create(searched, configs, options, folder, run)
            proposer.max_trials = execution.trials
            proposer.requeue(workers.names(execution.workers, NAME))
            with serve(proposer, address), results.Progress(proposer, execution.trials) as progress:

                def poll() -> bool:
                    if progress.update() and options.algorithm != "hyperband":  # which continues earlier trials
                        results.delete_checkpoints(folder, proposer)
                    return not proposer.ongoing_trials  # of workers on other machines

                try:
                    workers.run(execution.workers, WorkerSpec(NAME, run.id, folder), address, flags, poll)
                except (KeyboardInterrupt, SystemExit):
                    print(f"{len(proposer.finished())} trials have finished; the same command resumes the search")
                    raise
            succeeded = results.conclude(searched, app, configs, proposer, run, folder)
        if not succeeded:
            run.client.set_terminated(run.id, "FAILED")
        return succeeded


def join(
    app: App, configs: ConfigBuilder, options: SearchOptions, execution: ExecutionOptions, flags: Sequence[str]
) -> None:
    """Run workers for the search of a chief on another machine until it is finished; arguments as for `run`.

    Raises:
        UserError: If the store has no such search, or the chief does not answer.
    """
    folder = search_folder(app, configs, options)
    folder.mkdir(parents=True, exist_ok=True)
    searches = tracking.find({"kind": "search", "search.home": folder.name})
    if not searches:
        raise UserError(
            "--join: the store has no such search; start it with the same command without --join, and set "
            "MLFLOW_TRACKING_URI to the same store here"
        )
    host, port = execution.address()
    spec = WorkerSpec(f"{socket.gethostname()}-{os.getpid()}", searches[0].info.run_id, folder)
    print(f"{execution.workers} workers for the search of {host}:{port}")
    workers.run(execution.workers, spec, (host, port), flags, ChiefWatch(host, port).poll)


class ChiefWatch:
    """Checks that a chief on another machine answers: its workers would wait an hour for it."""

    INTERVAL = 5
    """Seconds between two checks."""
    PATIENCE = 60
    """Seconds without an answer."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.answered, self.checked = time.monotonic(), 0.0

    def poll(self) -> bool:
        """Connect to the chief if the last check is old enough; always returns True.

        Raises:
            UserError: If the chief has not answered for `PATIENCE` seconds.
        """
        now = time.monotonic()
        if now - self.checked > self.INTERVAL:
            self.checked = now
            try:
                socket.create_connection((self.host, self.port), timeout=2).close()
                self.answered = time.monotonic()
            except OSError as error:
                if now - self.answered > self.PATIENCE:
                    raise UserError(f"--chief {self.host}:{self.port}: does not answer; is it running?") from error
        return True


def search_folder(app: App, configs: ConfigBuilder, options: SearchOptions) -> Path:
    """Return the folder of the search that this space, these options and the fixed settings identify."""
    identity = [vars(options), space.explore(configs.space).get_config(), vars(configs.default)]
    digest = fingerprint(json.dumps(identity, sort_keys=True, default=str))[:8]
    return tracking.local_folder() / "searches" / f"{app.name}-{digest}"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Create the folder and lock it against other commands.

    Raises:
        UserError: If another command has locked it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(f"{folder}.lock", timeout=0):
            yield
    except Timeout as error:
        raise UserError(f"{folder}: this search is running already; wait for it, or stop it") from error


def start_over(folder: Path) -> None:
    """Delete the search in the folder, after confirmation if trials have finished.

    Raises:
        UserError: If the answer is not yes.
    """
    file = folder / "oracle"
    try:
        count = len(oracle.load(file).finished()) if file.exists() else 0
        found = f"{count} finished trials" if count else ""
    except UserError:
        found = "a search that cannot be resumed"
    if found:
        try:
            answer = input(f"--fresh deletes {found}; the runs stay. Continue? [y/N] ")
        except EOFError:
            answer = ""
        if answer.strip().lower() not in ("y", "yes"):
            raise UserError(f"--fresh: {found} kept; confirm with y, or leave out --fresh")
    tracking.end_stale({"search.home": folder.name})
    shutil.rmtree(folder)
    folder.mkdir()


def start_time(folder: Path) -> str:
    """Return the time at which the search in the folder was started; it identifies it after a fresh start."""
    file = folder / "begun"
    if not file.exists():
        file.write_text(str(time.time_ns()))
    return file.read_text()


def load_or_create(
    app: App, configs: ConfigBuilder, options: SearchOptions, folder: Path, run: tracking.ActiveRun
) -> PersistentOracle:
    """Return the oracle in the folder, or a new one."""
    file = folder / "oracle"
    if file.exists():
        proposer = oracle.load(file)
        print(f"{app.name}: resumes the search with {len(proposer.finished())} finished trials")
        return proposer
    first: list[Config] = []
    if options.warm_start:
        tries = [app.settings(), *(app.settings.from_dict(settings) for settings in tracking.champions(app.name))]
        first = [configs.with_flags(config) for config in dict.fromkeys(tries)]
    proposer = oracle.create(options, configs, objective(app), file, first)
    run.log_table(results.space_table(proposer.hyperparameters), "space")
    return proposer


def objective(app: App) -> keras_tuner.Objective:
    """Return KerasTuner's objective of the app's task."""
    return keras_tuner.Objective(app.task.monitor, app.task.mode)


def check_objective(app: App, config: Config, data: Data) -> None:
    """Evaluate the untrained network on a few examples and check that the objective is among its metrics.

    Raises:
        UserError: If it is not; names the metrics.
    """
    model = app.build_model(config, data)
    inputs, targets = arrays.first(data.validation, 32)
    names = [f"val_{name}" for name in model.evaluate(inputs, targets, verbose=0, return_dict=True)]
    if app.task.monitor not in names:
        raise UserError(f"--objective {app.task.monitor}: {app.name} has {', '.join(names)}")


def free_address(execution: ExecutionOptions) -> tuple[str, int]:
    """Return the host and port at which the chief will listen.

    Raises:
        UserError: If it cannot listen there.
    """
    host, port = execution.address()
    try:
        with socket.create_server((host, port)) as server:
            return host, int(server.getsockname()[1])
    except OSError as error:
        raise UserError(f"--chief {host}:{port}: cannot listen there ({error.strerror})") from error


@contextmanager
def serve(proposer: PersistentOracle, address: tuple[str, int]) -> Iterator[None]:
    """Serve the oracle to workers at this address: KerasTuner's chief, in a thread because it cannot be stopped."""
    host, port = address
    environment = {"KERASTUNER_TUNER_ID": "chief", "KERASTUNER_ORACLE_IP": host, "KERASTUNER_ORACLE_PORT": str(port)}
    os.environ |= environment
    try:
        with tempfile.TemporaryDirectory() as folder:
            tuner: Any = base_tuner.BaseTuner(proposer, directory=folder)
            threading.Thread(target=tuner.search, daemon=True).start()
            yield
    finally:
        for name in environment:
            os.environ.pop(name)


def dry_run(app: App, configs: ConfigBuilder, options: SearchOptions) -> None:
    """Print the space, its size, and the first proposals; arguments as for `run`."""
    with tempfile.TemporaryDirectory() as folder:
        proposer = oracle.create(options, configs, objective(app), Path(folder) / "oracle")
        proposer.max_trials = results.SHOWN
        size = space.size(proposer.hyperparameters)
        Console().print(terminal.table(results.space_table(proposer.hyperparameters), f"space of {app.name}"))
        print(f"size: {'infinite' if size == float('inf') else f'{size:,.0f} settings'}")
        for number in range(results.SHOWN):
            trial = proposer.create_trial(f"{number}")
            if trial.status != "RUNNING":
                break
            print(f"{trial.trial_id}: {as_flags(changed(configs(trial.hyperparameters)))}")
