"""Fit a network epoch by epoch, from the step at which an earlier process stopped."""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from common.config import Mode
from common.preprocessing import arrays
from common.training import devices, executions
from common.training.batches import Batches
from common.training.checkpoint import Checkpoint, State
from common.training.compilation import benefits_from_xla
from common.training.progress import Progress

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
    monitor: str = "loss",
    mode: Mode = "min",
    planned: int = 0,
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
        monitor: Metric whose best value the progress shows.
        mode: Whether its highest or its lowest value is the best.
        planned: Epochs of the whole training, if `epochs` are only the first ones.

    Returns:
        The metrics of every epoch by name, including the epochs before an interruption.
    """
    # On several devices on TensorFlow, Keras 3.15 loses steps of an execution that has several, or fails.
    several, on_tensorflow = devices.number() > 1, keras.backend.backend() == "tensorflow"
    most = 1 if several and on_tensorflow else STEPS_PER_EXECUTION
    usual = model.jit_compile
    if on_tensorflow and not several:  # Keras does not use XLA on several
        whole = batches()
        model.jit_compile = benefits_from_xla(model, whole.batch_size, max(planned, epochs) * whole.steps)
    ends = [epochs]
    resumed = checkpoint is not None and checkpoint.state.step > 0
    if resumed or (on_tensorflow and not several):
        _create_variables(model, batches, eagerly=not several)
    if checkpoint and resumed:  # first the rest of the epoch that has begun
        ends.insert(0, checkpoint.state.epochs + 1)
    for end in ends:
        state = checkpoint.state if checkpoint else State()
        training, counters = batches(epoch=state.epochs, step=state.step), counting()
        steps, together = len(training.order()), 0 if several else executions.steps_together(model, training)
        if model.steps_per_execution != (executed := min(steps, together or most)):
            model.steps_per_execution = executed
            model.train_function = model.test_function = None  # the old number is in their graphs
        if together:
            data = executions.Orders(training, executed)
            model.train_function = executions.several_steps(model, training.pair)
        else:
            # If an epoch is one execution, nothing needs the end of its data, and one pass has them all: to begin a
            # pass takes as long as dozens of steps of a small network.
            data = training.dataset(endless=steps == executed and not several)
        used = [training, *callbacks(state.step), *counters]
        if checkpoint:
            checkpoint.counting = list(counters)
            used.append(checkpoint)
        with Progress(epochs, monitor, mode, state.history, state.step) as progress:
            history = model.fit(
                data,
                initial_epoch=end if state.stopped else state.epochs,
                epochs=end,
                # The data set has this cardinality, but without it Keras makes every epoch's iterator twice.
                steps_per_epoch=steps,
                shuffle=False,
                validation_data=validation,
                callbacks=[*used, progress],  # last: an epoch that it shows is in the checkpoint
                verbose=0,
            ).history
        if together:
            model.train_function = None  # it holds the examples
    model.jit_compile = usual  # predictions are too few steps to compile a program for each size of a batch
    names = dict.fromkeys([*state.history, *history])
    return {name: [*state.history.get(name, []), *history.get(name, [])] for name in names}


def _create_variables(model: keras.Model, batches: Callable[..., Batches], eagerly: bool) -> None:
    """Create the variables of the optimizer and the metrics before the first step, which else would create them.

    A checkpoint can then restore their values, and TensorFlow traces the step once instead of twice.
    """
    inputs, targets = arrays.first(batches().pair, 1)[:2]
    if eagerly:
        model.optimizer.build(model.trainable_variables)
        model.compute_metrics(inputs, targets, model(inputs, training=False))
        model.reset_metrics()
    else:
        model.evaluate(inputs, targets, verbose=0)
