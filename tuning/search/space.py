"""The settings that a search may try: from KerasTuner's hyperparameters to an app's settings, and in words."""

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras_tuner
import tyro

from common.config import Config
from common.errors import UserError
from tuning.search.command import Space

GIVEN = "tuner/settings"
"""In the values of a trial that KerasTuner did not propose: all its settings, as JSON."""
EXPLORED = 200
"""Random settings by which a space is looked through for hyperparameters that depend on others."""


class Settings:
    """From what KerasTuner proposes to the settings that are trained with: the space's, but for `flags`.

    `flags` are those of the app on the command line, which hold for all trials.
    """

    def __init__(self, space: Space, flags: Sequence[str], prog: str) -> None:
        self.space, self.flags, self.prog = space, list(flags), prog
        self(keras_tuner.HyperParameters())  # whatever is wrong with the flags is said now

    def __call__(self, hyperparameters: Any) -> Config:
        """The settings of a trial."""
        config = self.space(hyperparameters)
        if given := hyperparameters.values.get(GIVEN):
            config = config.from_dict(json.loads(given))
        return self.hold(config)

    def hold(self, config: Config) -> Config:
        """Settings with those of the command line in place of theirs."""
        if not self.flags:
            return config
        held: Config = tyro.cli(type(config), prog=self.prog, args=self.flags, default=config)
        return held


def explore(space: Space) -> Any:
    """All hyperparameters of `space`, those included that it asks for only where others have certain values."""
    found = keras_tuner.HyperParameters()
    space(found)
    for seed in range(EXPLORED):
        drawn = keras_tuner.HyperParameters()
        drawn.values = sample(found, seed)
        space(drawn)
        known = [parameter.get_config() for parameter in found.space]
        found.merge([parameter for parameter in drawn.space if parameter.get_config() not in known])
    return found


def sample(hyperparameters: Any, seed: int) -> dict[str, Any]:
    """A random value of each hyperparameter."""
    return {parameter.name: parameter.random_sample(seed) for parameter in hyperparameters.space}


def describe(hyperparameters: Any) -> Iterator[tuple[str, str, str]]:
    """The name, the values, and the condition of each hyperparameter, in words."""
    for parameter in hyperparameters.space:
        condition = " and ".join(f"{parent.name} in {list(parent.values)}" for parent in parameter.conditions)
        yield parameter.name, _values(parameter), condition


def _values(parameter: Any) -> str:
    match type(parameter).__name__:
        case "Choice":
            return ", ".join(map(str, parameter.values))
        case "Boolean":
            return "False, True"
        case "Fixed":
            return str(parameter.value)
        case _:
            step = f", in steps of {parameter.step}" if parameter.step else ""
            scale = f", {parameter.sampling}" if parameter.sampling != "linear" else ""
            return f"{parameter.min_value} to {parameter.max_value}{step}{scale}"


def size(hyperparameters: Any) -> float:
    """How many settings there are; infinite where a number may be any in a range.

    What the space asks for by a plain `if`, not in a `conditional_scope`, KerasTuner draws everywhere: so it counts.
    """
    parameters = hyperparameters.space

    def below(parent: Any, value: Any) -> float:
        scopes = [(one, one.conditions[-1]) for one in parameters if one.conditions]
        return math.prod(count(one) for one, last in scopes if last.name == parent.name and value in last.values)

    def count(parameter: Any) -> float:
        if type(parameter).__name__ == "Float" and not parameter.step:
            return math.inf
        return sum(below(parameter, value) for value in parameter.values)

    return math.prod(count(parameter) for parameter in parameters if not parameter.conditions)


def flags(config: Config, default: Config) -> str:
    """The flags that make `config` of the `default`."""
    words = []
    for name, value in changed(config, default).items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            values = value if isinstance(value, tuple) else [value]
            words += [f"--{flag}", *map(str, values)]
    return " ".join(words)


def changed(config: Config, default: Config) -> Mapping[str, Any]:
    """The settings that differ from the `default`."""
    usual = dataclasses.asdict(default)
    return {name: value for name, value in dataclasses.asdict(config).items() if value != usual[name]}


def varied(configs: Sequence[Config]) -> list[str]:
    """The names of the settings that are not the same in all."""
    every = [dataclasses.asdict(config) for config in configs]
    return [name for name in every[0] if len({repr(settings[name]) for settings in every}) > 1]


def epochs(settings: Settings, algorithm: str) -> int:
    """The epochs of all trials, between which Hyperband shares its own out.

    Raises:
        UserError: where they are searched for.
    """
    counts, known = set(), explore(settings.space)
    for seed in range(EXPLORED):
        drawn = keras_tuner.HyperParameters()
        drawn.values = sample(known, seed)
        counts.add(settings(drawn).epochs)
    if len(counts) > 1:
        raise UserError(f"--algorithm {algorithm}: shares out the epochs itself; hold them fast with --epochs N")
    return counts.pop()
