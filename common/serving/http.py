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
    """Serve a saved model on 127.0.0.1 until Ctrl-C.

    Args:
        app: The app that the model is of.
        which: The model, as `tracking.load` reads it; None for the champion.
        port: Port of this machine.

    Raises:
        UserError: where the port cannot be used, or there is no such model.
    """
    with listen(port, "name another") as listening:  # a client that connects before the model is loaded waits
        import uvicorn

        from common import tracking
        from common.serving import application

        served = tracking.served(app.name, which)
        print(f"loading {served.label} …", flush=True)
        scoring = application.scoring_app(served.load(), served.inputs)
        server = uvicorn.Server(uvicorn.Config(scoring, log_level="warning"))
        print(f"{served.label} answers at http://{HOST}:{port}/invocations; to try it:\n")
        print(curl(served.folder, port))
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
    """Write the JSON body of a request for predictions of `inputs`.

    Args:
        inputs: Examples, as the network takes them.

    Returns:
        One line of JSON; a missing number (NaN) is null.
    """

    def listed(part: Array) -> Any:
        return np.where(part != part, np.array(None), part).tolist()

    return json.dumps({"inputs": keras.tree.map_structure(listed, inputs)})
