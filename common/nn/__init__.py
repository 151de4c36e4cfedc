"""Layers, losses, optimizers, Boltzmann machines and gradients that Keras lacks."""

from common import lazy

lazy.defer_room(__name__, __path__)
