"""Sort examples into groups without labels: k-means on learned features, and a page with examples of each group."""

import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
from rich.console import Console
from sklearn.metrics import adjusted_rand_score

from common import tasks, tracking, training
from common.app import App
from common.data import Array, SavedModel
from common.errors import UserError, print_notes
from common.explain.clusters import FEWEST, Clusters, cluster
from common.explain.parts import graph
from common.nn import augmentation
from common.plots import results
from common.preprocessing import images, row_shards
from common.preprocessing.image_files import ImageFiles
from common.report import page

PRETRAINED = "pretrained"
"""Name of the network of `App.pretrained`, in the place of a saved model."""
SHOWN = 24
"""Largest number of examples of a group on the page."""
COLUMNS = 8
"""Images in a row of the page."""
LETTERS = 200
"""Largest number of letters of a sentence on the page."""
MANY = 20
"""Largest number of labels in the table of labels."""
CLEAR = 0.25
"""Silhouette from which groups are separated (Kaufman and Rousseeuw 1990: below, there is no substantial structure)."""
NOUNS = {"image": "images", "table": "rows", "text": "sentences"}
"""Words for the examples of the kinds that can be grouped."""


@dataclass(frozen=True)
class Unsorted:
    """Examples to group."""

    names: Sequence[str]
    inputs: Any
    labels: Array | None
    """Label of each example as text, (examples,), if it is known."""
    origin: str
    """Place of the examples, in words."""
    unusable: Mapping[str, str]
    """Reasons by name, for examples that cannot be read."""


@dataclass(frozen=True)
class Grouped:
    """Examples in groups, as `group` returns them."""

    noun: str
    features: str
    """Model and layer of the features."""
    summary: pd.DataFrame
    """One row per group."""
    table: pd.DataFrame
    """One row per example: its name, its group from 1, and its label if it is known."""
    facts: Mapping[str, str]
    """Results in words, by name."""
    page: str
    """Page with examples of each group, in HTML."""


def group(app: App, files: Sequence[str], which: str | None, number: int | None) -> Grouped:
    """Sort examples into groups by the features of a saved model.

    Args:
        app: The app of the model.
        files: The examples, as for `predict`; empty for the test set of the model.
        which: The model, as for `tracking.load`, or "pretrained". None is the network without training if the app has
            one and no trained model.
        number: Number of groups; None chooses the number with the highest silhouette.

    Raises:
        UserError: if there are too few different examples, their kind cannot be grouped, or the model, the files or the
            data cannot be loaded.
    """
    if number is not None and number < 2:
        raise UserError(f"`groups` must be at least 2, not {number}")
    saved = _load(app, files, which)
    if saved.kind not in NOUNS:
        raise UserError(f"{saved.label}: group sorts images, rows of tables and sentences, not the data of {app.name}")
    noun = NOUNS[saved.kind]
    examples = _read(app, saved, files) if files else _test_set(app, saved)
    count = len(examples.names)
    if count < max(FEWEST, number or 0):
        needed = f"`groups` {number} needs as many {noun}" if number and number > count else f"group needs {FEWEST}"
        raise UserError(f"{examples.origin}: {count} {noun}; {needed} at least")
    console = Console(stderr=True)
    network, layer = feature_network(app, saved.model)
    with console.status(f"features of {count:,} {noun}"):
        features = training.predict(network, examples.inputs)
    with console.status("grouping"):
        clusters = cluster(features, number, noun=noun)
        pixels = None
        if examples.labels is not None and saved.kind == "image":
            pixels = cluster(images.pixels(examples.inputs), clusters.number, noun=noun)
    found = f"{saved.label}, layer {layer}"
    summary = _summary(clusters, examples.labels, noun)
    facts = _facts(clusters, pixels, examples, noun)
    return Grouped(
        noun, found, summary, _table(clusters, examples), facts, _page(saved, examples, clusters, summary, facts, found)
    )


