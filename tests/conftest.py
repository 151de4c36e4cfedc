"""What the tests share: real MNIST, real stores in temporary folders, and the command line as a person uses it."""

import contextlib
import dataclasses
import importlib
import importlib.metadata
import io
import json
import os
import pkgutil
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling, Scheduling

import apps
from common import cli, tracking
from common.app import App
from common.data import Data, RawData, fingerprint
from common.files import ROOT as ROOT
from common.preprocessing import arrays, datasets
from tests.processes import Process

SMALL = {
    "alexnet": ("--width", "0.02"),
    "dbn": ("--hidden", "50", "50", "--pretraining", "2"),
    "fine_tune": ("--image-size", "32", "--per-class", "10"),
    "rbm": ("--annealing", "100"),
}
"""Settings of the apps that take long also with few examples."""
QUICKLY = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
"""Flags of XLA to compile quickly: what is compiled runs once or a few times."""
FOR_ALL = ("--limit", "2000", "--baseline")
"""How `trained` trains each app; `train_for_all` shares the training with a test that needs no more."""
TESTED = 500
"""To validate and to test on, which takes longer than to train on 2,000."""
APPS = [module.name for module in pkgutil.iter_modules(apps.__path__) if module.name[0] != "_"]


def load_app(name: str) -> App:
    app: App = importlib.import_module(f"apps.{name}").app
    return app


def on_few(name: str, number: int) -> App:
    """The app, with at most this number of examples to validate and to test on."""
    app = load_app(name)

    def load_data(config: Any) -> Data:
        data = app.load_data(config)
        if not arrays.in_memory(data.test):
            return data
        return dataclasses.replace(
            data, validation=arrays.first(data.validation, number), test=arrays.first(data.test, number)
        )

    return dataclasses.replace(app, load_data=load_data)


