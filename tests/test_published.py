"""The published results, each held by its command: `make test-slow`."""

import statistics

import pytest

from common import tracking
from tests.conftest import run

pytestmark = pytest.mark.slow

SEEDS = (0, 1, 2)


def mean_test_error(app: str, *settings: str) -> float:
    """Mean over the seeds of the test error in percent that `train` records."""
    for seed in SEEDS:
        result = run("-m", f"apps.{app}", "train", "--seed", str(seed), *settings, timeout=3600)
        assert result.returncode == 0, result.stderr
    client = tracking.connect()
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = client.search_runs(experiments, filter_string=f"tags.app = '{app}'")
    assert len(runs) == len(SEEDS)
    return statistics.mean(100 * run.data.metrics["test_error"] for run in runs)


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
@pytest.mark.parametrize(("data", "error"), [("mnist", 7.5), ("fashion_mnist", 16.0)])
def test_logistic_regression_reaches_what_a_linear_classifier_can(data: str, error: float) -> None:
    settings = ["--optimizer", "adam", "--batch-size", "256", "--epochs", "30", "--learning-rate", "0.001", "--l2", "0"]
    assert mean_test_error("logistic_regression", "--data", data, "--keep", "best", *settings) <= error


@pytest.mark.usefixtures("store")
def test_alexnet_reaches_91_percent_on_clothes() -> None:
    assert mean_test_error("alexnet") <= 9.0
