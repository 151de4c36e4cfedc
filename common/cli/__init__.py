"""The command line."""

from common.cli.commands import main
from common.cli.listing import list_programs

__all__ = ["list_programs", "main"]
