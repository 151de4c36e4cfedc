"""The spaces of all apps; and a search's parts, each by itself."""

import importlib
import math
import pkgutil
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras_tuner
import pytest
import tyro

import tuning
from apps.mnist_mlp import Settings as MnistMlp
from apps.mnist_mlp import app as mlp
from common import Classification
from common.config import as_flags, changed
from common.errors import UserError
from tests.conftest import APPS, SMALL, assert_user_error, run
from tests.processes import run_forked
from tests.tuning import tiny_search
from tuning.search import chief, oracle, results, space, worker
from tuning.search.options import Algorithm, ExecutionOptions, SearchOptions, direction

SPACES = [module.name for module in pkgutil.iter_modules(tuning.__path__) if module.name not in ("search", "__main__")]


def test_every_app_has_a_space_and_its_settings_are_the_apps() -> None:
    assert sorted(SPACES) == sorted(APPS)


@pytest.mark.parametrize("name", SPACES)
def test_whatever_is_drawn_from_a_space_are_settings_that_the_app_can_have(name: str) -> None:
    module = importlib.import_module(f"tuning.{name}")
    configs = space.ConfigBuilder(module.space, [], name)
    known = space.explore(module.space)
    for drawn in space.draw(known, 30):
        assert isinstance(configs(drawn), module.app.settings)
    names = [parameter.name for parameter in known.space]
    assert len(set(names)) == len(names) >= 1
    assert space.size(known) > 1


def conditional(hp: Any) -> MnistMlp:
    optimizer = hp.Choice("optimizer", ["adam", "momentum"])
    with hp.conditional_scope("optimizer", ["momentum"]):
        momentum = hp.Float("momentum", 0.5, 0.9, step=0.2)
    rate = hp.Float("learning_rate", 1e-4, 1e-2, sampling="log") if optimizer == "momentum" else 0.1
    return MnistMlp(optimizer=optimizer, momentum=momentum or 0.9, learning_rate=rate, epochs=hp.Int("epochs", 2, 4))


def test_a_space_is_explored_and_described() -> None:
    found = space.explore(conditional)
    assert sorted(space.describe(found).itertuples(index=False, name=None)) == [
        ("epochs", "2 to 4, in steps of 1", ""),
        ("learning_rate", "0.0001 to 0.01, log", ""),
        ("momentum", "0.5 to 0.9, in steps of 0.2", "optimizer in ['momentum']"),
        ("optimizer", "adam, momentum", ""),
    ]
    assert space.size(found) == math.inf
    assert space.size(space.explore(tiny_search.space)) == 12


def test_the_size_of_a_space_counts_a_setting_only_where_it_is_asked_for() -> None:
    hp = keras_tuner.HyperParameters()
    hp.Choice("optimizer", ["adam", "momentum", "nesterov"])
    with hp.conditional_scope("optimizer", ["momentum", "nesterov"]):
        hp.Boolean("decay")
        with hp.conditional_scope("decay", [True]):
            hp.Int("steps", 1, 5)
    hp.Int("layers", 1, 2)
    assert space.size(hp) == (1 + 2 * (1 + 5)) * 2


def test_flags_give_back_the_settings() -> None:
    config = MnistMlp(hidden=(8, 9), learning_rate=1 / 3, batch_normalization="none")
    assert tyro.cli(MnistMlp, args=shlex.split(as_flags(changed(config)))) == config


def test_flags_hold_in_every_trial() -> None:
    configs = space.ConfigBuilder(tiny_search.space, ["--hidden", "5", "6", "--optimizer", "sgd"], "tiny")
    found = configs(keras_tuner.HyperParameters())
    assert (found.hidden, found.optimizer, found.dropout) == ((5, 6), "sgd", 0.2)  # type: ignore[attr-defined]


def test_hyperband_needs_a_fixed_number_of_epochs() -> None:
    assert space.epochs(space.ConfigBuilder(tiny_search.space, [], "tiny")) == 3
    with pytest.raises(UserError, match="--epochs"):
        space.epochs(space.ConfigBuilder(conditional, [], "tiny"))
    assert space.epochs(space.ConfigBuilder(conditional, ["--epochs", "9"], "tiny")) == 9


@pytest.mark.parametrize("algorithm", ["random", "grid", "bayesian", "hyperband"])
def test_an_oracle_read_again_after_any_change_proposes_the_same(algorithm: Algorithm, tmp_path: Path) -> None:
    """One oracle is read anew after every call that changes it, the other never is."""
    configs = space.ConfigBuilder(tiny_search.space, [], "tiny")
    file = tmp_path / "oracle"

    first = [MnistMlp()] if algorithm != "grid" else []

    def proposed(again: bool) -> list[dict[str, Any]]:
        proposer = oracle.create(SearchOptions(algorithm, seed=5), configs, Classification(), file, first)
        proposer.max_trials = 12
        values = []
        while (trial := proposer.create_trial("worker-0")).status == "RUNNING":
            if again:
                proposer = oracle.load(file)
                same = proposer.create_trial("worker-0")  # it comes back, and is given its trial again
                assert same.trial_id == trial.trial_id
                trial = same
            values.append(dict(trial.hyperparameters.values))
            proposer.end(trial, math.sin(len(values)), None)
            if again:
                proposer = oracle.load(file)
        assert [trial.score for trial in proposer.finished()] == [math.sin(1 + number) for number in range(len(values))]
        return values

    values = proposed(again=False)
    assert (space.SETTINGS in values[0]) == bool(first)
    assert len(values) >= 7
    assert proposed(again=True) == values


