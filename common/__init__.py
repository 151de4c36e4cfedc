"""What every app shares: data, preprocessing, layers, training, tracking, reports and the command line."""

from common import lazy

lazy.defer("keras")
# These define subclasses of Keras's classes, or take Keras or pandas at once.
_SLOW = """
    activations augmentation batches boltzmann constraints gradients layers likelihood losses mixing monitors rbm
    series softmax_rbm text
"""
lazy.defer(*(f"common.{name}" for name in _SLOW.split()))
