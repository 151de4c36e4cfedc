"""The page of a training."""

import html
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pandas as pd

from common import tracking
from common.config import Config, as_flags, changed, data_of
from common.data import Data, Trained
from common.plots import results
from common.report import page
from common.report.page import Section, command

CURVES = "learning_curves"
"""Name of the figure that has a section of its own."""
NAMED = 20
"""Largest number of outputs that are listed by name."""


def write(
    run: tracking.ActiveRun,
    trained: Trained,
    metrics: Mapping[str, float],
    summary: Mapping[str, str],
    findings: Mapping[str, str],
    tables: Mapping[str, pd.DataFrame],
) -> str:
    """Return the page of a training as HTML.

    Args:
        run: The run, with the figures that are recorded in it.
        trained: The trained network.
        metrics: Metrics of the run, by name.
        summary: The test results as text, by name.
        findings: The diagnosis: advice by finding, or nothing.
        tables: Tables of the network, by name.
    """
    data, config, tags = trained.data, trained.config, run.tags()
    curves = {name: png for name, png in run.images.items() if name == CURVES}
    shown, left = page.fitting({**curves, **run.images})
    detail = [page.table(frame, name.replace("_", " ")) for name, frame in tables.items()]
    return page.render(
        f"{run.app.name} on {data.name}",
        run.app.summary,
        page_facts(run.id, tags),
        [
            Section("Training", facts=_training(trained, metrics, tags)),
            _result(run, config, summary),
            Section("Learning curves", images=shown[: len(curves)]),
            Section("Diagnosis", points=[*findings], remarks=findings),
            _settings(config),
            _data(data),
            Section("Figures and tables", text=left, tables=detail, images=shown[len(curves) :]),
            Section("Cost", facts=_cost(metrics, tags)),
            Section("Commands", commands=_commands(run, config, tags)),
        ],
    )


def write_failed(run: tracking.ActiveRun, config: Config, history: Mapping[str, Sequence[float]], error: str) -> str:
    """Return the page of a training that did not end, as HTML.

    Args:
        run: The run.
        config: Its settings.
        history: Metrics of the epochs before the error, by name.
        error: The error in words.
    """
    data, epochs = run.data, len(next(iter(history.values()), ()))
    curves = [page.image(tracking.svg(results.learning_curves(history, epochs)))] if epochs else []
    facts = {
        "data": f"{data.name}, {_example(data)}",
        "trained on": f"{data.examples(config):,} examples, {epochs} whole epochs of {data.steps(config):,} steps",
        "optimizer": _optimizer(config, data),
    }
    commands = {
        "train with the same settings": command(f"apps.{run.app.name}", "train", as_flags(changed(config))),
        "show this page": f"make report RUN={run.id}",
    }
    return page.render(
        f"{run.app.name} on {data.name}",
        run.app.summary,
        page_facts(run.id, run.tags()),
        [
            Section("This training has no result", [error]),
            Section("Training", facts=facts),
            Section("Learning curves", images=curves),
            _settings(config),
            _data(data),
            Section("Commands", commands=commands),
        ],
    )


def page_facts(run_id: str, tags: Mapping[str, str]) -> list[str]:
    """Return the time of now, the id of the run, and its commit if it is known."""
    facts = [f"{datetime.now():%Y-%m-%d %H:%M}", f"run {run_id}"]
    if commit := tags.get("git.commit"):
        facts.append(f"commit {commit[:8]}{' with changes' if tags.get('git.dirty') == 'true' else ''}")
    return facts


def _training(trained: Trained, metrics: Mapping[str, float], tags: Mapping[str, str]) -> dict[str, str]:
    model, data, config = trained.model, trained.data, trained.config
    epochs = len(next(iter(trained.history.values()), ()))
    facts = {
        "network": f"{len(model.layers)} layers, {metrics['trainable_parameters']:,.0f} trainable parameters",
        "data": f"{data.name}, {_example(data)}",
        "trained on": f"{data.examples(config):,} examples, {epochs} epochs of {data.steps(config):,} steps",
        "optimizer": _optimizer(config, data),
        "weights": f"of epoch {trained.best_epoch}"
        + (", the best on the validation set" if config.restore == "best" else ", the last"),
    }
    if "tuned" in tags:
        facts["search"] = f"settings of trial {tags['tuned']} of the search {tags['search']}"
    return facts


def _optimizer(config: Config, data: Data) -> str:
    """Return words for the optimizer, its learning rate and its batches."""
    rate = f"learning rate {config.learning_rate:g} ({config.schedule})"
    return f"{config.optimizer}, {rate}, batches of {data.batch_size(config):,}"


