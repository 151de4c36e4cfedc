"""The UI as a person sees it: real Chromium, the real server, real runs."""

import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pandas as pd
import pytest
from playwright.sync_api import Page, expect

from common import tracking, training
from common.cli import ui
from common.cli.ui import ADDRESS
from common.data import RawData
from tests.browser import PATIENCE, browsing, show
from tests.conftest import few, free_port, load_app, new_store

expect.set_options(timeout=PATIENCE)

EPOCHS = 3


@dataclass(frozen=True)
class Site:
    """The UI in a browser, its printed addresses for the digits, and the runs as the terminal lists them."""

    page: Page
    server: str
    addresses: Mapping[str, str]
    board: tracking.Leaderboard


@pytest.fixture(scope="module")
def site(mnist: RawData, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Two networks and a baseline, on a few digits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{new_store(tmp_path_factory.mktemp('site'))}/mlflow.db")
        mlp, regression = (
            dataclasses.replace(load_app(name), load_data=lambda _config: few(mnist, 512, 256, 256))
            for name in ("mnist_mlp", "logistic_regression")
        )
        training.train(mlp, mlp.settings(epochs=EPOCHS, hidden=(16,)))  # type: ignore[call-arg]
        training.train(regression, regression.settings(epochs=EPOCHS, data="mnist"))  # type: ignore[call-arg]
        training.baseline(mlp, mlp.settings())
        (board,) = tracking.leaderboards("mnist", ("train", "baseline"))
        port = free_port()
        with ui.served(port) as (pages, _), browsing() as page:
            yield Site(page, ADDRESS.format(port), pages["mnist"], board)


def test_the_table_opens_with_the_columns_and_in_the_order_of_the_leaderboard(site: Site) -> None:
    show(site.page, site.addresses["table"])
    expect(site.page.get_by_text("3 matching runs")).to_be_visible()
    names = [re.compile(f"^{re.escape(name)}(: |$)") for name in site.board.runs["run"]]  # the UI adds the settings
    expect(site.page.locator("[role=gridcell] a")).to_have_text(names)
    columns = {
        "tags.`kind`": "kind",
        "metrics.`best_val_accuracy`": "val_accuracy",
        "metrics.`test_accuracy`": "test_accuracy",
        "metrics.`train_seconds`": "seconds",
        "metrics.`trainable_parameters`": "parameters",
    }
    for column, name in columns.items():
        values = ["-" if pd.isna(value) else str(value) for value in site.board.runs[name]]
        expect(site.page.locator(f"[role=gridcell][col-id='{column}']")).to_have_text(values)


def test_the_learning_curves_of_the_networks_overlay(site: Site) -> None:
    show(site.page, site.addresses["charts"])
    charts = site.page.get_by_test_id("experiment-view-compare-runs-card")
    for name in ("val_accuracy", "accuracy", "val_loss", "loss"):
        chart = charts.filter(has=site.page.get_by_text(name, exact=True)).locator(".js-plotly-plot")
        expect(chart.locator(".point")).to_have_count(2 * EPOCHS)
        expect(chart.locator(".trace", has=site.page.locator(".point"))).to_have_count(2)


def test_the_compare_page_shows_the_settings_that_differ(site: Site) -> None:
    show(site.page, site.addresses["compare"])
    expect(site.page.get_by_text("Comparing 2 Runs from 1 Experiment")).to_be_visible()
    same, different = (site.page.get_by_role("row", name=re.compile(f"^{name} ")) for name in ("seed", "learning_rate"))
    expect(same).to_be_visible()
    site.page.get_by_role("switch", name="Parameters - Show diff only").click()
    expect(same).to_have_count(0)
    expect(different).to_be_visible()
    cells = set(different.inner_text().split()[1:])
    assert cells == {str(load_app(name).settings().learning_rate) for name in ("mnist_mlp", "logistic_regression")}


def test_a_picture_among_a_runs_artifacts_is_displayed(site: Site) -> None:
    run = site.board.runs.set_index("run")["id"]["mnist_mlp"]
    experiment = site.addresses["table"].split("/experiments/")[1].split("/")[0]
    show(site.page, f"{site.server}/#/experiments/{experiment}/runs/{run}/artifacts/worst_mistakes.png")
    picture = site.page.locator("img[src^='blob:']").first
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.naturalWidth") > 500


def test_the_registered_model_shows_its_alias_which_the_leaderboard_names(site: Site) -> None:
    assert site.board.runs.set_index("run")["model"]["mnist_mlp"] == "mnist_mlp-mnist@champion"
    show(site.page, f"{site.server}/#/models/mnist_mlp-mnist")
    expect(site.page.get_by_text(re.compile(r"@\s*champion"))).to_be_visible()
