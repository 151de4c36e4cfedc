"""Make the lab's notebook from its page and its images: `python -m benchmarks.lab.notebook`.

docs/lab.md has the text. Each of its sections becomes a cell of text and a cell that carries out its experiment. The
output of such a cell is the image in docs/lab/, which is drawn first if it is missing: delete it to draw it again.
"""

import base64
import re

import nbformat

from benchmarks import lab
from common.files import ROOT

PAGE, NOTEBOOK, IMAGES = ROOT / "docs" / "lab.md", ROOT / "docs" / "lab.ipynb", ROOT / "docs" / "lab"
COMMAND = re.compile(r"```\n\.venv/bin/python -m benchmarks\.lab (\w+)\n```\n")
IMAGE = re.compile(r"!\[[^\]]*\]\(lab/\w+\.png\)\n\n?")
START = """import sys

sys.path.append("..")  # the folder of common/ and apps/

from IPython.display import Image

from benchmarks import lab

quick = False  # with True, the experiments use few examples"""


def main() -> None:
    """Draw the images that are missing, and write the notebook."""
    IMAGES.mkdir(exist_ok=True)
    notebook = made(PAGE.read_text())
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        if name := experiment(cell):
            file = IMAGES / f"{name}.png"
            if not file.exists():
                print(f"drawing {file} …", flush=True)
                file.write_bytes(lab.image(name))
            data = {"image/png": base64.b64encode(file.read_bytes()).decode()}
            cell.outputs = [nbformat.v4.new_output("execute_result", data, execution_count=1)]
            cell.execution_count = 1
    nbformat.write(notebook, NOTEBOOK)


def experiment(cell: nbformat.NotebookNode) -> str | None:
    """Return the name of the experiment that a cell carries out; None for another cell."""
    found = re.fullmatch(r'Image\(lab\.image\("(\w+)", quick\)\)', cell.source)
    return found[1] if found else None


def images(notebook: nbformat.NotebookNode) -> dict[str, bytes]:
    """Return the images of the outputs, as PNG, by the name of the experiment."""
    shown = [(name, cell.outputs) for cell in notebook.cells if (name := experiment(cell))]
    return {name: base64.b64decode(output.data["image/png"]) for name, (output,) in shown}


def made(page: str) -> nbformat.NotebookNode:
    """Return the notebook of a page in Markdown, without outputs."""
    v4 = nbformat.v4
    first, *sections = re.split(r"^(?=## )", page, flags=re.MULTILINE)
    cells = [v4.new_markdown_cell(first.strip()), v4.new_code_cell(START)]
    for section in sections:
        cells.append(v4.new_markdown_cell(COMMAND.sub("", IMAGE.sub("", section)).strip()))
        cells += [v4.new_code_cell(f'Image(lab.image("{name}", quick))') for name in COMMAND.findall(section)]
    return v4.new_notebook(cells=cells)


if __name__ == "__main__":
    main()
