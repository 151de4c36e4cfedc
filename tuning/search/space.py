"""The search space: from KerasTuner's hyperparameters to an app's settings, and its description."""

import dataclasses
import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

import keras_tuner
import pandas as pd
import tyro

from common.config import Config
from common.errors import UserError
from tuning.search.options import Space

SETTINGS = "tuner/settings"
"""The hyperparameter that holds all settings, as JSON, of a trial that no algorithm proposed."""
DRAWS = 200
"""Random draws by which `explore` finds hyperparameters that depend on others."""


class ConfigBuilder:
    """Builds an app's settings from KerasTuner's hyperparameters.

    Args:
        space: The search space.
        flags: Command-line flags of the app, which fix settings in all trials.
        prog: The name of the command, for error messages.
    """

    def __init__(self, space: Space, flags: Sequence[str], prog: str) -> None:
        self.space, self.flags, self.prog = space, list(flags), prog
        self.default = self(keras_tuner.HyperParameters())  # reports wrong flags before the search starts

    def __call__(self, hyperparameters: Any) -> Config:
        config = self.space(hyperparameters)
        if settings := hyperparameters.values.get(SETTINGS):
            config = config.from_dict(json.loads(settings))
        return self.with_flags(config)

    def with_flags(self, config: Config) -> Config:
        """Return the settings with those of the command line in place of theirs."""
        if not self.flags:
            return config
        fixed: Config = tyro.cli(type(config), prog=self.prog, args=self.flags, default=config)
        return fixed


def explore(space: Space) -> Any:
    """Return all hyperparameters of the space, including those that depend on the values of others."""
    found = keras_tuner.HyperParameters()
    space(found)
    for drawn in draw(found, DRAWS):
        space(drawn)
        known = [parameter.get_config() for parameter in found.space]
        found.merge([parameter for parameter in drawn.space if parameter.get_config() not in known])
    return found


def draw(hyperparameters: Any, count: int) -> Iterator[Any]:
    """Yield `count` hyperparameters with random values of those known at the time of each draw."""
    for seed in range(count):
        drawn = keras_tuner.HyperParameters()
        drawn.values = {parameter.name: parameter.random_sample(seed) for parameter in hyperparameters.space}
        yield drawn


def describe(hyperparameters: Any) -> pd.DataFrame:
    """Return the name, the values, and the condition of each hyperparameter as text."""

    def condition(parameter: Any) -> str:
        return " and ".join(f"{parent.name} in {list(parent.values)}" for parent in parameter.conditions)

    rows = [(parameter.name, _values(parameter), condition(parameter)) for parameter in hyperparameters.space]
    return pd.DataFrame(rows, columns=["setting", "values", "only where"])


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
    """Count the settings in the space; infinity if one is continuous.

    A hyperparameter counts only under its `conditional_scope`. One under a plain `if` counts everywhere, for KerasTuner
    draws it everywhere.
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


def searched(space: Space) -> list[str]:
    """Return the names of the settings that the space varies."""
    return varied([space(drawn) for drawn in draw(explore(space), DRAWS)])


def varied(configs: Sequence[Config]) -> list[str]:
    """Return the names of the settings that are not equal in all of `configs`."""
    settings = [dataclasses.asdict(config) for config in configs]
    return [name for name in settings[0] if len({repr(values[name]) for values in settings}) > 1]


def epochs(configs: ConfigBuilder) -> int:
    """Return the number of epochs, which Hyperband divides among its rounds.

    Raises:
        UserError: If the space searches for it.
    """
    counts = {configs(drawn).epochs for drawn in draw(explore(configs.space), DRAWS)}
    if len(counts) > 1:
        raise UserError("--algorithm hyperband: chooses the number of epochs itself; fix it with --epochs N")
    return counts.pop()
