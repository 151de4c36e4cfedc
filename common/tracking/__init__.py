"""Where runs, models and pictures are recorded. The only package that imports mlflow.

The store is `mlruns/mlflow.db` beside `common`, or what MLFLOW_TRACKING_URI names.
"""

from common.tracking.leaderboard import Leaderboard, Pages, leaderboards, pages
from common.tracking.models import InputSpec, ServedModel, Version, champions, load, save, served
from common.tracking.runs import (
    ActiveRun,
    EpochLogger,
    Run,
    RunKey,
    attach,
    curve,
    curves,
    digest,
    end_stale,
    find,
    finished,
    get,
    run,
)
from common.tracking.store import STORE, connect, folder, local_folder, server_command

__all__ = [
    "STORE",
    "ActiveRun",
    "EpochLogger",
    "InputSpec",
    "Leaderboard",
    "Pages",
    "Run",
    "RunKey",
    "ServedModel",
    "Version",
    "attach",
    "champions",
    "connect",
    "curve",
    "curves",
    "digest",
    "end_stale",
    "find",
    "finished",
    "folder",
    "get",
    "leaderboards",
    "load",
    "local_folder",
    "pages",
    "run",
    "save",
    "served",
    "server_command",
]
