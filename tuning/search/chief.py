"""The process that holds the search: KerasTuner's chief, its workers, what is shown meanwhile, and what comes of it."""

import hashlib
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
from common.config import Config
from common.data import Data
from common.errors import UserError
from common.preprocessing import arrays, splits
from tuning.search import crew, oracle, outcome, space
from tuning.search.options import Search, Work, judged_by
from tuning.search.space import Settings

CHIEF = "chief"
NAME = "worker"


def run(own: App, settings: Settings, search: Search, work: Work, flags: Sequence[str]) -> bool:
    """Begin the search of an app's settings or go on with it, to its end; whether any trial of it has succeeded."""
    app = judged_by(own, search.objective)
    default = settings(keras_tuner.HyperParameters())
    data = app.load_data(default)
    if search.objective:
        check_objective(app, default, data)
    if search.folds > 1:
        next(splits.k_folds(data, search.folds, app.task.fold_strategy, search.seed))
    address = listening(work)
    folder = home(app, settings, search)
    with held(folder):
        if work.fresh:
            start_over(folder)
        key = tracking.RunKey(None, {"search.home": folder.name, "search.begun": begun(folder)})
        with tracking.run(app, "search", search, data, key=key) as recorded:
            asked = begin(app, settings, search, folder, recorded)
            asked.max_trials = work.trials
            oracle.give_back(asked, crew.names(work.workers, NAME))
            with serving(asked, address), outcome.Progress(asked, work.trials) as progress:

                def look() -> bool:
                    if progress.look() and search.algorithm != "hyperband":  # whose trials may go on
                        outcome.forget(folder, asked)
                    return not asked.ongoing_trials  # of workers on other machines

                try:
                    crew.work(work.workers, crew.Assignment(NAME, recorded.id, folder), address, flags, look)
                except (KeyboardInterrupt, SystemExit):
                    print(f"{len(asked.finished())} trials have finished; the same command goes on with the search")
                    raise
            succeeded = outcome.conclude(app, own, settings, asked, recorded, folder)
        if not succeeded:
            recorded.client.set_terminated(recorded.id, "FAILED")
        return succeeded


def join(app: App, settings: Settings, search: Search, work: Work, flags: Sequence[str]) -> None:
    """Work for a search that a chief on another machine holds, until it is done.

    Raises:
        UserError: where the search is not found in the store.
    """
    folder = home(app, settings, search)
    folder.mkdir(parents=True, exist_ok=True)
    searches = tracking.find({"kind": "search", "search.home": folder.name})
    if not searches:
        raise UserError(
            "--join: the store has no such search; begin it by the same command without --join, and let "
            "MLFLOW_TRACKING_URI name the same store here"
        )
    host, port = work.address()
    name = f"{socket.gethostname()}-{os.getpid()}"
    print(f"{work.workers} workers for the search of {host}:{port}")
    lost = Lost(host, port)
    first = crew.Assignment(name, searches[0].info.run_id, folder)
    crew.work(work.workers, first, (host, port), flags, lost.look)


