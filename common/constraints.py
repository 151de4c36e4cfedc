"""Constraints that Keras lacks, which are applied to weights after every step. Backend-neutral: only `keras.ops`."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("common")
class SoftThreshold(keras.constraints.Constraint):
    """sign(w) max(|w| - amount, 0), the proximal step of an absolute penalty (Daubechies, Defrise and De Mol 2004)."""

    def __init__(self, amount: float) -> None:
        self.amount = amount

    def __call__(self, w: Any) -> Any:
        return ops.sign(w) * ops.relu(ops.abs(w) - self.amount)

    def get_config(self) -> dict[str, Any]:
        return {"amount": self.amount}


@keras.saving.register_keras_serializable("common")
class ProximalL1L2(keras.regularizers.Regularizer):
    """l1 sum |w| + l2 sum w², of which only the second part has a gradient: `SoftThreshold` takes the first's step."""

    def __init__(self, l1: float, l2: float) -> None:
        self.l1, self.l2 = l1, l2

    def __call__(self, x: Any) -> Any:
        return self.l1 * ops.sum(ops.abs(ops.stop_gradient(x))) + self.l2 * ops.sum(ops.square(x))

    def get_config(self) -> dict[str, Any]:
        return {"l1": self.l1, "l2": self.l2}
