"""The applications: one file each, with the same structure, run as `python -m apps.NAME`."""

import common  # noqa: F401 - before any app's own `import keras`, so that it can be deferred
