"""Record runs, models and figures in MLflow, and read them again. The only package that imports mlflow.

The store is `mlruns/mlflow.db` beside `common`, or the one that MLFLOW_TRACKING_URI names.
"""

from common.data import Version
from common.tracking.artifacts import attach, svg
from common.tracking.checkpoint_files import (
    check_checkpoints,
    checkpoints,
    copy_checkpoint,
    delete_checkpoint,
    delete_checkpoints,
    has_checkpoint,
)
from common.tracking.leaderboard import Leaderboard, Pages, leaderboards, pages, standing
from common.tracking.models import InputSpec, ServedModel, champions, load, log_model, registered, save, served
from common.tracking.processes import peak_memory
from common.tracking.recording import ActiveRun, RunKey, finished, run
from common.tracking.runs import (
    Run,
    curve,
    digest,
    end_stale,
    find,
    get,
    interrupted,
    name_of,
    newest,
    report,
    settings,
)
from common.tracking.store import OUTAGES, STORE, address, check_space, connect, folder, local_folder

__all__ = [
    "OUTAGES",
    "STORE",
    "ActiveRun",
    "InputSpec",
    "Leaderboard",
    "Pages",
    "Run",
    "RunKey",
    "ServedModel",
    "Version",
    "address",
    "attach",
    "champions",
    "check_checkpoints",
    "check_space",
    "checkpoints",
    "connect",
    "copy_checkpoint",
    "curve",
    "delete_checkpoint",
    "delete_checkpoints",
    "digest",
    "end_stale",
    "find",
    "finished",
    "folder",
    "get",
    "has_checkpoint",
    "interrupted",
    "leaderboards",
    "load",
    "local_folder",
    "log_model",
    "name_of",
    "newest",
    "pages",
    "peak_memory",
    "registered",
    "report",
    "run",
    "save",
    "served",
    "settings",
    "standing",
    "svg",
]
