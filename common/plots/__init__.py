"""Figures from arrays, and which of them each task's run gets."""

from common import lazy

lazy.defer_room(__name__, __path__)
