"""Side-by-side measurements. They assert nothing, because machines differ."""

import common  # noqa: F401 - before any benchmark's own `import keras`, so that it can be deferred
