"""Print the runs of an experiment in MLflow, the best first: EXPERIMENT."""

import sys

import mlflow

runs = mlflow.search_runs(experiment_names=sys.argv[1:], order_by=["metrics.best_val_accuracy DESC"])
print(runs[["tags.mlflow.runName", "metrics.best_val_accuracy", "metrics.test_accuracy"]].to_string())
