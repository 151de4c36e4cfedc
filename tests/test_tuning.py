"""The spaces of all apps; and a search's parts, each by itself."""

import importlib
import math
import os
import pkgutil
import shlex
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras_tuner
import pytest
import tyro

import tuning
from apps.mnist_mlp import Settings as MnistMlp
from apps.mnist_mlp import app as mlp
from common.errors import UserError
from tests import tiny_search
from tests.conftest import APPS, SMALL, assert_user_error, run
from tuning.search import chief, crew, oracle, outcome, space, worker
from tuning.search.options import Algorithm, Search, Work, direction

SPACES = [module.name for module in pkgutil.iter_modules(tuning.__path__) if module.name != "search"]


def test_every_app_has_a_space_and_its_settings_are_the_apps() -> None:
    assert sorted(SPACES) == sorted(APPS)


@pytest.mark.parametrize("name", SPACES)
def test_whatever_is_drawn_from_a_space_are_settings_that_the_app_can_have(name: str) -> None:
    module = importlib.import_module(f"tuning.{name}")
    settings = space.Settings(module.space, [], name)
    known = space.explore(module.space)
    for seed in range(30):
        drawn = keras_tuner.HyperParameters()
        drawn.values = space.sample(known, seed)
        assert isinstance(settings(drawn), module.app.settings)
    names = [parameter.name for parameter in known.space]
    assert len(set(names)) == len(names) >= 1
    assert space.size(known) > 1


def conditional(hp: Any) -> MnistMlp:
    optimizer = hp.Choice("optimizer", ["adam", "momentum"])
    with hp.conditional_scope("optimizer", ["momentum"]):
        momentum = hp.Float("momentum", 0.5, 0.9, step=0.2)
    rate = hp.Float("learning_rate", 1e-4, 1e-2, sampling="log") if optimizer == "momentum" else 0.1
    return MnistMlp(optimizer=optimizer, momentum=momentum or 0.9, learning_rate=rate, epochs=hp.Int("epochs", 2, 4))


