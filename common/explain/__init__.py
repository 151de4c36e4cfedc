"""Explain a saved model's predictions: attributions of each kind of input, their agreement, and their figures.

Integrated gradients and occlusion are summed over the same parts of an input: words, columns, steps, or squares of an
image. If both methods rank the parts alike, the ranking does not depend on the method.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import keras
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from rich.progress import track
from sklearn.base import BaseEstimator
from sklearn.inspection import permutation_importance

from common import tasks, tracking, training
from common.app import App
from common.data import Array, Examples, Kind, SavedModel
from common.errors import UserError, print_notes
from common.explain.attribution import (
    Integrated,
    agreement,
    grad_cam,
    grouped,
    integrated_gradients,
    occlusion,
    randomised,
    saliency,
)
from common.explain.parts import SQUARES, STEP, Parts, parts_of, split_model
from common.layer_names import FEATURES
from common.nn import augmentation
from common.plots import attribution
from common.preprocessing import row_shards

PAGE = 8
"""Examples per figure; more examples make more figures."""
LARGEST = 3
"""Number of parts of an example in the table."""
REPEATS = 10
"""Permutations per column; their effects are averaged."""


@dataclass(frozen=True)
class Explained:
    """The explanation of a model's predictions, or of the model as a whole."""

    label: str
    """Label of the model."""
    summary: pd.DataFrame
    """One row per example, or per column of the table."""
    tables: Mapping[str, pd.DataFrame]
    """All numbers, by file name."""
    figures: Mapping[str, Figure]
    """Figures, by file name."""
    notes: Sequence[str]
    """Remarks for the reader, one line each."""
    run_id: str | None


@dataclass(frozen=True)
class Attributions:
    """The attributions of some examples."""

    kind: Kind
    inputs: Any
    x: Array
    """The inputs as numbers, as `ScoreModel.enter` returns them."""
    names: Sequence[str]
    """Names of the examples."""
    answers: Sequence[str]
    """Predictions in words."""
    parts: Parts
    integrated: Sequence[Integrated]
    gradients: Array
    """Absolute gradients, of the inputs' shape."""
    by_part: Array
    """Integrated gradients, (examples, parts)."""
    occluded: Array
    """Decrease of the score without each part, (examples, parts)."""
    maps: Array | None
    """Grad-CAM, (examples, rows, columns)."""


def explain(app: App, files: Sequence[str], which: str | None, target: str | None) -> Explained:
    """Explain a model's predictions for `files`. Without files, explain a tabular model globally.

    Args:
        app: The app of the model.
        files: The examples, as for `predict`.
        which: The model, as for `tracking.load`.
        target: Class or quantity to explain; by default the predicted class or the first quantity.

    Raises:
        UserError: if the app predicts no class or quantity, there are no files and the model takes no table, there is
            no such target, or the model, the files or the data cannot be loaded.
    """
    if not isinstance(app.task, tasks.Classification | tasks.Regression):
        raise UserError(
            f"{app.name} predicts no class or quantity that could be explained; "
            f"try python -m apps.{app.name} predict, or the figures of its run in make ui"
        )
    saved = tracking.load(app.name, which)
    if target is not None and target not in saved.outputs:
        raise UserError(f"`target` {target}: {saved.label} has {', '.join(saved.outputs[:20])}")
    if not files:
        return _explain_model(app, saved)
    return _explain_examples(app, saved, app.examples(files, saved), target)


