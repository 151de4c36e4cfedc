"""The published results, each held by its command: `make test-slow`."""

import statistics

import pytest

from common import tracking
from tests.conftest import run

pytestmark = pytest.mark.slow

SEEDS = (0, 1, 2)


def recorded(app: str, kind: str, metric: str) -> list[float]:
    """What the runs of an app measured."""
    client = tracking.connect()
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = client.search_runs(experiments, filter_string=f"tags.app = '{app}' and tags.kind = '{kind}'")
    return [run.data.metrics[metric] for run in runs]


def of_seeds(app: str, metric: str, *settings: str) -> list[float]:
    """A figure that `train` records, for each of the seeds."""
    for seed in SEEDS:
        result = run("-m", f"apps.{app}", "train", "--seed", str(seed), *settings, timeout=3600)
        assert result.returncode == 0, result.stderr
    measured = recorded(app, "train", metric)
    assert len(measured) == len(SEEDS)
    return measured


def mean_test_error(app: str, *settings: str) -> float:
    """Mean over the seeds of the test error in percent."""
    return 100 * statistics.mean(of_seeds(app, "test_error", *settings))


def baselines(app: str, metric: str, *settings: str) -> list[float]:
    """What the app's baselines measure on the same split."""
    result = run("-m", f"apps.{app}", "baseline", *settings, timeout=3600)
    assert result.returncode == 0, result.stderr
    return recorded(app, "baseline", metric)


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


@pytest.mark.usefixtures("store")
def test_lstm_forecast_beats_naive_seasonal_naive_and_autoregression_on_sunspots() -> None:
    others = baselines("lstm_forecast", "test_rmse")
    assert len(others) == 3
    assert statistics.mean(of_seeds("lstm_forecast", "test_rmse")) < min(others)


@pytest.mark.usefixtures("store")
def test_lstm_text_is_at_least_as_good_as_a_bag_of_words() -> None:
    (other,) = baselines("lstm_text", "test_error")
    assert statistics.mean(of_seeds("lstm_text", "test_error")) <= other


@pytest.mark.usefixtures("store")
def test_lstm_mnist_reaches_98_9_percent() -> None:
    assert mean_test_error("lstm_mnist") <= 1.1


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("settings", [[], ["--length", "500", "--epochs", "104"]])
def test_lstm_memory_adds_within_the_papers_training_sequences(settings: list[str]) -> None:
    assert max(of_seeds("lstm_memory", "test_wrong", *settings)) <= 1


@pytest.mark.usefixtures("store")
def test_a_plain_recurrent_network_does_not_learn_to_add() -> None:
    assert min(of_seeds("lstm_memory", "test_wrong", "--cell", "rnn")) > 1000