def test_a_space_is_found_whole_and_put_in_words() -> None:
    found = space.explore(conditional)
    assert sorted(space.describe(found)) == [
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
    assert tyro.cli(MnistMlp, args=shlex.split(space.flags(config, MnistMlp()))) == config


def test_flags_hold_in_every_trial() -> None:
    settings = space.Settings(tiny_search.space, ["--hidden", "5", "6", "--optimizer", "sgd"], "tiny")
    found = settings(keras_tuner.HyperParameters())
    assert (found.hidden, found.optimizer, found.dropout) == ((5, 6), "sgd", 0.2)  # type: ignore[attr-defined]


def test_hyperband_is_told_the_epochs_and_does_not_search_them() -> None:
    assert space.epochs(space.Settings(tiny_search.space, [], "tiny"), "hyperband") == 3
    with pytest.raises(UserError, match="`epochs`"):
        space.epochs(space.Settings(conditional, [], "tiny"), "hyperband")
    assert space.epochs(space.Settings(conditional, ["--epochs", "9"], "tiny"), "hyperband") == 9


@pytest.mark.parametrize("algorithm", ["random", "grid", "bayesian", "hyperband"])
def test_an_oracle_read_again_after_any_change_proposes_the_same(algorithm: Algorithm, tmp_path: Path) -> None:
    """One oracle is read anew after every call that changes it, the other never is."""
    settings = space.Settings(tiny_search.space, [], "tiny")
    objective = keras_tuner.Objective("val_accuracy", "max")
    file = tmp_path / "oracle"

    given = [MnistMlp()] if algorithm != "grid" else []

    def proposed(again: bool) -> list[dict[str, Any]]:
        asked = oracle.begin(Search(algorithm, seed=5), settings, objective, file, given)
        asked._set_project_dir(str(tmp_path), algorithm)
        asked.max_trials = 12
        values = []
        while (trial := asked.create_trial("worker-0")).status == "RUNNING":
            if again:
                asked = oracle.read(file)
                same = asked.create_trial("worker-0")  # it comes back, and is given its trial again
                assert same.trial_id == trial.trial_id
                trial = same
            values.append(dict(trial.hyperparameters.values))
            asked.update_trial(trial.trial_id, {"val_accuracy": math.sin(len(values))})
            trial.status = "COMPLETED"
            asked.end_trial(trial)
            if again:
                asked = oracle.read(file)
        assert [trial.score for trial in asked.finished()] == [math.sin(1 + number) for number in range(len(values))]
        return values

    first = proposed(again=False)
    assert (space.GIVEN in first[0]) == bool(given)
    assert len(first) >= 7
    assert proposed(again=True) == first


def test_a_torn_oracle_is_one_line(tmp_path: Path) -> None:
    tmp_path.joinpath("oracle").write_bytes(b"\x80")
    with pytest.raises(UserError, match="`fresh`"):
        oracle.read(tmp_path / "oracle")


def test_trials_of_workers_that_are_gone_are_given_to_others(tmp_path: Path) -> None:
    objective = keras_tuner.Objective("val_accuracy", "max")
    settings = space.Settings(tiny_search.space, [], "tiny")
    asked = oracle.begin(Search(), settings, objective, tmp_path / "oracle")
    asked._set_project_dir(str(tmp_path), "x")
    first, second = asked.create_trial("worker-0"), asked.create_trial("worker-1")
    oracle.give_back(asked, ["worker-0"])
    assert asked.create_trial("worker-0").trial_id == first.trial_id
    assert asked.create_trial("worker-2").trial_id == second.trial_id
    for _ in range(2):  # the one that was thought to be gone ends it, and then the other one
        asked.update_trial(second.trial_id, {"val_accuracy": 0.5})
        second.status = "COMPLETED"
        asked.end_trial(second)
    assert [trial.trial_id for trial in asked.finished()] == [second.trial_id]
    assert list(asked.ongoing_trials) == ["worker-0"]


def test_means_of_several_trainings_have_a_standard_error() -> None:
    measured = worker.means([{"best_val_loss": value, "train_seconds": 2.0} for value in (1.0, 2.0, 4.0)])
    assert measured == {
        "best_val_loss": pytest.approx(7 / 3),
        "best_val_loss_se": pytest.approx(math.sqrt(((4 / 3) ** 2 + (1 / 3) ** 2 + (5 / 3) ** 2) / 2 / 3)),
        "train_seconds": 2.0,
    }


def test_importance_finds_the_setting_that_decides() -> None:
    trials = [
        outcome.Outcome(str(number), rate * 10 + 0.01 * (number % 3), MnistMlp(learning_rate=rate, hidden=hidden), {})
        for number, (rate, hidden) in enumerate(
            (rate, hidden) for rate in (0.01, 0.02, 0.03, 0.04) for hidden in ((8,), (8, 8), (16,))
        )
    ]
    table = outcome.importance(trials[::-1])
    assert list(table["setting"]) == ["learning_rate", "hidden"]
    assert table["importance"].iloc[0] > 10 * abs(table["importance"].iloc[1])
    assert table["in the best trial"].iloc[0] == "0.04"
    assert outcome.importance(trials[:5]).empty


def test_each_worker_has_its_share_of_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(crew, "GPUS", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: {0, 1, 2, 3, 4})
    assert [crew.share(index, 2) for index in range(2)] == [({}, {0, 2, 4}), ({}, {1, 3})]
    assert crew.share(0, 6) == ({}, set())
    for number in (0, 1):
        (tmp_path / f"nvidia{number}").touch()
    (tmp_path / "nvidia-uvm").touch()
    assert [crew.share(index, 3)[0]["CUDA_VISIBLE_DEVICES"] for index in range(3)] == ["0", "1", "0"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    assert [crew.share(index, 2)[0]["CUDA_VISIBLE_DEVICES"] for index in range(2)] == ["5", "7"]


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
        callback = worker.Pruning(mlp, recording, curves)
        callback.set_model(model)
        callback.on_epoch_end(1, {"val_accuracy": value})
        assert (tagged == {"pruned": "epoch 2"}) == pruned


def test_bad_searches_are_one_line() -> None:
    assert_user_error(run("-m", "tuning.mnist_mlp", "--trials", "0"), "--trials", "at least 1")
    assert_user_error(run("-m", "tuning.lenet5", "--trails", "3"), "--trails")
    for settings in ({"seed": -1}, {"algorithm": "grid", "warm_start": True}):
        with pytest.raises(UserError):
            Search(**settings)
    for address in ("host", ":1", "host:99999", "host:x"):
        with pytest.raises(UserError, match="HOST:PORT"):
            Work(chief=address)
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(UserError, match="cannot listen"):
        chief.listening(Work(chief=f"127.0.0.1:{taken.getsockname()[1]}"))


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
