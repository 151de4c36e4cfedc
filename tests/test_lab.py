"""The lab: its page, its notebook and its images belong together, and its experiments run."""

import nbclient
import nbformat
import pytest

from benchmarks import lab
from benchmarks.lab import notebook

QUICK = ("learning_rates", "standardised_inputs", "batches", "optimizers")
"""Experiments that take few seconds with few examples."""


def stored() -> nbformat.NotebookNode:
    return nbformat.read(notebook.NOTEBOOK, as_version=4)


def test_the_notebook_has_the_text_and_the_experiments_of_the_page() -> None:
    page = notebook.PAGE.read_text()
    assert [cell.source for cell in notebook.made(page).cells] == [cell.source for cell in stored().cells]
    assert notebook.COMMAND.findall(page) == list(lab.EXPERIMENTS)


def test_the_images_of_the_page_are_those_of_the_notebook() -> None:
    images = notebook.images(stored())
    assert list(images) == list(lab.EXPERIMENTS)
    for name, image in images.items():
        assert (notebook.IMAGES / f"{name}.png").read_bytes() == image
        assert f"](lab/{name}.png)" in notebook.PAGE.read_text()
        assert len(image) < 100_000


def executed(names: tuple[str, ...], quick: bool) -> dict[str, bytes]:
    """Execute the notebook with these experiments alone, and return their images."""
    made = notebook.made(notebook.PAGE.read_text())
    made.cells[1].source = made.cells[1].source.replace("quick = False", f"quick = {quick}")
    made.cells = [cell for cell in made.cells if (notebook.experiment(cell) or names[0]) in names]
    folder = {"metadata": {"path": str(notebook.PAGE.parent)}}
    nbclient.NotebookClient(made, timeout=None, resources=folder).execute()
    return {
        str(notebook.experiment(cell)): output.data["image/png"].encode()
        for cell in made.cells
        if notebook.experiment(cell)
        for output in cell.outputs
        if output.output_type == "execute_result"  # and not a log line of TensorFlow
    }


def test_the_notebook_runs_with_few_examples() -> None:
    assert set(executed(QUICK, quick=True)) == set(QUICK)


@pytest.mark.slow
def test_the_notebook_runs_whole() -> None:
    assert set(executed(tuple(lab.EXPERIMENTS), quick=False)) == set(lab.EXPERIMENTS)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in lab.EXPERIMENTS if name not in QUICK])
def test_an_experiment_runs_with_few_examples(name: str) -> None:
    assert lab.EXPERIMENTS[name](True).get_label()
