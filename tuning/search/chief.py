"""The process that runs a search: KerasTuner's oracle, the workers, progress and results."""

import contextlib
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from common import lazy, tracking
from common.app import App
from common.cli import parsing
from common.config import Config
from common.data import Data, fingerprint
from common.errors import UserError
from common.preprocessing import arrays, splits
from tuning.search import oracle, results, space, workers
from tuning.search.options import ExecutionOptions, SearchOptions, with_objective
from tuning.search.oracle import PersistentOracle
from tuning.search.space import ConfigBuilder
from tuning.search.specs import SearchSpec
from tuning.search.workers import LocalWorkers


def run(app: App, configs: ConfigBuilder, options: SearchOptions, execution: ExecutionOptions) -> bool:
    """Start or resume a search and finish it.

    Args:
        app: The app to tune.
        configs: The search space, with the settings that are fixed.
        options: The options that identify the search.
        execution: The execution options.

    Returns:
        Whether any trial has succeeded.
    """
    tracking.check_checkpoints()
    searched = with_objective(app, options.objective)
    folder = search_folder(app, configs, options)
    pool = open_workers(execution, folder)
    data = app.load_data(configs.default)
    app, searched = app.for_data(data), searched.for_data(data)
    if options.objective:
        check_objective(searched, configs.default, data)
    if options.folds > 1:
        next(splits.k_folds(data, options.folds, app.task.fold_strategy, options.seed))
    with locked(folder):
        if execution.fresh:
            start_over(folder)
        key = tracking.RunKey(None, {"search.home": folder.name, "search.begun": start_time(folder)})
        with tracking.run(searched, "search", options, data, key=key) as run:
            proposer = load_or_create(searched, configs, options, folder, run)
            proposer.max_trials = execution.trials
            for name in list(proposer.ongoing_trials):
                proposer.requeue(name)
            with results.Progress(proposer, execution.trials) as progress:

                def poll() -> None:
                    if progress.update() and options.algorithm != "hyperband":  # which continues earlier trials
                        results.delete_checkpoints(run.id, proposer)

                spec = SearchSpec(parsing.main_module(), options, configs.default, run.id, folder)
                try:
                    with contextlib.closing(pool):
                        workers.run(pool, spec, proposer, configs, poll)
                except (KeyboardInterrupt, SystemExit):
                    tracking.end_stale({"search": run.id, "kind": "trial"})  # those of workers that had to be killed
                    print(f"{len(proposer.finished())} trials have finished; the same command resumes the search")
                    raise
            succeeded = results.conclude(searched, app, configs, proposer, run)
        if not succeeded:
            run.client.set_terminated(run.id, "FAILED")
        return succeeded


def open_workers(execution: ExecutionOptions, folder: Path) -> workers.Workers:
    """Return the workers of a search, on this machine or on a cluster.

    Raises:
        UserError: If Ray is not installed, or the cluster does not answer.
    """
    if not execution.cluster:
        return LocalWorkers(execution.workers, folder)
    lazy.require("ray", "`cluster`: Ray", "cluster")
    from tuning.search.cluster import RayWorkers

    return RayWorkers(execution.workers, folder, execution.cluster)


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
    for run in tracking.find({"search.home": folder.name}):
        tracking.delete_checkpoints(run.info.run_id)
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
    proposer = oracle.create(options, configs, app.task, file, first)
    run.log_table(space.describe(proposer.hyperparameters), "space")
    return proposer


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
