"""The applications: one file each, all of the same shape, each run as `python -m apps.NAME`."""

from common import lazy

lazy.defer("keras", "common.activations", "common.layers", "common.losses")
