"""Import the modules that take long, once for all processes that `tests.processes` starts."""

import tuning.search.worker  # noqa: F401
from common import lazy

lazy.register_layers()
