"""Train and evaluate an app's model, and record the run."""

from common.result import Result
from common.training.class_weights import recalibrated, weighted
from common.training.compilation import benefits_from_xla
from common.training.fitting import FitOptions, best_epoch, build, fit, fit_on_devices, pretrain
from common.training.loop import assist, baseline, evaluate, load, retrain, train, trial
from common.training.prediction import predict, predictions_for
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
    "fit_on_devices",
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
