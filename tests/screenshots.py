"""`make screenshots`: real runs in a store of their own, and the pictures of pages that docs/tracking.md shows."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser import PATIENCE, browsing, dismiss_banner, show
from tests.conftest import ROOT, free_port

DOCS = ROOT / "docs"
COLOURS = 128
"""Of a picture, which keeps it small."""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlruns/mlflow.db"
        train()
        from common import tracking
        from common.cli import compare, ui

        compare.main("mnist", markdown=True)
        (board,) = tracking.leaderboards("mnist", ("train",))
        best = board.runs.iloc[0]
        keep_reports()
        port = free_port()
        with ui.served(port) as (pages, _):
            addresses = pages["mnist"]
            keep_first_visits(addresses["table"])
            keep_pages(addresses, str(best["id"]))


def keep_first_visits(address: str) -> None:
    """Take pictures of the table of runs as a new user gets it, in two sizes of a window."""
    for width, height in ((1400, 900), (1920, 1080)):
        with browsing(width, height) as page:
            show(page, address)
            expect(page.get_by_text("matching runs")).to_be_visible()
            keep(page, f"ui_{width}")


def keep_pages(addresses: Mapping[str, str], best: str) -> None:
    """Take pictures of the pages of the UI."""
    with browsing(1500, 750) as page:
        show(page, addresses["table"])
        expect(page.get_by_text("matching runs")).to_be_visible()
        dismiss_banner(page)
        keep(page, "table")
        show(page, addresses["charts"])
        expect(page.locator(".js-plotly-plot .point").first).to_be_visible()
        dismiss_banner(page)
        keep(page, "charts")
        show(page, addresses["compare"])
        page.get_by_role("switch", name="Parameters - Show diff only").click()
        page.get_by_text("Visualizations").click()
        keep(page, "compare")
        experiment = addresses["table"].split("/runs?")[0]
        show(page, f"{experiment}/runs/{best}/artifacts/worst_mistakes.png?workflowType=machine_learning")
        expect(page.locator("img[src^='blob:']").first).to_be_visible()
        keep(page, "run")


def train() -> None:
    """Train some networks briefly on the same digits, and what they have to beat."""
    from common import training
    from tests.conftest import load_app

    settings: dict[str, dict[str, Any]] = {
        "lenet5": {"epochs": 8, "limit": 8000},
        "mnist_mlp": {"epochs": 8, "limit": 8000},
        "logistic_regression": {"data": "mnist", "optimizer": "adam", "batch_size": 256, "learning_rate": 0.001},
    }
    settings["logistic_regression"] |= {"restore": "best", "l2": 0.0, "epochs": 8, "limit": 8000}
    for name, chosen in settings.items():
        app = load_app(name)
        training.train(app, app.settings(**chosen))
    training.baseline(app, app.settings(data="mnist"))  # type: ignore[call-arg]


def keep_reports() -> None:
    """Take pictures of the pages of trainings of three apps, and of a search."""
    from common import tracking, training
    from tests.conftest import load_app

    others: dict[str, dict[str, Any]] = {"linear_regression": {"data": "diabetes"}, "lstm_forecast": {"epochs": 20}}
    for name, chosen in others.items():
        app = load_app(name)
        training.train(app, app.settings(**chosen), baselines=True)
    search = [sys.executable, "-m", "tuning.mnist_mlp", "--trials", "8", "--epochs", "4", "--limit", "4000"]
    subprocess.run(search, check=True, cwd=ROOT)
    for name, kind, app_name, height in (
        ("train", "train", "mnist_mlp", 1500),
        ("table", "train", "linear_regression", 1900),
        ("forecast", "train", "lstm_forecast", 1900),
        ("search", "search", "mnist_mlp", 2300),
    ):
        run = tracking.find({"kind": kind, "app": app_name})[-1]
        with browsing(900, height) as page:
            page.goto(tracking.report(run).as_uri())
            keep(page, f"report_{name}")


def keep(page: Page, name: str) -> None:
    """Write what the page shows, once it has come to rest, into docs/."""
    page.wait_for_timeout(5000)
    path = DOCS / f"{name}.png"
    page.screenshot(path=path)
    with Image.open(path) as picture:
        picture.convert("RGB").quantize(COLOURS).save(path, optimize=True)
    print(f"docs/{name}.png, {path.stat().st_size / 1000:.0f} kB", flush=True)


if __name__ == "__main__":
    expect.set_options(timeout=PATIENCE)
    main()
