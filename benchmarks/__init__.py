"""Side-by-side measurements. Not tests: machines differ, so each prints ratios of medians and asserts nothing."""

import common  # noqa: F401 - before any benchmark's own `import keras`, so that it can be deferred
