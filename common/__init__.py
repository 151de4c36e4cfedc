"""What every app shares: data, preprocessing, layers, training, tracking, reports and the command line."""

from common import lazy

lazy.defer("keras", "common.activations", "common.layers", "common.losses", "common.series", "common.text")
