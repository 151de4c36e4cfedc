"""Serve a saved model over HTTP on this machine: the commands `serve` and `request`."""

import errno
import json
import shlex
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import keras
import numpy as np
from annotated_types import Ge, Lt

from common.app import App
from common.data import Array, Inputs
from common.errors import UserError

HOST = "127.0.0.1"
EVERYWHERE = "0.0.0.0"
"""All addresses of this machine."""
SHOWN = 300
"""Longest example in characters that is printed; of a longer one, the file is named."""
FINISH = 60
"""Longest time in seconds to answer the requests that have begun."""
Port = Annotated[int, Ge(1), Lt(2**16)]


def listen(port: int, fix: str, address: str = HOST) -> socket.socket:
    """Return a socket that listens at `port` of an address of this machine.

    Raises:
        UserError: if the port or the address cannot be used; for the port, it ends with `fix`.
    """
    try:
        return socket.create_server((address, port))
    except (OSError, OverflowError) as error:
        if getattr(error, "errno", None) in (errno.EADDRNOTAVAIL, socket.EAI_NONAME):
            words = f"not an address of this machine; use {EVERYWHERE} for all of its addresses"
            raise UserError(f"`address` {address}: {words}") from error
        raise UserError(f"`port` {port} cannot be used ({error}); {fix}") from error


def serve(app: App, which: str | None, port: int, names: Sequence[str] = (), address: str = HOST) -> None:
    """Serve a saved model until Ctrl-C.

    Args:
        app: The app of the model.
        which: The model, as for `tracking.load`; None for the champion.
        port: Port of this machine.
        names: More names that requests may have in their header Host, such as the name of a proxy.
        address: Address of this machine to listen at.

    Raises:
        UserError: if the port or the address cannot be used, or there is no such model.
    """
    with listen(port, "choose another", address) as listening:  # clients wait while the model is loaded
        import uvicorn

        from common import tracking
        from common.serving import application

        served = tracking.served(app.name, which)
        print(f"loading {served.label} …", flush=True)
        names = [*application.NAMES, address, *names]
        scoring = application.scoring_app(served.load(), served, app.task_of(served), names)
        # After Ctrl-C, requests that have begun are answered.
        server = uvicorn.Server(uvicorn.Config(scoring, log_level="warning", timeout_graceful_shutdown=FINISH))
        url = f"http://{HOST if address == EVERYWHERE else address}:{port}/predict"
        print(f"{served.label} answers at {url}; to try it:\n")
        print(curl(served.example, url))
        print("\nCtrl-C stops it", flush=True)
        server.run(sockets=[listening])


def curl(file: Path, url: str) -> str:
    """Return a shell command that requests predictions for the example in `file`."""
    example = json.dumps(json.loads(file.read_text()))
    data = example if len(example) <= SHOWN else f"@{file}"
    return f"curl {url} -H 'Content-Type: application/json' -d {shlex.quote(data)}"


def request(inputs: Inputs) -> str:
    """Return the JSON body of a request for predictions, in one line; a missing number (NaN) is null.

    Args:
        inputs: The network's inputs, (examples, …).
    """

    def listed(part: Array) -> Any:
        return np.where(part != part, np.array(None), part).tolist()

    return json.dumps({"inputs": keras.tree.map_structure(listed, inputs)})
