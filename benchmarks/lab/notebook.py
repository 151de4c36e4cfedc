"""Make the lab's notebook from its page, and the page's images from the notebook: `python -m benchmarks.lab.notebook`.

docs/lab.md has the text. Each of its sections becomes a cell of text and a cell that carries out its experiment.
"""

import base64
import re

import nbclient
import nbformat
import tyro

from common.tracking.store import ROOT

PAGE, NOTEBOOK, IMAGES = ROOT / "docs" / "lab.md", ROOT / "docs" / "lab.ipynb", ROOT / "docs" / "lab"
COMMAND = re.compile(r"```\n\.venv/bin/python -m benchmarks\.lab (\w+)\n```\n")
IMAGE = re.compile(r"!\[[^\]]*\]\(lab/\w+\.png\)\n\n?")
START = """import sys

sys.path.append("..")  # the folder of common/ and apps/

from IPython.display import Image

from benchmarks import lab

quick = False  # with True, all experiments end within a minute, on few examples"""


def main(text_only: bool = False) -> None:
    """Write the notebook, carry out its experiments, and write their images for the page.

    Args:
        text_only: Keep the outputs of the experiments, and renew the text.
    """
    notebook = made(PAGE.read_text())
    if text_only:
        kept = {cell.source: cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"}
        notebook.cells = [kept.get(cell.source, cell) for cell in notebook.cells]
    else:
        client = nbclient.NotebookClient(notebook, timeout=None, resources={"metadata": {"path": str(PAGE.parent)}})
        client.on_cell_executed = lambda cell, **_: print(cell.source.splitlines()[-1], flush=True)
        client.execute()
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        cell.metadata.pop("execution", None)  # the times
    IMAGES.mkdir(exist_ok=True)
    for name, image in images(notebook).items():
        (IMAGES / f"{name}.png").write_bytes(image)
    nbformat.write(notebook, NOTEBOOK)


def images(notebook: nbformat.NotebookNode) -> dict[str, bytes]:
    """Return the images of the outputs, as PNG, by the name of the experiment."""
    found = {}
    for cell in notebook.cells:
        if name := re.search(r'lab\.image\("(\w+)"', cell.source):
            (output,) = cell.outputs
            found[name[1]] = base64.b64decode(output.data["image/png"])
    return found


def made(page: str) -> nbformat.NotebookNode:
    """Return the notebook of a page in Markdown, without outputs."""
    v4 = nbformat.v4
    first, *sections = re.split(r"^(?=## )", page, flags=re.MULTILINE)
    cells = [v4.new_markdown_cell(first.strip()), v4.new_code_cell(START)]
    for section in sections:
        text = COMMAND.sub("", IMAGE.sub("", section)).strip()
        cells.append(v4.new_markdown_cell(text))
        cells += [v4.new_code_cell(f'Image(lab.image("{name}", quick))') for name in COMMAND.findall(section)]
    return v4.new_notebook(cells=cells)


if __name__ == "__main__":
    tyro.cli(main, prog="python -m benchmarks.lab.notebook")
