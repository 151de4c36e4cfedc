"""Fit classical baselines on the split of a network, and record them."""

import functools
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from common import baselines, tracking
from common.app import App
from common.config import Config
from common.data import Array, Data
from common.errors import UserError, first_line, print_notes
from common.preprocessing import row_shards
from common.result import Result, prefixed
from common.tasks import Forecast
from common.training.checkpoint import Stopwatch
from common.training.class_weights import recalibration, same_decision, weighted

QUICK = 500_000
"""Largest number of numbers in a training set whose baselines are fitted within seconds."""
QUICK_FORECASTS = 3_000_000
"""The same for forecasts, whose baselines are linear, and whose windows overlap."""


def fit(app: App, config: Config, data: Data) -> dict[str, Result]:
    """Fit the app's classical baselines on the training set and record each as a run of its own.

    Returns:
        The result of each baseline, by its name, which says so if it has balanced class weights.
    """
    estimators = (app.baseline or baselines.default)(config, data)
    if not isinstance(estimators, Mapping):
        estimators = {"baseline": estimators}
    if config.class_weights != "none":
        estimators = {f"{config.class_weights} {name}": estimator for name, estimator in estimators.items()}
    return {name: _fit(app, config, data, name, estimator) for name, estimator in estimators.items()}


def beside(app: App, config: Config, data: Data) -> dict[str, float]:
    """Return the test metrics of the baselines on the same data: those that are recorded, or else of those fitted now.

    They have the class weights of the network. They are fitted if this takes seconds, and there are baselines for this
    task. Otherwise there are none.

    Returns:
        For each baseline, the metric of the task's `comparison` on the test set.
    """
    recorded = dict[str, float]()
    for run in tracking.find({"kind": "baseline", "app": app.name}):
        name = tracking.name_of(run).removeprefix(f"{app.name} ")
        weights = run.data.params.get("class_weights", "none")
        same = run.info.status == "FINISHED" and tracking.digest(run) == data.digest
        _, value = app.task.comparison(run.data.metrics)
        if same and weights == config.class_weights and not np.isnan(value):
            recorded.setdefault(name, value)
    if recorded or not _is_quick(app, data):
        return recorded
    try:
        return {name: app.task.comparison(result.metrics)[1] for name, result in fit(app, config, data).items()}
    except (UserError, TypeError, ValueError) as error:  # of scikit-learn; the network may do without
        print_notes([f"the baseline cannot be fitted ({first_line(error)}); the network is trained without it"])
        return {}


def _is_quick(app: App, data: Data) -> bool:
    limit = QUICK_FORECASTS if isinstance(app.task, Forecast) else QUICK
    sizes = [getattr(part, "size", None) for part in keras.tree.flatten(data.train[0])]
    return all(size is not None for size in sizes) and sum(size or 0 for size in sizes) <= limit


def _learn(estimator: Any, inputs: Any, targets: Array, weights: Array | None = None) -> None:
    """Fit an estimator, or the last step of a pipeline, with the weight of each example (examples,) if there is one.

    Raises:
        UserError: if it takes no weights.
    """
    if weights is None:
        estimator.fit(inputs, targets)
        return
    name = f"{estimator.steps[-1][0]}__sample_weight" if hasattr(estimator, "steps") else "sample_weight"
    try:
        estimator.fit(inputs, targets, **{name: weights})
    except TypeError as error:
        words = f"`class_weights`: the app's baseline takes no weights of examples ({first_line(error)})"
        raise UserError(f"{words}; train without class weights") from error


def _fit(app: App, config: Config, data: Data, name: str, estimator: Any) -> Result:
    with tracking.run(app, "baseline", config, data, name) as run:
        stopwatch = Stopwatch()
        _learn(estimator, *weighted(row_shards.sample(data.train), config, data))
        wall, cpu = stopwatch.seconds()
        answer = functools.partial(row_shards.in_parts, functools.partial(app.task.predict, estimator))
        validation, test = (app.task.predictions_for(answer, pair) for pair in (data.validation, data.test))
        task = app.task
        if config.class_weights == "balanced":
            layer = recalibration(validation, data)
            task = same_decision(task, layer)
            validation, test = (keras.ops.convert_to_numpy(layer(part)) for part in (validation, test))
        task = task.choose_threshold(data.validation[1], lambda: validation)
        measured = {
            **prefixed("best_val", task.score(data.validation[1], validation)),
            **prefixed("test", task.score(data.test[1], test)),
            "train_seconds": wall,
            "train_cpu_seconds": cpu,
        }
        run.log_metrics(measured)
    return Result(data.name, app.task, measured, len(data.test[1]), run.id)
