"""Where runs, models and pictures are recorded. The only package that imports mlflow.

The store is `mlruns/mlflow.db` beside `common`, or what MLFLOW_TRACKING_URI names.
"""

from common.tracking.leaderboard import Leaderboard, leaderboards
from common.tracking.models import Saved, Version, champions, load, save, served
from common.tracking.pages import Pages, pages
from common.tracking.runs import (
    EpochLogger,
    Place,
    Recorded,
    Run,
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
from common.tracking.scoring import scoring_app
from common.tracking.store import STORE, connect, folder, local_folder, server_command

__all__ = [
    "STORE",
    "EpochLogger",
    "Leaderboard",
    "Pages",
    "Place",
    "Recorded",
    "Run",
    "Saved",
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
    "scoring_app",
    "served",
    "server_command",
]
