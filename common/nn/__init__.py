"""What networks are built of beside Keras's own: layers, losses, optimizers, Boltzmann machines, gradients."""

from common import lazy

lazy.defer_room(__name__, __path__)
