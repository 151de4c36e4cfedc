"""Open an address in the browser of this machine."""

import os
import sys
import webbrowser


def show(address: str) -> None:
    """Open an address in the browser if this machine has a desktop.

    Without one, webbrowser would start a text browser in this terminal.
    """
    if sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        webbrowser.open(address)
