"""Record runs, models and figures in MLflow, and read them again. The only package that imports mlflow.

The store is `mlruns/mlflow.db` beside `common`, or the one that MLFLOW_TRACKING_URI names.
"""

from common.tracking.leaderboard import Leaderboard, Pages, leaderboards, pages
from common.tracking.models import InputSpec, Version, champions, load, save, served
from common.tracking.runs import (
    ActiveRun,
    Run,
    RunKey,
    attach,
    curve,
    digest,
    end_stale,
    find,
    finished,
    get,
    run,
    settings,
)
from common.tracking.store import STORE, connect, folder, local_folder, server_command

__all__ = [
    "STORE",
    "ActiveRun",
    "InputSpec",
    "Leaderboard",
    "Pages",
    "Run",
    "RunKey",
    "Version",
    "attach",
    "champions",
    "connect",
    "curve",
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
    "settings",
]
