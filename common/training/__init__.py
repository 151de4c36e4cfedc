"""The one path from settings to a trained, evaluated, recorded model."""

from common.training.loop import (
    STEPS_PER_EXECUTION,
    FitOptions,
    Result,
    baseline,
    best_epoch,
    build,
    compile_with_xla,
    evaluate,
    fit,
    predict,
    predictions_for,
    retrain,
    train,
    trial,
)

__all__ = [
    "STEPS_PER_EXECUTION",
    "FitOptions",
    "Result",
    "baseline",
    "best_epoch",
    "build",
    "compile_with_xla",
    "evaluate",
    "fit",
    "predict",
    "predictions_for",
    "retrain",
    "train",
    "trial",
]
