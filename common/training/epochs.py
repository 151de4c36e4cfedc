"""Fit a network epoch by epoch, from the step at which an earlier process stopped."""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import keras

from common.preprocessing import arrays
from common.training.batches import Batches
from common.training.checkpoint import Checkpoint, State

STEPS_PER_EXECUTION = 32
"""Batches per call from Python into the compiled graph."""

Callbacks = Sequence[keras.callbacks.Callback]


def fit(
    model: keras.Model,
    batches: Callable[..., Batches],
    epochs: int,
    checkpoint: Checkpoint | None = None,
    callbacks: Callable[[int], Callbacks] = lambda _step: (),
    counting: Callable[[], Callbacks] = lambda: (),
    validation: Any = None,
) -> dict[str, list[float]]:
    """Train a compiled network in place.

    Args:
        model: The network.
        batches: Returns the training set, given the first `epoch` and the first `step`, both from 0.
        epochs: Last epoch, from 1.
        checkpoint: Saves the state of the training and resumes it.
        callbacks: Returns callbacks, given the first step.
        counting: Returns callbacks that count across epochs; their counts are saved too.
        validation: Data to validate on, in a form that Keras takes; None for none.

    Returns:
        The metrics of every epoch by name, including the epochs before an interruption.
    """
    model.steps_per_execution = STEPS_PER_EXECUTION
    if checkpoint and checkpoint.state.step:
        _build_metrics(model, batches)
        until = checkpoint.state.epochs + 1
        _fit(model, batches, until, checkpoint, callbacks, counting, validation)
    return _fit(model, batches, epochs, checkpoint, callbacks, counting, validation)


def _fit(
    model: keras.Model,
    batches: Callable[..., Batches],
    epochs: int,
    checkpoint: Checkpoint | None,
    callbacks: Callable[[int], Callbacks],
    counting: Callable[[], Callbacks],
    validation: Any,
) -> dict[str, list[float]]:
    """Train the epochs that are left; if the first one has begun already, only the rest of it."""
    state = checkpoint.state if checkpoint else State()
    training, counters = batches(epoch=state.epochs, step=state.step), counting()
    used = [training, *callbacks(state.step), *counters]
    if checkpoint:
        checkpoint.counting = list(counters)
        used.append(checkpoint)
    history = model.fit(
        training.dataset(),
        initial_epoch=epochs if state.stopped else state.epochs,
        epochs=epochs,
        # The data set has this cardinality, but without it Keras makes every epoch's iterator twice.
        steps_per_epoch=len(training.order()),
        shuffle=False,
        validation_data=validation,
        callbacks=used,
        verbose=1 if sys.stdout.isatty() else 2,  # a progress bar, or one line per epoch in a log file
    ).history
    return {
        name: [*state.history.get(name, []), *history.get(name, [])]
        for name in dict.fromkeys([*state.history, *history])
    }


def _build_metrics(model: keras.Model, batches: Callable[..., Batches]) -> None:
    """Create the variables of the metrics, as the first step would, so that their values can be restored."""
    model.evaluate(*arrays.first(batches().pair, 1), verbose=0)
