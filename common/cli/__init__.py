"""The command line."""

from common.cli.commands import main

__all__ = ["main"]
