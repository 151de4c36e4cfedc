"""The names that an app imports: the app and its parts, bounds of settings, tasks and plain values.

An app also imports the packages preprocessing, nn, metrics and plots, and `cli` for its last line.
"""

import atexit
import gc
import warnings

from common import lazy

# The libraries make 800,000 objects that live until the end. By default, Python searches for garbage 1,900 times, nine
# times among all objects, and once more at the end: 3 of the 12 CPU seconds of a short training.
gc.set_threshold(50_000)
atexit.register(gc.freeze)
lazy.defer("keras")
# Keras imports both, and with them scikit-learn and most of Matplotlib; the suite uses neither.
lazy.defer("keras.wrappers", "matplotlib.pyplot")
# JAX compiles a program again if it cannot read or keep it.
warnings.filterwarnings("ignore", "Error (read|writ)ing persistent compilation cache", UserWarning)
warnings.filterwarnings("ignore", "Found unknown categories", UserWarning)  # of a baseline
warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)  # a figure shows a box for such a letter
# The inputs of a table's network are named column_NAME, so that no input has the name of a layer.
warnings.filterwarnings("ignore", "When providing `inputs` as a dict", UserWarning)

from common import metrics, nn, plots, preprocessing  # noqa: E402, F401 - `register_layers` imports their modules
from common.app import App, PartFit, PredictOptions, Published  # noqa: E402 - Keras is deferred before anything imports it
from common.config import Config, Count, Fraction, NotNegative, Optimizer, Positive, Schedule, Share, Whole  # noqa: E402
from common.data import Array, Data, Examples, Pair, RawData, SavedModel, Trained  # noqa: E402
from common.errors import UserError  # noqa: E402
from common.lazy import register_layers  # noqa: E402
from common.nn import programs  # noqa: E402
from common.tasks import ByTarget, Classification, Forecast, Regression, Task  # noqa: E402

programs.keep()

__all__ = [
    "App",
    "Array",
    "ByTarget",
    "Classification",
    "Config",
    "Count",
    "Data",
    "Examples",
    "Forecast",
    "Fraction",
    "NotNegative",
    "Optimizer",
    "Pair",
    "PartFit",
    "Positive",
    "PredictOptions",
    "Published",
    "RawData",
    "Regression",
    "SavedModel",
    "Schedule",
    "Share",
    "Task",
    "Trained",
    "UserError",
    "Whole",
    "register_layers",
]
