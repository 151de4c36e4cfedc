"""What every app shares: data, preprocessing, layers, training, tracking, reports and the command line."""

from common import lazy

lazy.defer("keras")
