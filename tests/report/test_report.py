"""The page of a real training: its parts and their order, in a file and in a browser."""

import base64
import dataclasses
import re
import time
import webbrowser
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest

from common import tracking, training
from common.app import App
from common.cli import report
from common.data import Data, Description, RawData
from common.errors import UserError
from common.report import page
from tests.browser import browsing
from tests.conftest import few, load_app, new_store

EVIL = "<script>nine</script>"
SECTIONS = [
    "Training", "Result", "Learning curves", "Diagnosis", "Settings", "Data", "Figures and tables", "Cost", "Commands",
]  # fmt: skip


@dataclass(frozen=True)
class Reported:
    """The first and the second training of an app, after its baseline, and the page of the second."""

    app: App
    first: str
    second: str
    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / "report.html"

    @property
    def html(self) -> str:
        return self.file.read_text()


@pytest.fixture(scope="module")
def reported(mnist: RawData, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reported]:
    """A network on a few digits, of which one class and the reader's notes have names that are markup."""
    table = pd.DataFrame({EVIL: ["<b>cell</b>"]})
    described = Description((f"note {EVIL}",), {"file": "<i>.csv"}, {"columns": table})

    def load_data(_config: Any) -> Data:
        data = few(mnist, 512, 256, 256)
        return dataclasses.replace(data, outputs=(*data.outputs[:9], EVIL), description=described)

    with pytest.MonkeyPatch.context() as patch:
        store = new_store(tmp_path_factory.mktemp("reported"))
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store}/mlflow.db")
        app = dataclasses.replace(load_app("mnist_mlp"), load_data=load_data)
        settings: dict[str, Any] = {"epochs": 2, "hidden": (16,)}
        training.baseline(app, app.settings(**settings))
        first, second = (
            training.train(app, app.settings(**settings, learning_rate=rate)).run_id for rate in (0.01, 0.02)
        )
        yield Reported(app, str(first), str(second), store / "artifacts" / "mnist" / str(second) / "artifacts")


def test_the_sections_are_in_order(reported: Reported) -> None:
    assert re.findall(r"<h2>(.*)</h2>", reported.html) == SECTIONS
    assert "<h1>mnist_mlp on mnist</h1>" in reported.html
    assert "A multilayer perceptron on MNIST" in reported.html


def test_the_page_has_the_results_of_the_run(reported: Reported) -> None:
    run = tracking.get(reported.second)
    accuracy = f"{100 * run.data.metrics['test_accuracy']:.2f} % of 256 examples"
    (diagnosis,) = {(reported.folder / "diagnosis.txt").read_text().splitlines()[0]}
    for words in (accuracy, diagnosis, "512 for training, 256 for validation, 256 for the test", "cpu:0, tensorflow"):
        assert words in reported.html, words
    text = re.sub(r"<[^>]+>|\s+", " ", reported.html)
    assert re.search(r"hidden +16 +512 512 512", text)
    assert re.search(r"learning_rate +0.02 +0.004", text)
    assert "batch_size" not in text
    assert int(re.findall(r"([\d,]+) MiB", text)[0].replace(",", "")) > 100
    commands = re.findall(r"<pre>(.*?)</pre>", reported.html, re.DOTALL)
    python = ".venv/bin/python -m apps.mnist_mlp"
    assert f"{python} predict FILE --model {reported.second}" in commands
    assert f"{python} serve --model {reported.second}" in commands
    assert f"{python} train --epochs 2 --learning-rate 0.02 --hidden 16" in commands


def test_the_published_result_is_beside_it(reported: Reported) -> None:
    section = reported.html.partition("Result</h2>")[2].partition("</section>")[0]
    assert "Published: 1.25 %, with dropout (Srivastava et al. 2014); 1.60 %, Keras&#39;s mnist_mlp." in section


def test_the_result_is_beside_the_baseline_and_the_champion_so_far(reported: Reported) -> None:
    section = reported.html.partition("Result</h2>")[2].partition("</section>")[0]
    table = re.findall(r"<tr><td>(.*?)</td><td>(.*?)</td><td.*?>(.*?)</td>", section)
    kinds = {kind: (name, float(value)) for name, kind, value in table}
    assert set(kinds) == {"baseline", "champion so far", "this run"}
    for kind, run in (("champion so far", reported.first), ("this run", reported.second)):
        value = tracking.get(run).data.metrics["best_val_accuracy"]
        name, shown = kinds[kind]
        assert name == "mnist_mlp"
        assert shown == pytest.approx(value, abs=1e-4)
    assert kinds["baseline"][0] == "mnist_mlp baseline"


def test_text_of_the_data_is_escaped(reported: Reported) -> None:
    assert "<script" not in reported.html
    for words in (EVIL, f"note {EVIL}", "<b>cell</b>", "<i>.csv"):
        assert words not in reported.html
        assert words.replace("<", "&lt;").replace(">", "&gt;") in reported.html


