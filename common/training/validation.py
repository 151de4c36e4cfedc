"""Validate on several devices on JAX."""

from typing import Any

import keras

from common.training import devices
from common.training.batches import InOrder


class Validation(keras.callbacks.Callback):
    """Validates a network after every epoch, and adds the metrics to those of the epoch.

    Keras's own validation needs batches that the devices divide. Here the last examples, fewer than devices, are
    evaluated on every device, and added: the variables of a metric are sums, as for any distribution.
    """

    def __init__(self, batches: InOrder) -> None:
        super().__init__()
        divided = batches.examples - batches.examples % devices.number()
        self.batches = InOrder(batches.parts, batches.size, divided)
        self.rest = keras.tree.map_structure(lambda part: part[divided : batches.examples], batches.parts)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        measured = self.model.evaluate(self.batches, return_dict=True, verbose=0)
        if len(keras.tree.flatten(self.rest)[0]):
            measured = self._add_rest()
        if logs is not None:
            logs.update({f"val_{name}": float(value) for name, value in measured.items()})

    def _add_rest(self) -> dict[str, Any]:
        sums = [keras.ops.convert_to_numpy(variable) for variable in self.model.metrics_variables]
        with devices.undivided():
            self.model.test_on_batch(*self.rest)
        for variable, value in zip(self.model.metrics_variables, sums, strict=True):
            variable.assign_add(value)
        measured: dict[str, Any] = self.model.get_metrics_result()
        return measured