def run_app(app: str | App, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a command of an app in this process, which spares the seconds that the imports take.

    `train` records no baselines, which would be more runs, unless --baseline is among the arguments.
    """
    named, arguments = load_app(app) if isinstance(app, str) else app, without_baselines(arguments)
    output, errors, status = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [named.name, *arguments])
        for name, value in {"COLUMNS": "200", **environment}.items():
            patch.setenv(name, value)
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            try:
                cli.main(named)
            except SystemExit as ended:
                status = int(ended.code or 0)
    return subprocess.CompletedProcess(arguments, status, output.getvalue(), errors.getvalue())


def without_baselines(arguments: Sequence[str]) -> tuple[str, ...]:
    """The arguments of a command of an app, with --no-baseline for a training that does not ask for the baselines."""
    asked = arguments[:1] != ("train",) or "--baseline" in arguments or "--help" in arguments
    return tuple(arguments) if asked else (*arguments, "--no-baseline")


def run(
    *command: str, cwd: Path = ROOT, timeout: float = 300, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """Run Python with `command` in a fresh process, without a terminal."""
    return subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def cut_off(number: signal.Signals, app: str, *arguments: str, line: str) -> str:
    """Train in a process of its own, send it a signal once it has written this line, and return its errors."""
    with Process(f"apps.{app}", *without_baselines(("train", *arguments))) as process:
        assert any(line in written for written in process.stdout)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == (-number if number == signal.SIGKILL else 128 + number), errors
    return errors


def assert_user_error(result: "subprocess.CompletedProcess[str]", *words: str) -> None:
    """The command ended in one line that has `words`, and status 2."""
    lines = [line for line in result.stderr.splitlines() if line]
    assert result.returncode == 2, result.stderr
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    for word in words:
        assert word in lines[0]


def free_port() -> int:
    """A port of this machine at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


class OneProcessAnApp(LoadScopeScheduling):
    """Shares the tests out to processes: those of a file go together, in test_apps.py those of an app.

    So each app is trained once. (xdist's own mark for this, xdist_group, has no effect with pytest 9.2.)
    """

    def _split_scope(self, nodeid: str) -> str:
        file, _, test = nodeid.partition("::")
        app = test.partition("[")[2]
        return app if app and file.endswith("test_apps.py") else file


def pytest_configure() -> None:
    """Let Ctrl-C stop the commands that tests start, also where a shell runs the tests in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_auto_num_workers() -> int:
    """Processes that test: one more than there are cores, for some always wait for a server or another command."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that none is left alone at the end."""
    items.sort(key=lambda item: not item.path.name.startswith("test_search"))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    """Tell xdist of it."""
    return OneProcessAnApp(config, log)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of all the processes that test."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


def new_store(folder: Path) -> Path:
    """Make `folder` an empty MLflow store, and return it.

    MLflow needs more than a second to make its tables: they are made once per version of it, and copied.
    """
    name = f"suite-store-{os.getuid()}-mlflow-{importlib.metadata.version('mlflow')}"
    template = Path(tempfile.gettempdir(), name)
    with FileLock(f"{template}.lock"), pytest.MonkeyPatch.context() as patch:
        if not (template / "mlflow.db").exists():
            patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{template}/mlflow.db")
            tracking.connect()
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(template / "mlflow.db", folder / "mlflow.db")
    return folder


def run_on_jax(
    *command: str, kept: str, flags: str = "", timeout: float = 300, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """Run Python with `command` on JAX in a fresh process, which must succeed.

    Compiling takes more than half of its time: it compiles quickly, because most runs once, and finds the programs that
    the command compiled when it last ran, by the name `kept`. They are read from a copy, and kept if the command
    succeeds, so that no other process finds a file that is half written.
    """
    place = Path(tempfile.gettempdir(), f"suite-jax-{os.getuid()}-{importlib.metadata.version('jaxlib')}-{kept}")
    with tempfile.TemporaryDirectory(prefix=f"{place.name}-") as own:
        with FileLock(f"{place}.lock"):
            if place.exists():
                shutil.copytree(place, own, dirs_exist_ok=True)
        variables = {
            "KERAS_BACKEND": "jax",
            "XLA_FLAGS": f"{QUICKLY} {flags}",
            "JAX_COMPILATION_CACHE_DIR": own,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES": "none",  # whose folder would be a part of each program's key
        }
        result = run(*command, cwd=ROOT, timeout=timeout, **variables, **environment)
        assert result.returncode == 0, result.stderr
        with FileLock(f"{place}.lock"):
            shutil.copytree(own, f"{place}.partial", dirs_exist_ok=True)
            shutil.rmtree(place, ignore_errors=True)
            Path(f"{place}.partial").rename(place)
    return result


@pytest.fixture
def no_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The place of a store for one test, in this process and in those it starts; nothing is there yet."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlruns/mlflow.db")
    return tmp_path / "mlruns"


@pytest.fixture
def store(no_store: Path) -> Path:
    """An empty MLflow store for one test, in this process and in those it starts."""
    return new_store(no_store)


@dataclass(frozen=True)
class Trained:
    """One app, trained for one tiny epoch by its command line in a store that later tests only read."""

    app: str
    store: Path
    tested: int | None = None
    """Examples to validate and to test on; None for all."""
    output: str = ""
    errors: str = ""

    def __call__(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of the app in that store."""
        app = on_few(self.app, self.tested) if self.tested else self.app
        return run_app(app, *arguments, MLFLOW_TRACKING_URI=self.uri)

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.store}/mlflow.db"

    @property
    def model(self) -> Path:
        """The folder of the model that it saved."""
        return next(self.store.glob("artifacts/*/models/*/artifacts"))


@pytest.fixture(scope="session", params=APPS)
def trained(request: pytest.FixtureRequest, shared: Path) -> Trained:
    """Each app in turn."""
    return train_for_all(request.param, shared)


@pytest.fixture(scope="session")
def trained_mlp(shared: Path) -> Trained:
    """The perceptron, for what is the same in every app."""
    return train_once("mnist_mlp", shared, "--hidden", "64")


@pytest.fixture(scope="session")
def trained_lenet(shared: Path) -> Trained:
    """A network for pictures, with layers of the suite's own."""
    return train_once("lenet5", shared, "--variant", "1998", "--limit", "1000")


@pytest.fixture(scope="session")
def trained_reviewer(shared: Path) -> Trained:
    """A tiny network that tells fine films from dull ones, by their sentences."""
    rows = [f"{'fine' if index % 2 else 'dull'} film {index},{index % 2}" for index in range(60)]
    reviews = shared / "reviews.csv"
    with FileLock(shared / "reviews.lock"):
        if not reviews.exists():
            reviews.write_text("\n".join(["review,liked", *rows]) + "\n")
    data = ("--csv", str(reviews), "--text", "review", "--label", "liked")
    return train_once("lstm_text", shared, *data, "--units", "4", "--vocabulary", "20", "--length", "4")


def train_for_all(app: str, folder: Path) -> Trained:
    """Train an app for what is to hold of each."""
    return train_once(app, folder, *FOR_ALL, *SMALL.get(app, ()), tested=TESTED)


def train_once(app: str, folder: Path, *settings: str, tested: int | None = None) -> Trained:
    """Train an app for one epoch with these settings: once for all tests that share the folder."""
    digest = fingerprint(" ".join(settings))[:8]
    trained = Trained(app, folder / f"{app}-{digest}" / "mlruns", tested)
    said = folder / f"{app}-{digest}.json"
    with FileLock(said.with_suffix(".lock")):
        if not said.exists():
            new_store(trained.store)
            result = trained("train", "--epochs", "1", *settings)
            assert result.returncode == 0, result.stderr
            said.write_text(json.dumps({"output": result.stdout, "errors": result.stderr}))
    return dataclasses.replace(trained, **json.loads(said.read_text()))


@pytest.fixture(scope="session")
def mnist() -> RawData:
    """The full real MNIST."""
    return datasets.load("mnist")


def few(raw: RawData, train: int = 1024, validation: int = 512, test: int = 512) -> Data:
    """The first real examples of each part; small, so that a network trains on them in seconds."""
    x, y = raw.train
    end = train + validation
    parts = (x[:train], y[:train]), (x[train:end], y[train:end]), (raw.test[0][:test], raw.test[1][:test])
    return Data(raw.name, raw.digest, *parts, raw.outputs, kind=raw.kind, formats=raw.formats)


@pytest.fixture
def tiny_app(mnist: RawData) -> App:
    """The perceptron on a few digits."""
    mlp = load_app("mnist_mlp")

    return dataclasses.replace(mlp, load_data=lambda _config: few(mnist))
