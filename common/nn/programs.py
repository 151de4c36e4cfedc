"""Functions of a network that JAX compiles as a whole."""

from collections.abc import Callable, Sequence
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