class Lost:
    """Notices that a chief does not answer any more, for its workers would wait for it for an hour."""

    PATIENCE = 60
    """Seconds without an answer."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port, self.answered, self.asked = host, port, time.monotonic(), 0.0

    def look(self) -> bool:
        """Ask again, every few seconds.

        Raises:
            UserError: where it has been silent for too long.
        """
        now = time.monotonic()
        if now - self.asked > 5:
            self.asked = now
            try:
                socket.create_connection((self.host, self.port), timeout=2).close()
                self.answered = time.monotonic()
            except OSError as error:
                if now - self.answered > self.PATIENCE:
                    raise UserError(f"--chief {self.host}:{self.port}: does not answer; is it running?") from error
        return True


def home(app: App, settings: Settings, search: Search) -> Path:
    """The folder of this search: of another space, other options or other flags there is another one."""
    parameters = space.explore(settings.space)
    makes = [vars(search), parameters.get_config(), vars(settings(keras_tuner.HyperParameters()))]
    digest = hashlib.sha256(json.dumps(makes, sort_keys=True, default=str).encode()).hexdigest()[:8]
    return tracking.local_folder() / "searches" / f"{app.name}-{digest}"


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep the folder from another command while this one works in it.

    Raises:
        UserError: where another does already.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(f"{folder}.lock", timeout=0):
            yield
    except Timeout as error:
        raise UserError(f"{folder}: this search is running already; wait for it, or stop it") from error


def start_over(folder: Path) -> None:
    """Forget what the folder holds; asks first if trials have finished.

    Raises:
        UserError: where the answer is not yes.
    """
    file = folder / "oracle"
    finished = len(oracle.read(file).finished()) if file.exists() else 0
    if finished:
        try:
            answer = input(f"--fresh forgets {finished} finished trials; their runs stay. Go on? [y/N] ")
        except EOFError:
            answer = ""
        if answer.strip().lower() not in ("y", "yes"):
            raise UserError(f"--fresh: {finished} finished trials are kept; leave --fresh out to go on with them")
    tracking.end_stale({"search.home": folder.name})
    shutil.rmtree(folder)
    folder.mkdir()


def begun(folder: Path) -> str:
    """When the search of this folder was begun, which tells it from those that were started over."""
    file = folder / "begun"
    if not file.exists():
        file.write_text(str(time.time_ns()))
    return file.read_text()


def begin(app: App, settings: Settings, search: Search, folder: Path, run: tracking.ActiveRun) -> oracle.Durable:
    """The oracle of this search, a new one where there is none yet."""
    file = folder / "oracle"
    if file.exists():
        asked = oracle.read(file)
        print(f"{app.name}: goes on with {len(asked.finished())} finished trials")
        return asked
    given = [settings.hold(config) for config in first_tries(app)] if search.warm_start else []
    objective = keras_tuner.Objective(app.task.monitor, app.task.mode)
    asked = oracle.begin(search, settings, objective, file, given)
    run.log_table(outcome.space_table(asked.hyperparameters), "space")
    return asked


def first_tries(app: App) -> list[Config]:
    """The app's own settings, and those of its champions."""
    tries = [app.settings(), *(app.settings.from_dict(told) for told in tracking.champions(app.name))]
    return list(dict.fromkeys(tries))


def check_objective(app: App, config: Config, data: Data) -> None:
    """See that there is such a figure, by a look at the network's own.

    Raises:
        UserError: where there is not, naming those there are.
    """
    model = app.build_model(config, data)
    inputs, targets = arrays.first(data.validation)
    names = [f"val_{name}" for name in model.evaluate(inputs, targets, verbose=0, return_dict=True)]
    if app.task.monitor not in names:
        raise UserError(f"--objective {app.task.monitor}: {app.name} has {', '.join(names)}")


def listening(work: Work) -> tuple[str, int]:
    """The address of the chief, at a free port if none is asked for.

    Raises:
        UserError: where it cannot be had.
    """
    host, port = work.address()
    try:
        with socket.create_server((host, port)) as free:
            return host, int(free.getsockname()[1])
    except OSError as error:
        raise UserError(f"--chief {host}:{port}: cannot listen there ({error.strerror})") from error


@contextmanager
def serving(asked: oracle.Durable, address: tuple[str, int]) -> Iterator[None]:
    """Let workers ask the oracle at this address. KerasTuner's own chief, in a thread, for it cannot be told to end."""
    host, port = address
    told = {"KERASTUNER_TUNER_ID": CHIEF, "KERASTUNER_ORACLE_IP": host, "KERASTUNER_ORACLE_PORT": str(port)}
    os.environ |= told
    try:
        with tempfile.TemporaryDirectory() as folder:
            tuner: Any = base_tuner.BaseTuner(asked, directory=folder)
            threading.Thread(target=tuner.search, daemon=True).start()
            yield
    finally:
        for name in told:
            os.environ.pop(name)


def dry_run(app: App, settings: Settings, search: Search) -> None:
    """Show the space, its size, and the first settings that would be tried; the objective does not matter yet."""
    with tempfile.TemporaryDirectory() as folder:
        objective = keras_tuner.Objective(app.task.monitor, app.task.mode)
        asked = oracle.begin(search, settings, objective, Path(folder) / "oracle")
        asked._set_project_dir(folder, "search")
        asked.max_trials = outcome.SHOWN
        size = space.size(asked.hyperparameters)
        Console().print(terminal.table(outcome.space_table(asked.hyperparameters), f"space of {app.name}"))
        print(f"size: {'endless' if size == float('inf') else f'{size:,.0f} settings'}")
        for number in range(outcome.SHOWN):
            trial = asked.create_trial(f"{number}")
            if trial.status != "RUNNING":
                break
            print(f"{number + 1}: {space.flags(settings(trial.hyperparameters), app.settings())}")
