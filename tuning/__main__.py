"""List the searches."""

import tuning
from common import cli

if __name__ == "__main__":
    cli.list_programs(tuning)
