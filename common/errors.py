"""The exception for a mistake that the user can fix, and how other errors are told."""


class UserError(Exception):
    """A mistake or a circumstance that the user can fix: one line that names the file or setting, and the fix.

    A setting is written in backticks by its field name, `batch_size`: the command line shows it as a flag,
    --batch-size, prints the line without a traceback, and exits with status 2.
    """


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the name of its class where it has none."""
    return next(iter(str(error).splitlines()), type(error).__name__)
