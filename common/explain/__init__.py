"""Why a saved model answers what it does: which attributions a kind of input gets, how they agree, and their pictures.

Integrated gradients and occlusion are summed over the same parts of an input: its words, columns, steps, or squares of
a picture. Where the two rank the parts alike, neither depends on how it is computed.
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
from common.data import Array, Inputs, Kind, SavedModel
from common.errors import UserError
from common.explain.attribution import (
    Integrated,
    agreement,
    grad_cam,
    gradient,
    grouped,
    integrated_gradients,
    occlusion,
    randomised,
    saliency,
)
from common.explain.parts import SQUARES, STEP, Parts, parts_of, split_model
from common.layer_names import FEATURES
from common.nn.gradients import ByInput
from common.plots import attribution

PAGE = 8
"""Examples of a picture; more go into further ones."""
LARGEST = 3
"""Parts of an example that are named in the table."""
REPEATS = 10
"""Permutations of each column whose effects are averaged."""


@dataclass(frozen=True)
class Explained:
    """What is known of a model's answers, or of the model as a whole."""

    label: str
    """The model's."""
    summary: pd.DataFrame
    """A row an example, or a column of the table."""
    tables: Mapping[str, pd.DataFrame]
    """Everything in numbers, by the name of the file."""
    figures: Mapping[str, Figure]
    """Pictures, by the name of the file."""
    notes: Sequence[str]
    """What a reader has to know, a line each."""
    run_id: str | None


@dataclass(frozen=True)
class Attributions:
    """The attributions of some examples."""

    kind: Kind
    inputs: Any
    x: Array
    """The inputs as the numbers that are attributed to."""
    names: Sequence[str]
    answers: Sequence[str]
    view: Parts
    integrated: Sequence[Integrated]
    gradients: Array
    """Absolute gradients, of the inputs' shape."""
    by_part: Array
    """Integrated gradients, (examples, parts)."""
    occluded: Array
    """What the score loses without each part, (examples, parts)."""
    maps: Array | None
    """Grad-CAM, (examples, rows, columns)."""


def explain(app: App, files: Sequence[str], which: str | None, target: str | None) -> Explained:
    """Attribute the answers of the saved model `which` for `files` to their parts; a table's model without files whole.

    `target` is the class or quantity that is explained, by default the answered class or the first quantity.

    Raises:
        UserError: where the app answers with no class or quantity, there are no files and it takes no table, there is
            no such target, or what `tracking.load`, the app's `read_inputs` and its `load_data` raise.
    """
    if not isinstance(app.task, tasks.Classification | tasks.Regression):
        raise UserError(
            f"{app.name} answers with no class or quantity that parts of an input could explain; "
            f"nearest: python -m apps.{app.name} predict, and the pictures of its run, make ui"
        )
    saved = tracking.load(app.name, which)
    if target is not None and target not in saved.outputs:
        raise UserError(f"`target` {target}: {saved.label} has {', '.join(saved.outputs[:20])}")
    if not files:
        return _whole(app, saved)
    names, inputs = app.read_inputs(files, saved)
    return _examples(app, saved, names, inputs, target)


