"""Functions of a network that JAX compiles as a whole, and the folder in which it keeps what it has compiled."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import keras

from common import files


def compiled(function: Callable[..., Any], model: keras.Model) -> Callable[..., Any]:
    """Return `function`, which reads variables of `model`, as one that JAX compiles as a whole.

    JAX compiles every operation outside such a function on its own: hundreds of programs for one call of a network.

    Args:
        function: Makes tensors of tensors. All that it assigns, and losses that layers add, last until its end.
        model: A network.

    Returns:
        A function of arrays that uses the values that the variables have when it is called.
    """
    variables = model.variables

    def with_values(values: Sequence[Any], arguments: Sequence[Any]) -> Any:
        with keras.StatelessScope(list(zip(variables, values, strict=True)), collect_losses=True):
            return function(*arguments)

    if keras.backend.backend() == "jax":
        import jax

        with_values = jax.jit(with_values)

    def call(*arguments: Any) -> Any:
        tensors = keras.tree.map_structure(keras.ops.convert_to_tensor, arguments)
        return with_values([variable.value for variable in variables], tensors)

    return call


def default_folder() -> str | None:
    """Return the folder in which JAX keeps programs by default; None for a user without a home."""
    try:
        return str(files.keras_home() / "programs")
    except RuntimeError:
        return None


def keep() -> None:
    """Let JAX keep the programs that it compiles, so that later processes need not compile them.

    They are in $KERAS_HOME/programs, or ~/.keras/programs. Beyond 1 GiB, the least recently used are deleted. JAX finds
    a program on the same kind of processor, with the same versions. Its own environment variables take precedence. For
    a user without a home, it keeps no programs.
    """
    if (folder := default_folder()) is None:
        return
    variables = {
        "JAX_COMPILATION_CACHE_DIR": folder,
        "JAX_COMPILATION_CACHE_MAX_SIZE": str(2**30),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.05",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    for name, value in variables.items():
        os.environ.setdefault(name, value)
