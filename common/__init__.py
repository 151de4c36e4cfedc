"""What every app shares: data, preprocessing, layers, training, tracking, reports and the command line."""

from common import lazy

# The second ones define subclasses of Keras's classes, or take pandas at once.
lazy.defer("keras")
lazy.defer(
    *(f"common.{name}" for name in ("activations", "augmentation", "constraints", "layers", "losses", "monitors"))
)
lazy.defer("common.gradients", "common.series", "common.softmax_rbm", "common.text")
