"""Train and evaluate an app's model, and record the run."""

from common.result import Result
from common.training.compilation import benefits_from_xla
from common.training.loop import (
    FitOptions,
    assist,
    baseline,
    best_epoch,
    build,
    evaluate,
    fit,
    load,
    predict,
    predictions_for,
    pretrain,
    recalibrated,
    retrain,
    train,
    trial,
    weighted,
)
from common.training.watching import Watching

__all__ = [
    "FitOptions",
    "Result",
    "Watching",
    "assist",
    "baseline",
    "benefits_from_xla",
    "best_epoch",
    "build",
    "evaluate",
    "fit",
    "load",
    "predict",
    "predictions_for",
    "pretrain",
    "recalibrated",
    "retrain",
    "train",
    "trial",
    "weighted",
]
