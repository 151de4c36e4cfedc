"""The one exception for what a user can mend."""


class UserError(Exception):
    """A mistake or a circumstance that the user can mend: one line that names the flag or file and says how.

    The command line prints the line and exits with status 2; no traceback.
    """
