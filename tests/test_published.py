"""The published results, each held by its command: `make test-slow`."""

import statistics

import pytest

from common import tracking
from tests.conftest import run

pytestmark = pytest.mark.slow

SEEDS = (0, 1, 2)


def figures(app: str, name: str, *settings: str) -> list[float]:
    """What `train` records as `test_NAME`, for each of the seeds."""
    for seed in SEEDS:
        result = run("-m", f"apps.{app}", "train", "--seed", str(seed), *settings, timeout=3600)
        assert result.returncode == 0, result.stderr
    client = tracking.connect()
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = client.search_runs(experiments, filter_string=f"tags.app = '{app}'")
    assert len(runs) == len(SEEDS)
    return [run.data.metrics[f"test_{name}"] for run in runs]


def mean_test_error(app: str, *settings: str) -> float:
    """Mean over the seeds of the test error in percent."""
    return 100 * statistics.mean(figures(app, "error", *settings))


@pytest.mark.usefixtures("store")
def test_mnist_mlp_reaches_98_7_percent() -> None:
    assert mean_test_error("mnist_mlp") <= 1.3


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("settings", "error"),
    [
        (["--variant", "1998"], 0.95),
        (["--variant", "1998", "--distortions"], 0.80),
        (["--variant", "modern"], 0.80),
        (["--variant", "modern", "--distortions"], 0.60),
    ],
)
def test_lenet5_reaches_the_papers_error(settings: list[str], error: float) -> None:
    assert mean_test_error("lenet5", *settings) <= error


@pytest.mark.usefixtures("store")
def test_lstm_mnist_reaches_98_9_percent() -> None:
    assert mean_test_error("lstm_mnist") <= 1.1


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("settings", [[], ["--length", "500", "--epochs", "104"]])
def test_lstm_memory_adds_within_the_papers_training_sequences(settings: list[str]) -> None:
    assert max(figures("lstm_memory", "wrong", *settings)) <= 1


@pytest.mark.usefixtures("store")
def test_a_plain_recurrent_network_does_not_learn_to_add() -> None:
    assert min(figures("lstm_memory", "wrong", "--cell", "rnn")) > 1000