def _explain_examples(app: App, saved: SavedModel, examples: Examples, target: str | None) -> Explained:
    print_notes(examples.notes)
    inputs = examples.inputs
    names = [name for row, name in enumerate(examples.names) if row not in examples.unusable]
    classes = isinstance(app.task_of(saved), tasks.Classification)
    predictions = training.predict(saved.model, inputs)
    chosen, answers = _chosen(app, saved, predictions, target)
    scored = split_model(saved.model, classes)
    if saved.kind == "table" and not scored.front:
        raise UserError(
            f"{saved.label}: no layer is called {FEATURES}; "
            "give this name to the layer that joins the table's columns as numbers, and train again"
        )
    x, context = scored.enter(inputs)
    if (ahead := len(names) // len(x)) > 1:  # a forecast has a name for each step
        names = [f"{name} and {ahead - 1} more" for name in names[::ahead]]
    if isinstance(inputs, dict) and np.isnan(x).any():  # the network does not impute NaN
        raise UserError(
            f"{names[int(np.isnan(x).any(axis=1).argmax())]}: a number is missing, so there is no prediction to explain"
        )
    parts = parts_of(app, saved, scored, inputs, x, context)
    network = scored.network

    def integrate(index: int, network: keras.Model, **limit: int) -> Integrated:
        own = [part[index] for part in context]
        return integrated_gradients(network, x[index], int(chosen[index]), parts.baseline[index], own, **limit)

    integrated = [integrate(index, network) for index in track(range(len(x)), "explaining", transient=True)]
    values = np.stack([one.values for one in integrated])
    found = Attributions(
        saved.kind,
        inputs,
        x,
        names,
        answers,
        parts,
        integrated,
        saliency(network, x, chosen, context),
        grouped(values, parts.groups),
        occlusion(network, x, chosen, parts.baseline, parts.groups, context),
        grad_cam(*scored.maps, x, chosen) if scored.maps else None,
    )
    rows = [_row(found, index) for index in range(len(x))]
    shuffled = integrate(0, randomised(network), most=32)
    alike = agreement(values[0], shuffled.values)
    explained = "the log-odds of the class" if classes else f"the predicted {saved.outputs[int(chosen[0])]}"
    notes = [
        f"Attributions are parts of {explained}, relative to {parts.words}.",
        f"The first example's attributions correlate {alike:.2f} with those of a network with shuffled weights: "
        "the nearer to 0, the more they depend on the learned weights.",
    ]
    if scored.maps and augmentation.patches(network) > 1:
        notes.append("Grad-CAM: of the patches whose predictions are averaged, the one in the centre.")
    if (short := sum(one.error > 0.01 for one in integrated)) > 0:
        notes.append(
            f"{short} of {len(x)} do not sum to the difference of the scores within 1 %: trust their signs only."
        )
    return Explained(
        saved.label, pd.DataFrame(rows), {"attributions": _long(found)}, dict(_draw(found)), notes, saved.run_id
    )


def _chosen(app: App, saved: SavedModel, predictions: Array, target: str | None) -> tuple[Array, list[str]]:
    """Return the number of the explained score of each example, (examples,), and its prediction in words."""
    outputs, task = saved.outputs, app.task_of(saved)
    if isinstance(task, tasks.Classification):
        chosen = task.decide(predictions) if target is None else np.full(len(predictions), outputs.index(target))
        shares = predictions[np.arange(len(predictions)), chosen]
        return chosen, [f"{outputs[one]} {100 * share:.1f} %" for one, share in zip(chosen, shares, strict=True)]
    chosen = np.full(len(predictions), outputs.index(target) if target else 0)
    values = predictions.reshape(len(predictions), -1, len(outputs)).mean(axis=1)
    return chosen, [f"{outputs[one]} {row[one]:.4g}" for one, row in zip(chosen, values, strict=True)]


def _row(found: Attributions, index: int) -> dict[str, Any]:
    """Return the row of an example in the summary."""
    parts, values = found.parts.names[index], found.by_part[index]
    present = [part for part, label in enumerate(parts) if label]
    largest = sorted(present, key=lambda part: -abs(values[part]))[:LARGEST]
    one = found.integrated[index]
    return {
        "input": found.names[index],
        "answer": found.answers[index],
        "largest attributions": "\n".join(f"{parts[part]} {values[part]:+.3g}" for part in largest),
        "completeness error": f"{100 * one.error:.2g} % ({one.steps} steps)",
        "correlation with occlusion": agreement(values[present], found.occluded[index][present]),
    }


def _long(found: Attributions) -> pd.DataFrame:
    """Return the attributions of all examples, one row per part."""
    rows = [
        {"input": name, "part": part, "integrated_gradients": value, "occlusion": lost}
        for name, parts, values, losses in zip(
            found.names, found.parts.names, found.by_part, found.occluded, strict=True
        )
        for part, value, lost in zip(parts, values, losses, strict=True)
        if part
    ]
    return pd.DataFrame(rows)


def _draw(found: Attributions) -> Iterator[tuple[str, Figure]]:
    """Yield the name and the figure of each page of examples."""
    parts = found.parts.names
    headings = [f"{name}: {answer}" for name, answer in zip(found.names, found.answers, strict=True)]
    for start in range(0, len(headings), PAGE):
        page = slice(start, start + PAGE)
        name = f"explanation_{start // PAGE + 1}" if len(headings) > PAGE else "explanation"
        titles, values, lost = headings[page], found.by_part[page], found.occluded[page]
        if found.kind == "table":
            yield name, attribution.columns(parts[page], titles, values, lost)
        elif found.kind == "text":
            yield name, attribution.words(parts[page], found.answers[page], values, lost)
        elif found.kind == "sequence":
            times = [np.array([int(part.removeprefix(STEP)) for part in one if part]) for one in parts[page]]
            yield name, attribution.steps(found.x[page], times, titles, values, lost)
        else:
            squares, occluded = (part.reshape(len(titles), SQUARES, SQUARES) for part in (values, lost))
            integrated = np.stack([one.values for one in found.integrated[page]])
            maps = None if found.maps is None else found.maps[page]
            images, slopes = found.inputs[page], found.gradients[page]
            yield name, attribution.images(images, titles, slopes, integrated, squares, occluded, maps)


class _Fitted(BaseEstimator):
    """An estimator for scikit-learn, which only checks that it has `fit`; the scoring function calls the network."""

    def fit(self, _inputs: Any, _targets: Any) -> Self:
        return self


def _explain_model(app: App, saved: SavedModel) -> Explained:
    """Measure the permutation importance of each column on the validation set; add a linear model's coefficients."""
    if saved.kind != "table":
        raise UserError(f"explain needs files, as predict does; see python -m apps.{app.name} explain --help")
    data, task = app.data_of(saved), app.task_of(saved)
    columns, targets = row_shards.sample(data.validation)
    table = pd.DataFrame(columns)
    sign = 1 if task.metric_mode == "max" else -1

    def score(_estimator: Any, rows: pd.DataFrame, truth: Array) -> float:
        columns = {name: rows[name].to_numpy()[:, None] for name in rows}
        outputs = keras.ops.convert_to_numpy(saved.model(columns, training=False))
        return sign * task.score(truth, outputs)[task.metric]

    found = permutation_importance(_Fitted(), table, targets, scoring=score, n_repeats=REPEATS, random_state=0)
    effect = f"{task.metric} lost" if sign == 1 else f"error ({task.metric}) gained"
    importance = pd.DataFrame(
        {"column": [*table], effect: found.importances_mean, "standard deviation": found.importances_std}
    ).sort_values(effect, ascending=False, kind="stable")
    tables = dict(app.tables(saved.model, data))
    figures = {"importance": attribution.importance(importance, effect)}
    if "coefficients" in tables:
        weights = tables["coefficients"].query("feature != 'intercept'")
        figures["coefficients"] = attribution.coefficients(weights)
    notes = [
        f"Effect on the validation set, {len(targets):,} rows, of permuting a column's values: "
        f"the mean of {REPEATS} permutations (Breiman 2001).",
        "Columns with the same information replace each other: the importance of each is then small.",
    ]
    return Explained(saved.label, importance, {"importance": importance, **tables}, figures, notes, saved.run_id)
