"""The applications: one file each, all of the same shape, each run as `python -m apps.NAME`."""

import common  # noqa: F401 - before any app's own `import keras`, so that it can be deferred
