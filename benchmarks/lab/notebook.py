"""Make the lab's notebook from its page, and the page's images from the notebook: `python -m benchmarks.lab.notebook`.

docs/lab.md has the text. Each of its sections becomes a cell of text and a cell that carries out its experiment.
"""

import base64
import re

import nbclient
import nbformat

from common.tracking.store import ROOT

PAGE, NOTEBOOK, IMAGES = ROOT / "docs" / "lab.md", ROOT / "docs" / "lab.ipynb", ROOT / "docs" / "lab"
COMMAND = re.compile(r"```\n\.venv/bin/python -m benchmarks\.lab (\w+)\n```\n")
IMAGE = re.compile(r"!\[[^\]]*\]\(lab/\w+\.png\)\n\n?")
START = """import sys

sys.path.append("..")  # the folder of common/ and apps/

from IPython.display import Image

from benchmarks import lab

quick = False  # with True, all experiments end within a minute, on few examples"""


def main() -> None:
    """Write and execute the notebook, and write its images."""
    notebook = made(PAGE.read_text())
    client = nbclient.NotebookClient(notebook, timeout=None, resources={"metadata": {"path": str(PAGE.parent)}})
    client.on_cell_executed = lambda cell, **_: print(cell.source.splitlines()[0], flush=True)
    client.execute()
    IMAGES.mkdir(exist_ok=True)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # the times
        if found := re.search(r'lab\.image\("(\w+)"', cell.source):
            (output,) = cell.outputs
            (IMAGES / f"{found[1]}.png").write_bytes(base64.b64decode(output.data["image/png"]))
    nbformat.write(notebook, NOTEBOOK)


def made(page: str) -> nbformat.NotebookNode:
    """Return the notebook of a page in Markdown, without outputs."""
    v4 = nbformat.v4
    first, *sections = re.split(r"^(?=## )", page, flags=re.MULTILINE)
    cells = [v4.new_markdown_cell(first.strip()), v4.new_code_cell(START)]
    for section in sections:
        text = COMMAND.sub("", IMAGE.sub("", section)).strip()
        cells.append(v4.new_markdown_cell(text))
        cells += [v4.new_code_cell(f'Image(lab.image("{name}", quick))') for name in COMMAND.findall(section)]
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"
    return v4.new_notebook(cells=cells)


if __name__ == "__main__":
    main()
