"""What a network is asked for, and so how its answers are compared, measured, drawn and written down.

Apps import this file, and `--help` must answer at once: what takes long to import is imported where it is used.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from common.config import FoldStrategy, Mode
from common.data import Array, Data, Pair, Trained
from common.plots import results

if TYPE_CHECKING:
    import keras
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Task(ABC):
    """How the answers of a network are judged; its fields are kept with a saved model."""

    monitor: str
    """The validation figure by which the best epoch, the champion and the best trial are chosen."""
    mode: Mode
    """Which values of it are better."""
    metric: ClassVar[str]
    """The one of `measure`'s metrics that stands for all where there is room for one."""
    metric_mode: ClassVar[Mode]
    """Which values of it are better."""
    fold_strategy: ClassVar[FoldStrategy | None] = None
    """How the examples are dealt to folds; None where they cannot be."""

    @abstractmethod
    def predict(self, estimator: Any, inputs: Any) -> Array:
        """The outputs of a fitted scikit-learn estimator, in the form of the network's."""

    def predictions_for(self, predict: Callable[[Any], Array], pair: Pair) -> Array:
        """The outputs that `measure` judges, of those that `predict` gives for inputs: by default all for the pair's.

        Where all would not fit into memory, it asks for some examples at a time, and keeps what their targets judge.
        """
        return predict(pair[0])

    def choose_threshold(self, _targets: Array, _predict: Callable[[], Array]) -> Self:
        """The task with what is chosen on the validation set, whose outputs `_predict` gives; by default nothing is."""
        return self

    @abstractmethod
    def score(self, targets: Array, predictions: Array) -> dict[str, float]:
        """The metrics of one part of the data."""

    def model_metrics(self, _model: "keras.Model", _config: Any, _data: Data) -> dict[str, float]:
        """Figures of the test set that need the network itself and not only its answers; by default none."""
        return {}

    @abstractmethod
    def summary(self, metrics: Mapping[str, float], examples: int) -> dict[str, str]:
        """What was measured on the test set, `metrics` by `test_*` names, in a person's words."""

    @abstractmethod
    def figures(self, trained: Trained) -> Iterator[tuple[str, "Figure"]]:
        """A name and a picture, for every picture that a run keeps."""

    @abstractmethod
    def answers(self, predictions: Array, outputs: Sequence[str]) -> "pd.DataFrame":
        """What is written down for `predictions`, a row an answer; the columns called as `outputs` are details."""


@dataclass(frozen=True)
class Classification(Task):
    """One of several classes: the network puts out probabilities (examples, classes), targets are integer labels."""

    monitor: str = "val_accuracy"
    mode: Mode = "max"
    metric: ClassVar[str] = "accuracy"
    metric_mode: ClassVar[Mode] = "max"
    fold_strategy: ClassVar[FoldStrategy | None] = "stratified"
    tune_threshold: bool = False
    """Whether, of two classes, the second is answered from a probability on that gives it the best F1 on validation."""
    threshold: float | None = None
    """That probability, once it is chosen; the likelier class is answered where there is none."""

    def choose_threshold(self, targets: Array, predict: Callable[[], Array]) -> Self:
        from common.metrics.predictions import best_threshold

        if not self.tune_threshold or (probabilities := predict()).shape[1] != 2:
            return self
        return replace(self, threshold=best_threshold(targets, probabilities[:, 1]))

    def decide(self, probabilities: Array) -> Array:
        """The labels that are answered, (examples,)."""
        if self.threshold is None:
            return probabilities.argmax(axis=1)
        return (probabilities[:, 1] >= self.threshold).astype(int)

    def predict(self, estimator: Any, inputs: Any) -> Array:
        return estimator.predict_proba(inputs)

    def score(self, targets: Array, predictions: Array) -> dict[str, float]:
        from common.metrics.predictions import binary_metrics, classification_metrics

        metrics = classification_metrics(targets, predictions, self.decide(predictions))
        if self.threshold is not None:
            metrics |= binary_metrics(targets, predictions[:, 1], self.threshold)
        return metrics

    def summary(self, metrics: Mapping[str, float], examples: int) -> dict[str, str]:
        low, high = (100 * metrics[f"test_error_{side}"] for side in ("low", "high"))
        words = {
            "test accuracy": f"{100 * metrics['test_accuracy']:.2f} % of {examples:,} examples",
            "test error": f"{100 * metrics['test_error']:.2f} %, 95 % interval {low:.2f} to {high:.2f} %",
        }
        if "test_threshold" in metrics:
            names = {"precision": "precision", "recall": "recall", "f1": "F1", "roc_auc": "area under the ROC curve"}
            said = ", ".join(f"{word} {metrics[f'test_{name}']:.4f}" for name, word in names.items())
            words["test of class 2"] = f"from probability {metrics['test_threshold']:.4f} on: {said}"
        return words

    def figures(self, trained: Trained) -> Iterator[tuple[str, "Figure"]]:
        return results.classification_figures(trained, self.decide(trained.predictions), self.threshold)

    def answers(self, predictions: Array, outputs: Sequence[str]) -> "pd.DataFrame":
        import pandas as pd

        labels = self.decide(predictions)
        probability = predictions[np.arange(len(labels)), labels]
        said = {"class": [outputs[label] for label in labels], "probability": probability}
        return pd.DataFrame(said | dict(zip(outputs, predictions.T, strict=True)))


@dataclass(frozen=True)
class Regression(Task):
    """Quantities: the network puts out numbers (examples, quantities), as the targets are."""

    monitor: str = "val_loss"
    mode: Mode = "min"
    metric: ClassVar[str] = "rmse"
    metric_mode: ClassVar[Mode] = "min"
    fold_strategy: ClassVar[FoldStrategy | None] = "shuffled"

    def predict(self, estimator: Any, inputs: Any) -> Array:
        predictions: Array = estimator.predict(inputs)
        return predictions.reshape(len(predictions), -1)

    def score(self, targets: Array, predictions: Array) -> dict[str, float]:
        from common.metrics.predictions import regression_metrics

        return regression_metrics(targets, predictions)

    def summary(self, metrics: Mapping[str, float], examples: int) -> dict[str, str]:
        rmse, mae, r2 = (metrics[f"test_{name}"] for name in ("rmse", "mae", "r2"))
        return {
            "test error": f"root mean square {rmse:.4g}, mean absolute {mae:.4g}, {examples:,} examples",
            "test R²": f"{r2:.4f}",
        }

    def figures(self, trained: Trained) -> Iterator[tuple[str, "Figure"]]:
        return results.regression_figures(trained)

    def answers(self, predictions: Array, outputs: Sequence[str]) -> "pd.DataFrame":
        import pandas as pd

        return pd.DataFrame(predictions, columns=list(outputs))


class Forecast(Regression):
    """The steps after a window: the network puts out numbers (examples, steps, quantities), as the targets are."""

    fold_strategy: ClassVar[FoldStrategy | None] = "in order"

    def score(self, targets: Array, predictions: Array) -> dict[str, float]:
        quantities = targets.shape[-1]
        return super().score(targets.reshape(-1, quantities), predictions.reshape(-1, quantities))

    def figures(self, trained: Trained) -> Iterator[tuple[str, "Figure"]]:
        return results.forecast_figures(trained)

    def answers(self, predictions: Array, outputs: Sequence[str]) -> "pd.DataFrame":
        return super().answers(predictions.reshape(-1, len(outputs)), outputs)