def description(summary: Mapping[str, str], findings: Sequence[str]) -> str:
    """Return the test results and the diagnosis in Markdown."""
    results = [html.escape(f"{name}: {words}") for name, words in summary.items()]
    return "\n\n".join([*results, "diagnosis:", "\n".join(f"- {html.escape(finding)}" for finding in findings)])


def _result(run: tracking.ActiveRun, config: Config, summary: Mapping[str, str]) -> Section:
    """Return the section with the test results, beside the published one, and baselines and champions on the data."""
    known = run.app.published_for(config).replace("`", "")
    published = [f"Published: {known}."] if known else []
    standing = tracking.standing(run)
    rows, metric = standing.runs, f"val_{standing.metric}"
    if len(rows) == 1:
        words = "No baseline and no champion is recorded on the same data."
        fit = {"record the baselines": command(f"apps.{run.app.name}", "baseline", as_flags(data_of(config)))}
        return Section("Result", [*published, words], facts=summary, commands=fit)
    columns = rows.drop(columns=["started", "id", "settings that differ", "model"])
    role = rows["kind"].map({"train": "champion so far"}).fillna(rows["kind"])
    columns["kind"] = role.mask(rows["id"] == run.id, "this run")
    best = "highest" if standing.metric_mode == "max" else "lowest"
    caption = f"baselines and champions on the same data, by {metric}, the {best} first"
    return Section("Result", published, facts=summary, tables=[page.table(columns.round({"seconds": 1}), caption)])


def _settings(config: Config) -> Section:
    """Return the section with the settings that differ from the defaults."""
    usual = type(config)()
    rows = [(name, value, getattr(usual, name)) for name, value in changed(config).items()]
    if not rows:
        return Section("Settings", ["All settings have their defaults."])
    frame = pd.DataFrame(rows, columns=["setting", "value", "default"], dtype=object)
    return Section("Settings", tables=[page.table(frame, "settings that differ from the defaults")])


def _data(data: Data) -> Section:
    """Return the section with the summary of the data."""
    sizes = [f"{len(part[1]):,} {name}" for name, part in _parts(data).items()]
    facts: dict[str, str] = {"examples": ", ".join(sizes), "kind": data.kind}
    if data.outputs:
        more = f" and {len(data.outputs) - NAMED:,} more" if len(data.outputs) > NAMED else ""
        facts["outputs"] = f"{', '.join(map(str, data.outputs[:NAMED]))}{more}"
    facts |= {"fingerprint": data.digest, **data.description.facts}
    tables = [page.table(frame, title) for title, frame in data.description.tables.items()]
    return Section("Data", points=data.description.notes, facts=facts, tables=tables)


def _parts(data: Data) -> dict[str, Any]:
    return {"for training": data.train, "for validation": data.validation, "for the test": data.test}


def _example(data: Data) -> str:
    """Return words for the shape of an example, or of each of the network's inputs."""
    if isinstance(data.train[0], dict):
        return f"{len(data.train[0])} inputs: {', '.join(list(data.train[0])[:NAMED])}"
    return f"{data.kind} {' × '.join(map(str, data.input_shape))}".rstrip()


def _cost(metrics: Mapping[str, float], tags: Mapping[str, str]) -> dict[str, str]:
    """Return the time, the memory and the devices of a training, by name."""
    facts = {
        "time": f"{metrics['train_seconds']:,.1f} s, {metrics['train_cpu_seconds']:,.1f} s of processor time",
        "peak memory": f"{tracking.peak_memory() / 2**20:,.0f} MiB, of the whole process",
        "device": f"{tags['device']}, {tags['backend']}",
    }
    if "examples_per_second" in metrics:
        facts["speed"] = f"{metrics['examples_per_second']:,.0f} examples per second"
    return facts


def _commands(run: tracking.ActiveRun, config: Config, tags: Mapping[str, str]) -> dict[str, str]:
    app, tuning = f"apps.{run.app.name}", f"tuning.{run.app.name}"
    again = "train with the same settings"
    if "tuned" in tags:
        again += "; the search trained on the training and validation examples together"
    return {
        "predict": command(app, "predict", "FILE", "--model", run.id),
        "serve": command(app, "serve", "--model", run.id),
        "load in Python": f'from common import recorded\n\nmodel = recorded.model("{run.id}")',
        again: command(app, "train", as_flags(changed(config))),
        "train with one setting changed": command(app, "train", "--like", run.id, "--seed", "1"),
        "search for better settings": command(tuning, as_flags(data_of(config))),
        "show this page": f"make report RUN={run.id}",
    }
