"""Draw figures from arrays, and choose those of each task's run."""

from common import lazy

lazy.defer_room(__name__, __path__)
