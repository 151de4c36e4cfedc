"""Data sets and files read, checked, split and brought to what a network takes."""

from common import lazy

lazy.defer_room(__name__, __path__)
