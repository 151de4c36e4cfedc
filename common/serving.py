"""A saved model over HTTP on this machine: what `python -m apps.NAME serve` and `request` do."""

import json
import shlex
from pathlib import Path

import keras
import numpy as np
import uvicorn

from common import ports, tracking
from common.app import App, Inputs

SHOWN = 300
"""Characters of an example that are shown; a longer one is named by its file."""


def serve(app: App, which: str | None, port: int) -> None:
    """Serve the model that `which` names, by default the champion, on 127.0.0.1 until Ctrl-C.

    Raises:
        UserError: where the port cannot be used, or there is no such model.
    """
    with ports.listen(port, "name another") as listening:  # who asks before all is loaded waits for it
        folder, label = tracking.served(app.name, which)
        print(f"loading {label} …", flush=True)
        server = uvicorn.Server(uvicorn.Config(tracking.scoring_app(folder), log_level="warning"))
        print(f"{label} answers at http://{ports.HOST}:{port}/invocations; to try it:\n")
        print(curl(folder, port))
        print("\nCtrl-C stops it", flush=True)
        server.run(sockets=[listening])


def curl(folder: Path, port: int) -> str:
    """A command that asks the model in `folder` for the example that was saved with it."""
    file = folder / "serving_input_example.json"
    example = json.dumps(json.loads(file.read_text()))
    data = example if len(example) <= SHOWN else f"@{file}"
    address = f"http://{ports.HOST}:{port}/invocations"
    return f"curl {address} -H 'Content-Type: application/json' -d {shlex.quote(data)}"


def request(inputs: Inputs) -> str:
    """The JSON by which a served model is asked for `inputs`."""

    def listed(part: np.ndarray) -> list[object]:
        return np.where(np.equal(part, part), part.astype(object), None).tolist()  # JSON has no NaN

    return json.dumps({"inputs": keras.tree.map_structure(listed, inputs)})
