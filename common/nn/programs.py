"""Functions of a network that JAX compiles as a whole, and the folder in which it keeps what it has compiled."""

import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
from keras import ops


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
        tensors = keras.tree.map_structure(ops.convert_to_tensor, arguments)
        return with_values([variable.value for variable in variables], tensors)

    return call


def keep(folder: Path) -> None:
    """Keep the programs that JAX compiles in a folder, in which later processes find them. Other backends have none.

    Args:
        folder: Folder of the programs of all hosts. Each host uses a subfolder of its own, because a program may not
            run on another kind of processor.
    """
    if keras.backend.backend() != "jax":
        return
    import jax

    jax.config.update("jax_compilation_cache_dir", str(folder / socket.gethostname()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    jax.config.update("jax_persistent_cache_enable_xla_caches", "none")  # their folder would be part of a program's key
