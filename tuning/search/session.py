"""A search from Python, as in a notebook: `app.search(trials=20)` runs the command of the app's tuning file."""

import importlib
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import pandas as pd

from common import recorded, tracking
from common.app import App
from common.config import as_flags
from common.errors import UserError
from common.files import ROOT
from common.result import SearchResult
from tuning.search import chief, space
from tuning.search.options import SearchOptions
from tuning.search.space import ConfigBuilder


def search(app: App, fixed: Mapping[str, Any], options: Mapping[str, Any]) -> SearchResult:
    """Run the search of an app's tuning file and return its result; arguments as for `App.search`.

    Raises:
        UserError: if an option is wrong, the data cannot be loaded, or every trial failed.
    """
    flags, module = shlex.split(as_flags(fixed)), f"tuning.{app.name}"
    _run(module, [*shlex.split(as_flags(options)), *flags])
    names = [field.name for field in fields(SearchOptions)]
    identity = SearchOptions(**{name: value for name, value in options.items() if name in names})
    configs = ConfigBuilder(importlib.import_module(module).space, flags, module)
    folder = chief.search_folder(app, configs, identity)
    run = tracking.find({"kind": "search", "search.home": folder.name})[0]
    final = tracking.find({"kind": "train", "search": run.info.run_id})[0].info.run_id
    metric, trials = run.data.tags["monitor"], tracking.find({"kind": "trial", "search": run.info.run_id})
    settings = [recorded.settings_of(trial, app.settings) for trial in trials]
    varied = space.varied(settings)
    rows = [
        {"trial": trial.data.tags["trial"], metric: trial.data.metrics.get(f"best_{metric}")}
        | {name: getattr(chosen, name) for name in varied}
        for trial, chosen in zip(trials, settings, strict=True)
    ]
    table = pd.DataFrame(rows).sort_values(metric, ascending=run.data.tags["mode"] == "min", ignore_index=True)
    metrics = dict(tracking.get(final).data.metrics)
    return SearchResult(run.info.run_id, final, recorded.config(final), metrics, table, recorded.model(final))


def _run(module: str, arguments: list[str]) -> None:
    """Run a search's command, and print its output as it comes."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))  # a notebook is in another folder
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            [sys.executable, "-u", "-m", module, *arguments],
            env=os.environ | {"PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        assert process.stdout
        try:
            for line in process.stdout:
                print(line, end="", flush=True)
        except KeyboardInterrupt:
            process.terminate()
            raise
        if process.wait():
            errors.seek(0)
            lines = errors.read().splitlines()
            reported = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
            raise UserError("\n".join(reported) or f"python -m {module}: every trial failed; see its output above")
