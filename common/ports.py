"""Where the suite's servers listen: on this machine alone."""

import socket
from typing import Annotated

from annotated_types import Ge, Lt

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
        raise UserError(f"--port {port} cannot be used ({error}); {mend}") from error