def _examples(app: App, saved: SavedModel, names: Sequence[str], inputs: Inputs, target: str | None) -> Explained:
    """What speaks for each example's answer."""
    classes = isinstance(app.task, tasks.Classification)
    predictions = training.predict(saved.model, inputs)
    chosen, answers = _chosen(app, saved, predictions, target)
    scored = split_model(saved.model, classes)
    if saved.kind == "table" and not scored.front:
        raise UserError(
            f"{saved.label}: no layer is called {FEATURES}, where a table's columns come together as numbers; "
            "give the layer this name and train again"
        )
    x, context = scored.enter(inputs)
    if (ahead := len(names) // len(x)) > 1:  # a forecast of several steps: each has a name
        names = [f"{name} and {ahead - 1} more" for name in names[::ahead]]
    if isinstance(inputs, dict) and np.isnan(x).any():  # where the network does not fill gaps
        raise UserError(
            f"{names[int(np.isnan(x).any(axis=1).argmax())]}: a number is missing, so there is no answer to explain"
        )
    view = parts_of(app, saved, scored, inputs, x, context)
    network = scored.network
    slope = gradient(network, x, context)

    def integrate(index: int, network: keras.Model, slope: ByInput, **limit: int) -> Integrated:
        given = [part[index] for part in context]
        return integrated_gradients(network, slope, x[index], int(chosen[index]), view.baseline[index], given, **limit)

    integrated = [integrate(index, network, slope) for index in track(range(len(x)), "explaining", transient=True)]
    values = np.stack([one.values for one in integrated])
    found = Attributions(
        saved.kind,
        inputs,
        x,
        names,
        answers,
        view,
        integrated,
        saliency(slope, x, chosen, context),
        grouped(values, view.groups),
        occlusion(network, x, chosen, view.baseline, view.groups, context),
        grad_cam(*scored.maps, x, chosen) if scored.maps else None,
    )
    rows = [_row(found, index) for index in range(len(x))]
    other = randomised(network)
    shuffled = integrate(0, other, gradient(other, x, context), most=32)
    alike = agreement(values[0], shuffled.values)
    what = "the log-odds of the class" if classes else f"the answer, {saved.outputs[int(chosen[0])]}"
    notes = [
        f"Attributions are parts of {what}, and count from {view.words}.",
        f"With the network's weights shuffled, the first example's correlate {alike:.2f} with these: the nearer to 0, "
        "the more they tell of what it has learned.",
    ]
    if scored.maps and found.maps is None:
        notes.append("No Grad-CAM: the model sees several crops of a picture, each with maps of its own.")
    if (short := sum(one.error > 0.01 for one in integrated)) > 0:
        notes.append(
            f"{short} of {len(x)} do not sum to the difference of the scores within 1 %: read their signs only."
        )
    return Explained(
        saved.label, pd.DataFrame(rows), {"attributions": _long(found)}, dict(_draw(found)), notes, saved.run_id
    )


def _chosen(app: App, saved: SavedModel, predictions: Array, target: str | None) -> tuple[Array, list[str]]:
    """The number of the score that is explained of each example, and the answer in words."""
    outputs, task = saved.outputs, app.task_of(saved)
    if isinstance(task, tasks.Classification):
        chosen = task.decide(predictions) if target is None else np.full(len(predictions), outputs.index(target))
        shares = predictions[np.arange(len(predictions)), chosen]
        return chosen, [f"{outputs[one]} {100 * share:.1f} %" for one, share in zip(chosen, shares, strict=True)]
    chosen = np.full(len(predictions), outputs.index(target) if target else 0)
    values = predictions.reshape(len(predictions), -1, len(outputs)).mean(axis=1)
    return chosen, [f"{outputs[one]} {row[one]:.4g}" for one, row in zip(chosen, values, strict=True)]


def _row(found: Attributions, index: int) -> dict[str, Any]:
    """What the table on the terminal says of an example."""
    parts, values = found.view.parts[index], found.by_part[index]
    there = [part for part, label in enumerate(parts) if label]
    largest = sorted(there, key=lambda part: -abs(values[part]))[:LARGEST]
    one = found.integrated[index]
    return {
        "input": found.names[index],
        "answer": found.answers[index],
        "largest attributions": "\n".join(f"{parts[part]} {values[part]:+.3g}" for part in largest),
        "completeness error": f"{100 * one.error:.2g} % ({one.steps} steps)",
        "correlation with occlusion": agreement(values[there], found.occluded[index][there]),
    }


def _long(found: Attributions) -> pd.DataFrame:
    """A row a part of an example."""
    rows = [
        {"input": name, "part": part, "integrated_gradients": value, "occlusion": lost}
        for name, parts, values, losses in zip(
            found.names, found.view.parts, found.by_part, found.occluded, strict=True
        )
        for part, value, lost in zip(parts, values, losses, strict=True)
        if part
    ]
    return pd.DataFrame(rows)


def _draw(found: Attributions) -> Iterator[tuple[str, Figure]]:
    """A name and a picture, for each page of examples."""
    inputs, parts = found.inputs, found.view.parts
    every = [f"{name}: {answer}" for name, answer in zip(found.names, found.answers, strict=True)]
    for start in range(0, len(every), PAGE):
        page = slice(start, start + PAGE)
        name = f"explanation_{start // PAGE + 1}" if len(every) > PAGE else "explanation"
        titles, values, lost = every[page], found.by_part[page], found.occluded[page]
        if found.kind == "table":
            yield name, attribution.columns(parts[page], titles, values, lost)
        elif found.kind == "text":
            yield name, attribution.words(parts[page], found.answers[page], values, lost)
        elif found.kind == "sequence":
            times = [np.array([int(part.removeprefix(STEP)) for part in one if part]) for one in parts[page]]
            yield name, attribution.steps(found.x[page], times, titles, values, lost)
        else:
            squares = (len(titles), SQUARES, SQUARES)
            integrated = np.stack([one.values for one in found.integrated[page]])
            yield (
                name,
                attribution.images(
                    inputs[page],
                    titles,
                    found.gradients[page],
                    integrated,
                    values.reshape(squares),
                    lost.reshape(squares),
                    None if found.maps is None else found.maps[page],
                ),
            )


class _Answering(BaseEstimator):
    """What scikit-learn asks of an estimator; the answers are the network's."""

    def fit(self, _inputs: Any, _targets: Any) -> Self:
        return self


def _whole(app: App, saved: SavedModel) -> Explained:
    """How much each column of a table counts, on the validation set, and the coefficients of a linear model."""
    if saved.kind != "table":
        raise UserError(f"explain needs files, as predict does; see python -m apps.{app.name} explain --help")
    data, task = app.data_of(saved), app.task_of(saved)
    table, targets = pd.DataFrame(data.validation[0]), data.validation[1]
    sign = 1 if task.metric_mode == "max" else -1

    def score(_estimator: Any, rows: pd.DataFrame, truth: Array) -> float:
        columns = {name: rows[name].to_numpy()[:, None] for name in rows}
        answers = keras.ops.convert_to_numpy(saved.model(columns, training=False))
        return sign * task.score(truth, answers)[task.metric]

    found = permutation_importance(_Answering(), table, targets, scoring=score, n_repeats=REPEATS, random_state=0)
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
        f"What is lost on the validation set, {len(targets):,} rows, when a column's values change places: "
        f"the mean of {REPEATS} permutations (Breiman 2001).",
        "Columns that tell the same stand in for each other: each then seems to count for little.",
    ]
    return Explained(saved.label, importance, {"importance": importance, **tables}, figures, notes, saved.run_id)