@pytest.mark.usefixtures("store")
def test_an_oracle_that_cannot_be_read_is_a_user_error_until_it_is_started_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "search"
    for content in (b"damaged", b"ctuning.search.oracle\nDurable\n."):  # a class of an older version
        folder.mkdir(exist_ok=True)
        folder.joinpath("oracle").write_bytes(content)
        with pytest.raises(UserError, match="--fresh"):
            oracle.load(folder / "oracle")
        monkeypatch.setattr("builtins.input", lambda _question: "n")
        with pytest.raises(UserError, match=r"--fresh: .* kept"):
            chief.start_over(folder)
        monkeypatch.setattr("builtins.input", lambda _question: "y")
        chief.start_over(folder)
        assert not list(folder.iterdir())


def test_trials_of_workers_that_are_gone_are_requeued(tmp_path: Path) -> None:
    configs = space.ConfigBuilder(tiny_search.space, [], "tiny")
    proposer = oracle.create(SearchOptions(), configs, Classification(), tmp_path / "oracle")
    first, second = proposer.create_trial("worker-0"), proposer.create_trial("worker-1")
    proposer.requeue("worker-0")
    proposer.requeue("worker-1")
    assert proposer.create_trial("worker-1").trial_id == first.trial_id
    assert proposer.create_trial("worker-2").trial_id == second.trial_id
    proposer.end(second, 0.5, None)
    proposer.end(first, None, "lost")
    assert [trial.status for trial in proposer.finished()] == ["COMPLETED", "FAILED"]
    assert not proposer.ongoing_trials


@pytest.mark.parametrize("algorithm", ["random", "grid", "bayesian", "hyperband"])
def test_no_worker_waits_for_the_trial_of_another(algorithm: Algorithm, tmp_path: Path) -> None:
    configs = space.ConfigBuilder(tiny_search.space, [], "tiny")
    proposer = oracle.create(SearchOptions(algorithm), configs, Classification(), tmp_path / "oracle")
    tried = []
    for number in range(5):
        trial = proposer.create_trial(f"worker-{number}")
        assert trial.status == "RUNNING"
        tried.append((trial.hyperparameters.values["units"], trial.hyperparameters.values["learning_rate"]))
    assert len(set(tried)) == 5
    if algorithm == "grid":
        assert tried == [(8, 0.003), (8, 0.01), (8, 0.03), (16, 0.003), (16, 0.01)]


def test_means_of_several_trainings_have_a_standard_error() -> None:
    measured = worker.means([{"best_val_loss": value, "train_seconds": 2.0} for value in (1.0, 2.0, 4.0)])
    assert measured == {
        "best_val_loss": pytest.approx(7 / 3),
        "best_val_loss_se": pytest.approx(math.sqrt(((4 / 3) ** 2 + (1 / 3) ** 2 + (5 / 3) ** 2) / 2 / 3)),
        "train_seconds": 2.0,
    }


def test_importance_finds_the_setting_that_decides() -> None:
    trials = [
        results.TrialResult(
            str(number), rate * 10 + 0.01 * (number % 3), MnistMlp(learning_rate=rate, hidden=hidden), {}
        )
        for number, (rate, hidden) in enumerate(
            (rate, hidden) for rate in (0.01, 0.02, 0.03, 0.04) for hidden in ((8,), (8, 8), (16,))
        )
    ]
    table = results.importance(trials[::-1])
    assert list(table["setting"]) == ["learning_rate", "hidden"]
    assert table["importance"].iloc[0] > 10 * abs(table["importance"].iloc[1])
    assert table["in the best trial"].iloc[0] == "0.04"
    assert results.importance(trials[:5]).empty


def test_directions_of_objectives() -> None:
    assert direction("val_accuracy") == direction("val_top_k_categorical_accuracy") == direction("val_f1") == "max"
    assert direction("val_loss") == direction("val_mae") == direction("val_rmse") == "min"


def test_pruning_needs_enough_finished_trials_and_a_worse_value() -> None:
    tagged: dict[str, str] = {}
    recording: Any = SimpleNamespace(tag=tagged.__setitem__)
    model = SimpleNamespace(stop_training=False)
    for curves, value, pruned in (
        ([[0.5, 0.9]] * 2, 0.1, False),
        ([[0.5, 0.9]] * 3, 0.91, False),
        ([[0.5, 0.9]] * 3, 0.89, True),
        ([[0.5, 0.9], [0.5], [0.5]], 0.1, False),  # only one of them has come so far
    ):
        tagged.clear()
        callback = worker.MedianPruning(mlp, recording, curves)
        callback.set_model(model)
        callback.on_epoch_end(1, {"val_accuracy": value})
        assert (tagged == {"pruned": "epoch 2"}) == pruned


def test_bad_searches_are_one_line() -> None:
    assert_user_error(run_forked("tuning.lenet5", "--trails", "3"), "--trails")
    for settings in ({"seed": -1}, {"algorithm": "grid", "warm_start": True}):
        with pytest.raises(UserError):
            SearchOptions(**settings)
    with pytest.raises(UserError, match=r"`trials`.*at least 1"):
        ExecutionOptions(trials=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", SPACES)
@pytest.mark.usefixtures("store")
def test_an_apps_search_ends_with_a_model_to_use(name: str) -> None:
    few = ("--trials", "2", "--epochs", "1", "--limit", "1000", *SMALL.get(name, ()))
    result = run("-m", f"tuning.{name}", *few, COLUMNS="200")
    assert result.returncode == 0, result.stderr
    assert f"{name}-" in result.stdout
    assert "the champion" in result.stdout
    assert f"-m apps.{name} train" in result.stdout.splitlines()[-1]
