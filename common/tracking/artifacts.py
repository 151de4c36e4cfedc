"""Record the figures, texts and tables of a run."""

import io
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
from mlflow.exceptions import MlflowException

from common.tracking import store
from common.tracking.runs import REPORT

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


class Artifacts:
    """The figures, texts and tables of a run."""

    def __init__(self, client: mlflow.MlflowClient, run_id: str) -> None:
        self.client, self.id = client, run_id
        self.images = dict[str, bytes]()
        """The recorded figures as PNG or SVG, by name."""

    def log_figure(self, figure: "Figure", name: str, vector: bool = False) -> None:
        """Record a figure as the artifact `name`.png, with its label as the description in the file.

        Args:
            figure: The figure.
            name: Name of the artifact, without its ending.
            vector: Whether `images` has it as SVG.
        """
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        folder, _, file = name.rpartition("/")
        with tempfile.TemporaryDirectory() as temporary:
            path = Path(temporary, f"{file}.png")
            # `figure.savefig` would draw the figure twice.
            FigureCanvasAgg(figure).print_png(path, metadata={"Description": figure.get_label()})
            figure.set_layout_engine("none")  # the SVG has the layout of the PNG
            self.client.log_artifact(self.id, str(path), folder or None)
            self.images[name] = svg(figure) if vector else path.read_bytes()

    def find_figures(self) -> None:
        """Read the figures that an earlier process recorded in this run, for its page."""
        with tempfile.TemporaryDirectory() as temporary:
            for artifact in self.client.list_artifacts(self.id):
                if artifact.path.endswith(".png"):
                    file = Path(self.client.download_artifacts(self.id, artifact.path, temporary))
                    self.images[file.stem] = file.read_bytes()

    def log_text(self, text: str, name: str) -> None:
        """Record a text as the artifact `name`.txt."""
        self.client.log_text(self.id, text, f"{name}.txt")

    def log_report(self, html: str) -> None:
        """Record the page of the run."""
        self.client.log_text(self.id, html, REPORT)

    def log_table(self, table: "pd.DataFrame", name: str) -> None:
        """Record a table as the artifact `name`.csv."""
        self.client.log_text(self.id, table.to_csv(index=False), f"{name}.csv")


def svg(figure: "Figure") -> bytes:
    """Return a figure as SVG, with its label as the description in the file. Its text is text, not outlines."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    with io.BytesIO() as file, matplotlib.rc_context({"svg.fonttype": "none"}):
        FigureCanvasSVG(figure).print_svg(file, metadata={"Description": figure.get_label(), "Date": None})
        return file.getvalue()


def attach(
    run_id: str | None, folder: str, figures: Mapping[str, "Figure"], tables: Mapping[str, "pd.DataFrame"]
) -> bool:
    """Record figures and tables in a folder of the artifacts of a finished run.

    Returns:
        Whether the run is in this store.

    Raises:
        UserError: if the store cannot be written.
    """
    client = store.connect()
    try:
        artifacts = Artifacts(client, client.get_run(run_id or "").info.run_id)
    except MlflowException:
        return False
    store.check_writable()
    with store.recording():
        for name, figure in figures.items():
            artifacts.log_figure(figure, f"{folder}/{name}")
        for name, table in tables.items():
            artifacts.log_table(table, f"{folder}/{name}")
    return True