def test_the_page_needs_no_other_file_and_is_small(reported: Reported) -> None:
    assert not re.findall(r"https?:|url\(|@import", reported.html)
    sources = re.findall(r'src="([^"]*)"', reported.html)
    images = {path.name: path.read_bytes() for path in reported.folder.glob("*.png")}
    curves, *others = sources
    assert b"<svg" in base64.b64decode(curves.removeprefix("data:image/svg+xml;base64,"))  # sharp at every size
    shown = {base64.b64decode(source.removeprefix("data:image/png;base64,")) for source in others}
    assert shown == {image for name, image in images.items() if name != "learning_curves.png"}
    assert len(sources) == len(images) == 4
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", reported.html)
    assert len(captions) == len(images)
    assert "after each epoch" in captions[0]
    assert "Red is positive" in captions[-1]
    assert len(reported.html) < 3_000_000


def test_descriptions_have_the_result_the_diagnosis_and_a_link(reported: Reported) -> None:
    run = tracking.get(reported.first)
    note = run.data.tags["mlflow.note.content"]
    assert f"{100 * run.data.metrics['test_accuracy']:.2f} % of 256 examples" in note
    assert "- " in note.partition("diagnosis:")[2]
    client = mlflow.MlflowClient()
    model = client.get_registered_model("mnist_mlp-mnist")
    champion = client.get_model_version("mnist_mlp-mnist", model.aliases["champion"])
    link = f"#/experiments/{run.info.experiment_id}/runs/{champion.run_id}/artifacts/report.html"
    assert link in str(champion.description)
    assert link in str(model.description)
    for words in ("A multilayer perceptron", "mnist_mlp on mnist", "val_accuracy", f"version {champion.version}"):
        assert words in str(model.description)


def test_a_resumed_run_has_the_figures_of_the_earlier_process(reported: Reported) -> None:
    data = reported.app.load_data(None)
    run = tracking.ActiveRun(tracking.connect(), reported.app, reported.app.settings(), data, reported.second)
    run.find_figures()
    assert run.images == {path.stem: path.read_bytes() for path in reported.folder.glob("*.png")}


def test_the_command_prints_the_page_of_the_newest_run_and_opens_it(
    reported: Reported, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    opened = list[str]()
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(webbrowser, "open", opened.append)
    report.main()
    assert capsys.readouterr().out.strip() == str(reported.file)
    report.main(reported.first)
    assert reported.first in capsys.readouterr().out
    report.main(reported.second, tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text() == reported.html
    assert opened[0] == reported.file.as_uri()
    assert opened[2] == (tmp_path / "page.html").as_uri()


@pytest.mark.usefixtures("reported")
def test_a_run_without_a_page_is_one_line(tmp_path: Path) -> None:
    (baseline,) = tracking.find({"kind": "baseline"})
    with pytest.raises(UserError, match="this baseline, finished, has no report"):
        report.main(baseline.info.run_id)
    with pytest.raises(UserError, match="there is none in"):
        report.main("0" * 32)
    with pytest.raises(UserError, match=r"--output .*: the name must end in .html"):
        report.main(output=tmp_path / "page.pdf")
    with pytest.raises(UserError, match="there is no folder"):
        report.main(output=tmp_path / "none" / "page.html")


@pytest.mark.usefixtures("store")
def test_a_store_without_runs_is_one_line() -> None:
    with pytest.raises(UserError, match="no runs are recorded"):
        report.main()


def test_the_page_in_a_browser(reported: Reported) -> None:
    """At the widths of a phone, a tablet and a desk, light and dark."""
    with browsing() as tab:
        requests = list[str]()
        tab.on("request", lambda request: requests.append(request.url))
        papers = {}
        for width in (360, 768, 1400):
            tab.set_viewport_size({"width": width, "height": 800})
            for scheme in ("light", "dark"):
                tab.emulate_media(color_scheme=scheme)
                tab.goto(reported.file.as_uri())
                assert tab.evaluate("document.documentElement.scrollWidth") <= width
                assert tab.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 100)")
                assert tab.locator("h2").all_inner_texts() == SECTIONS
                papers[scheme] = tab.evaluate("getComputedStyle(document.body).backgroundColor")
            assert papers == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 26)"}
        assert tab.locator("dd", has_text=EVIL).count() == 1
        tab.emulate_media(media="print", color_scheme="dark")
        assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == papers["light"]
        assert not tab.locator("nav").is_visible()
        assert {url.partition(":")[0] for url in requests} <= {"file", "data"}


def test_the_page_is_made_in_a_second(reported: Reported) -> None:
    started = time.perf_counter()
    images, _ = page.fitting({path.stem: path.read_bytes() for path in reported.folder.glob("*.png")})
    page.render("title", "", [], [page.Section("Figures", images=images)])
    assert time.perf_counter() - started < 1
