"""Metrics of predictions, Keras metrics during training, and likelihoods."""

from common import lazy

lazy.defer_room(__name__, __path__)