def _load(app: App, files: Sequence[str], which: str | None) -> SavedModel:
    """Load the model that `which` names, or the network without training."""
    untrained = which is None and not tracking.registered(app.name)
    if app.pretrained is None or not (untrained or which == PRETRAINED):
        return tracking.load(app.name, which)
    if not files:
        raise UserError(
            f"group needs files, as the pretrained network has no test set; or python -m apps.{app.name} train"
        )
    return app.pretrained()


def _read(app: App, saved: SavedModel, files: Sequence[str]) -> Unsorted:
    """Read the user's files, with the labels that they have."""
    found = app.examples(files, saved)
    print_notes((*found.notes, *found.unseen))
    usable = [row for row in range(len(found.names)) if row not in found.unusable]
    names = [found.names[row] for row in usable]
    labels = None
    if saved.kind == "image":
        folders = [Path(name).parent.name for name in names]
        if len(set(folders)) > 1:
            labels = np.array(folders)
            print_notes(["the folders of the images are taken as labels, with which the groups are compared"])
    elif found.rows is not None and isinstance(app.task_of(saved), tasks.Classification):
        column = saved.settings.get("target") or saved.settings.get("label")
        if column in found.rows:
            labels = found.rows[column].iloc[usable].astype(str).to_numpy()
            print_notes([f"the column {column} has the labels with which the groups are compared"])
    unusable = {found.names[row]: reason for row, reason in found.unusable.items()}
    print_notes(f"{name}: {reason}; in no group" for name, reason in unusable.items())
    return Unsorted(names, found.inputs, labels, " ".join(files), unusable)


def _test_set(app: App, saved: SavedModel) -> Unsorted:
    """Return the test set of the model's data."""
    data = app.data_of(saved)
    inputs, targets = row_shards.sample(data.test)
    files = inputs.files if isinstance(inputs, ImageFiles) else range(len(targets))
    labels = np.array(data.outputs)[targets] if isinstance(app.task_of(saved), tasks.Classification) else None
    return Unsorted([str(file) for file in files], inputs, labels, f"test set of {data.name}", {})


def feature_network(app: App, model: keras.Model) -> tuple[keras.Model, str]:
    """Return the network up to the layer with the features (examples, …) of `model`, and the name of this layer."""
    inputs, outputs, _ = graph(model)
    name = app.features
    if name not in outputs:
        names = list(outputs)
        last = max(place for place, layer in enumerate(model.layers) if layer.weights)
        name = names[names.index(model.layers[last].name) - 1]
    features = keras.layers.Flatten(dtype=outputs[name].dtype, name="features_of_groups")(outputs[name])
    if (patches := augmentation.patches(model)) > 1:
        features = augmentation.CropMean(patches)(features)
    return keras.Model(inputs, features), name


def _summary(clusters: Clusters, labels: Array | None, noun: str) -> pd.DataFrame:
    """Return the size of each group, and its most frequent label."""
    rows = []
    for index in range(clusters.number):
        own = clusters.of == index
        row: dict[str, Any] = {"group": index + 1, noun: int(own.sum()), "share": f"{100 * own.mean():.1f} %"}
        if labels is not None:
            label, count = Counter(labels[own].tolist()).most_common(1)[0]
            row |= {"most frequent label": label, "its share": f"{100 * count / own.sum():.1f} %"}
        rows.append(row)
    return pd.DataFrame(rows)


def _facts(clusters: Clusters, pixels: Clusters | None, examples: Unsorted, noun: str) -> dict[str, str]:
    """Return the results in words, by name."""
    sampled = f" of {clusters.sample:,} random {noun}" if clusters.sample < len(clusters.of) else ""
    chosen = "as given"
    if clusters.tried:
        chosen = f"with the highest silhouette{sampled}, of {min(clusters.tried)} to {max(clusters.tried)} groups"
    unclear = (
        "" if clusters.silhouette >= CLEAR else f"; below {CLEAR}: the groups touch, and other numbers are as good"
    )
    facts = {
        "groups": f"{clusters.number}, {chosen}",
        "silhouette": f"{clusters.silhouette:.3f}{sampled}{unclear}",
    }
    if examples.labels is not None:
        beside = f"; {adjusted_rand_score(examples.labels, pixels.of):.3f} for k-means on pixels" if pixels else ""
        rand = adjusted_rand_score(examples.labels, clusters.of)
        facts["agreement with labels"] = f"adjusted Rand index {rand:.3f}{beside}; 1 is perfect, 0 is random"
    return facts


