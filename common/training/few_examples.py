"""Give a training on few examples enough gradient steps."""

import dataclasses
import math

from common.config import Config, changed
from common.data import Data
from common.errors import print_notes

MINIMUM_STEPS = 500
"""Smallest number of gradient steps of a training with the default numbers of epochs and examples in a batch."""
KINDS = ("image", "text")
"""Kinds of data. Others are left out, because some apps for tables use all examples in each step."""
STEPS_PER_EPOCH = 20
"""Number of gradient steps in an epoch for which batches become smaller."""


def enough_steps(config: Config, data: Data) -> Config:
    """Return the settings with smaller batches and more epochs if there are few images or sentences; a note says so.

    If the user has chosen the number of epochs, of examples in a batch or of all, the settings stay.
    """
    usual = not {"epochs", "batch_size", "limit"} & changed(config).keys()
    if not usual or data.kind not in KINDS or config.epochs * data.steps(config) >= MINIMUM_STEPS:
        return config
    adapted = dataclasses.replace(config, fewest_steps=STEPS_PER_EPOCH)
    epochs = max(config.epochs, math.ceil(MINIMUM_STEPS / data.steps(adapted)))
    batch = data.batch_size(adapted)
    steps = f"{epochs} epochs in batches of {batch}, for {MINIMUM_STEPS} gradient steps"
    print_notes([f"{data.examples(config):,} training examples: {steps}"])
    return dataclasses.replace(adapted, epochs=epochs)
