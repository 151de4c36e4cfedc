"""Where runs, models and pictures are recorded. The only package that imports mlflow.

The store is `mlruns/mlflow.db` beside `common`, or what MLFLOW_TRACKING_URI names.
"""

from common.tracking.models import Saved, Version, champions, load, save
from common.tracking.runs import EpochLogger, Place, Run, curve, curves, end_stale, find, finished, get, run
from common.tracking.store import STORE, connect, folder, local_folder, pages, server_command

__all__ = [
    "STORE",
    "EpochLogger",
    "Place",
    "Run",
    "Saved",
    "Version",
    "champions",
    "connect",
    "curve",
    "curves",
    "end_stale",
    "find",
    "finished",
    "folder",
    "get",
    "load",
    "local_folder",
    "pages",
    "run",
    "save",
    "server_command",
]
