"""Metrics of finished predictions, metrics watched in training, and likelihoods."""

from common import lazy

lazy.defer_room(__name__, __path__)