def _table(clusters: Clusters, examples: Unsorted) -> pd.DataFrame:
    """Return one row per example: its name, its group, its label if known, and if some are unusable, the problem."""
    table = pd.DataFrame({"input": list(examples.names), "group": clusters.of + 1})
    if examples.labels is not None:
        table["label"] = examples.labels
    if examples.unusable:
        problems = {"input": list(examples.unusable), "problem": list(examples.unusable.values())}
        table = pd.concat([table, pd.DataFrame(problems)], ignore_index=True).astype({"group": "Int64"})
    return table


def _page(
    saved: SavedModel,
    examples: Unsorted,
    clusters: Clusters,
    summary: pd.DataFrame,
    facts: Mapping[str, str],
    features: str,
) -> str:
    """Return the page: the results, then examples of each group."""
    noun = NOUNS[saved.kind]
    tables = [page.table(summary)]
    if examples.labels is not None and len(set(examples.labels)) <= MANY:
        counts = pd.crosstab(pd.Series(clusters.of + 1, name="group"), pd.Series(examples.labels)).reset_index()
        tables.append(page.table(counts, "labels of each group"))
    overview = page.Section("Overview", facts={**facts, "features": features}, tables=tables)
    sections = _sections(saved, examples, clusters, summary)
    shown = f"{len(examples.names):,} {noun} in {clusters.number} groups"
    return page.render(shown, f"Sorted by similarity: {examples.origin}", (), [overview, *sections])


def _sections(
    saved: SavedModel, examples: Unsorted, clusters: Clusters, summary: pd.DataFrame
) -> Iterator[page.Section]:
    """Yield a section of examples for each group, from the nearest to its centre to the farthest."""
    for index, row in enumerate(summary.to_dict("records")):
        own = np.flatnonzero(clusters.of == index)
        own = own[np.argsort(clusters.distances[own], kind="stable")]
        chosen = own[np.unique(np.linspace(0, len(own) - 1, SHOWN).astype(int))]
        words = f"{len(own):,} {NOUNS[saved.kind]}"
        if examples.labels is not None:
            words += f", {row['its share']} of them with the label {row['most frequent label']}"
        if len(chosen) < len(own):
            words += f". {len(chosen)} of them, from the nearest to the centre of the group to the farthest"
        title = f"Group {index + 1}"
        names = [examples.names[one] for one in chosen]
        match saved.kind:
            case "image":
                titles = [str(label) for label in examples.labels[chosen]] if examples.labels is not None else names
                yield page.Section(title, [f"{words}."], images=[_images(examples.inputs[chosen], titles)])
            case "text":
                sentences = [str(sentence) for sentence in examples.inputs[chosen]]
                points = [one if len(one) <= LETTERS else f"{one[:LETTERS]} …" for one in sentences]
                yield page.Section(title, [f"{words}."], points=points)
            case _:
                rows = pd.DataFrame({name: np.ravel(column[chosen]) for name, column in examples.inputs.items()})
                rows.insert(0, "row", names)
                yield page.Section(title, [f"{words}."], tables=[page.table(rows)])


def _images(pixels: Array, titles: Sequence[str]) -> page.Image:
    """Return images as one: as JPEG in colour, which takes a small part of the bytes of PNG."""
    names = [Path(title).name for title in titles]
    figure = results.image_grid(pixels, names, COLUMNS)
    colour = pixels.ndim == 4
    content = io.BytesIO()
    figure.savefig(content, format="jpeg" if colour else "png", dpi=page.DPI)
    width, height = (round(inches * page.DPI) for inches in figure.get_size_inches())
    return page.Image(content.getvalue(), "", width, height, "image/jpeg" if colour else "image/png")
