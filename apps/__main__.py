"""List the applications."""

import apps
from common import cli

if __name__ == "__main__":
    cli.list_programs(apps)
