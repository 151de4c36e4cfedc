"""A saved model over HTTP on this machine: the commands `serve` and `request`."""

import json
import shlex
import socket
from pathlib import Path
from typing import Annotated, Any

import keras
import numpy as np
from annotated_types import Ge, Lt

from common.app import App
from common.data import Array, Inputs
from common.errors import UserError

HOST = "127.0.0.1"
Port = Annotated[int, Ge(1), Lt(2**16)]


def listen(port: int, mend: str) -> socket.socket:
    """A socket that listens at `port` of this machine.

    Raises:
        UserError: where it cannot be used; it ends with `mend`.
    """
    try:
        return socket.create_server((HOST, port))
    except (OSError, OverflowError) as error:
        raise UserError(f"`port` {port} cannot be used ({error}); {mend}") from error


SHOWN = 300
"""Characters of an example that are shown; a longer one is named by its file."""


def serve(app: App, which: str | None, port: int) -> None:
    """Serve the model that `which` names, by default the champion, on 127.0.0.1 until Ctrl-C.

    A request has the inputs of one or more examples, as JSON or CSV; MLflow's scoring server answers it.

    Raises:
        UserError: where the port cannot be used, or there is no such model.
    """
    with listen(port, "name another") as listening:  # who asks before all is loaded waits for it
        import uvicorn

        from common import tracking
        from common.serving import application

        folder, label = tracking.served(app.name, which)
        print(f"loading {label} …", flush=True)
        server = uvicorn.Server(uvicorn.Config(application.scoring_app(folder), log_level="warning"))
        print(f"{label} answers at http://{HOST}:{port}/invocations; to try it:\n")
        print(curl(folder, port))
        print("\nCtrl-C stops it", flush=True)
        server.run(sockets=[listening])


def curl(folder: Path, port: int) -> str:
    """A command that asks the model in `folder` for the example that was saved with it."""
    file = folder / "serving_input_example.json"
    example = json.dumps(json.loads(file.read_text()))
    data = example if len(example) <= SHOWN else f"@{file}"
    address = f"http://{HOST}:{port}/invocations"
    return f"curl {address} -H 'Content-Type: application/json' -d {shlex.quote(data)}"


def request(inputs: Inputs) -> str:
    """The JSON by which a served model is asked for `inputs`."""

    def listed(part: Array) -> Any:
        return np.where(part != part, np.array(None), part).tolist()  # JSON has no NaN

    return json.dumps({"inputs": keras.tree.map_structure(listed, inputs)})
