"""Read, check and split data sets and files, and convert them to inputs of a network."""

from common import lazy

lazy.defer_room(__name__, __path__)
