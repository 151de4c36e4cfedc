"""Types of tasks: how the predictions of a network are selected, scored, drawn and written.

Apps import this file, and `--help` must be fast, so pandas is imported inside the functions that use it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from common.config import FoldStrategy, Mode
from common.data import Array, Data, Pair, Trained
from common.metrics import intervals
from common.metrics import predictions as scores
from common.plots import by_task

if TYPE_CHECKING:
    import keras
    import pandas as pd
    from matplotlib.figure import Figure


RARE = 0.4
"""Share of a class, relative to equal classes, below which it is rare: of two classes 20 %."""
NONE = "none of these"
"""Answer for an example that is of no class."""
REJECTED = 0.02
"""Share of the validation examples with the least probable answers, by which an answer is rejected."""
NO_CLASS = 1e-3
"""Probability of no class in an example, from which it is no rounding error of a softmax."""
BALANCED = "balanced class weights: the probabilities are recalibrated to the shares of the classes in these data"
ALIKE = "; the decision counts all classes alike, so it may not be the most probable class"
NARROW = 0.85
"""Share of the test values in the intervals of 95 %, below which a report says so."""
EXPECTED = 5
"""Number of test examples of a class from which some prediction of it is expected."""


@dataclass(frozen=True)
class Task(ABC):
    """A type of task. Its fields are saved with each model."""

    monitor: str
    """Validation metric that selects the best epoch, the champion and the best trial."""
    mode: Mode
    """Whether a lower or a higher `monitor` is better."""
    metric: ClassVar[str]
    """Main metric of those that `score` returns."""
    metric_mode: ClassVar[Mode]
    """Whether a lower or a higher `metric` is better."""
    fold_strategy: ClassVar[FoldStrategy | None] = None
    """How the examples are split into folds; None if they cannot be."""

    def for_outputs(self, _outputs: Sequence[str]) -> "Task":
        """Return the task for data with these outputs, as `Data.outputs`; by default, the same task."""
        return self

    def for_targets(self, _targets: Array) -> "Task":
        """Return the task for training targets (examples, …); by default, the same task."""
        return self

    @abstractmethod
    def predict(self, estimator: Any, inputs: Any) -> Array:
        """Return the predictions of a fitted scikit-learn estimator, in the shape of the network's output."""

    def predictions_for(self, predict: Callable[[Any], Array], pair: Pair) -> Array:
        """Return the predictions for `pair`'s inputs that `score` uses: by default, all of them.

        An override can call `predict` on some examples at a time if the whole output does not fit into memory.

        Args:
            predict: Inputs -> predictions (examples, …).
            pair: Inputs and targets of one part of the data.
        """
        return predict(pair[0])

    def choose_threshold(self, _targets: Array, _predict: Callable[[], Array]) -> Self:
        """Return the task with its decision threshold chosen on the validation set; by default, the same task.

        Args:
            _targets: Targets of the validation set.
            _predict: Returns the predictions for the validation set.
        """
        return self

    def chosen(self) -> dict[str, float]:
        """Return values that `choose_threshold` chose, by name, as metrics of a run; by default, none."""
        return {}

    @abstractmethod
    def score(self, targets: Array, predictions: Array) -> dict[str, float]:
        """Return the metrics of one part of the data, by name, from `predictions_for`'s result."""

    def comparison(self, metrics: Mapping[str, float]) -> tuple[str, float]:
        """Return the metric by which a network is compared with its baselines; by default, `metric`.

        Args:
            metrics: Metrics of a run; those of the test set have names `test_*`.

        Returns:
            Name of the metric, and its value on the test set, or NaN if the run has none.
        """
        return self.metric, metrics.get(f"test_{self.metric}", np.nan)

    def symptoms(self, _targets: Array, _predictions: Array, _outputs: Sequence[str]) -> list[str]:
        """Return a sentence for each peculiarity of the predictions for one part of the data; by default, none.

        Args:
            _targets: Targets of that part.
            _predictions: As for `score`.
            _outputs: Names of the outputs.
        """
        return []

    def model_metrics(self, _model: "keras.Model", _config: Any, _data: Data) -> dict[str, float]:
        """Return metrics of the test set that need the network itself; by default, none."""
        return {}

    @abstractmethod
    def summary(self, metrics: Mapping[str, float], examples: int) -> dict[str, str]:
        """Return the test results as text, given `metrics` with names `test_*` and the number of test examples."""

    def tables(self, _targets: Array, _predictions: Array, _outputs: Sequence[str]) -> "Mapping[str, pd.DataFrame]":
        """Return tables of the test results by name, from the arguments of `score` and the names of the outputs."""
        return {}

    @abstractmethod
    def figures(self, trained: Trained) -> Iterator[tuple[str, "Figure"]]:
        """Yield the name and the figure of each plot of a run."""

    @abstractmethod
    def answers(self, predictions: Array, outputs: Sequence[str]) -> "pd.DataFrame":
        """Return a table with one row per answer. Columns with the names of `outputs` are details."""


def is_imbalanced(labels: Array) -> bool:
    """Return whether the rarest class of integer labels has less than `RARE` times the share of equal classes."""
    counts = np.bincount(labels)
    counts = counts[counts > 0]
    return bool(counts.min() * len(counts) < RARE * counts.sum())


@dataclass(frozen=True)
class Classification(Task):
    """Classification: predictions are probabilities (examples, classes), targets are integer labels (examples,)."""

    monitor: str = "val_accuracy"
    mode: Mode = "max"
    metric: ClassVar[str] = "accuracy"
    metric_mode: ClassVar[Mode] = "max"
    fold_strategy: ClassVar[FoldStrategy | None] = "stratified"
    tune_threshold: bool = False
    """Whether to choose, for two classes, the threshold that maximises the F1 of the second class on validation."""
    threshold: float | None = None
    """Probability from which the second class is predicted; None: the most probable class is predicted."""
    decision_weights: Sequence[float] = ()
    """Weight of each class's probability in the decision, if there is no threshold; empty: all are the same."""
    rejects: bool = False
    """Whether probabilities may sum to less than 1, and the rest is that of no class."""
    rejection: float | None = None
    """Probability of the predicted class below which the answer is `NONE`; None: never."""
    rejected: float = 0.0
    """Share of the validation examples with this answer."""

    def for_targets(self, targets: Array) -> Task:
        """Return the task that monitors the loss if a class is rare: accuracy is high even if it is never predicted."""
        if self.monitor != "val_accuracy" or not is_imbalanced(targets):
            return self
        return replace(self, monitor="val_loss", mode="min")

    def choose_threshold(self, targets: Array, predict: Callable[[], Array]) -> Self:
        if self.rejects and (1 - (probabilities := predict()).sum(axis=1)).max() > NO_CLASS:
            rejection = float(np.quantile(self._probability(probabilities), REJECTED))
            chosen = replace(self, rejection=rejection)
            return replace(chosen, rejected=float(chosen.is_rejected(probabilities).mean()))
        if not self.tune_threshold or (probabilities := predict()).shape[1] != 2:
            return self
        return replace(self, threshold=scores.best_threshold(targets, probabilities[:, 1]))

    def _probability(self, probabilities: Array) -> Array:
        """Return the probability of the predicted class (examples,)."""
        predicted: Array = probabilities[np.arange(len(probabilities)), self.decide(probabilities)]
        return predicted

    def is_rejected(self, probabilities: Array) -> Array:
        """Return whether the answer to each example is `NONE`, (examples,), for `probabilities` (examples, classes)."""
        return self._probability(probabilities) < (self.rejection or 0.0)

    def chosen(self) -> dict[str, float]:
        return {} if self.rejection is None else {"rejection": self.rejection, "rejected_validation": self.rejected}

    def decide(self, probabilities: Array) -> Array:
        """Return the predicted labels (examples,) for `probabilities` (examples, classes)."""
        if self.threshold is not None:
            return (probabilities[:, 1] >= self.threshold).astype(int)
        return (probabilities * np.array(self.decision_weights or 1)).argmax(axis=1)

    def predict(self, estimator: Any, inputs: Any) -> Array:
        return estimator.predict_proba(inputs)

    def score(self, targets: Array, predictions: Array) -> dict[str, float]:
        metrics = scores.classification_metrics(targets, predictions, self.decide(predictions))
        if self.threshold is not None:
            metrics |= scores.binary_metrics(targets, predictions[:, 1], self.threshold)
        return metrics

    def comparison(self, metrics: Mapping[str, float]) -> tuple[str, float]:
        """Return `roc_auc` if a threshold is chosen: it is chosen for the F1, so the accuracy says little."""
        return ("roc_auc", metrics["test_roc_auc"]) if "test_roc_auc" in metrics else super().comparison(metrics)

    def symptoms(self, targets: Array, predictions: Array, outputs: Sequence[str]) -> list[str]:
        decided = self.decide(predictions)
        examples, predicted = (np.bincount(labels, minlength=len(outputs)) for labels in (targets.ravel(), decided))
        found = [
            f"the class {outputs[int(label)]} is never predicted: it has {examples[label]:,} of the test examples"
            for label in np.flatnonzero((predicted == 0) & (examples >= EXPECTED))
        ]
        most, correct = examples.max() / len(targets), float((decided == targets.ravel()).mean())
        if most - correct > (most * (1 - most) / len(targets)) ** 0.5:
            line = f"less accurate than the answer {outputs[int(examples.argmax())]} for every example"
            found.append(f"{line}: {100 * correct:.1f} % are correct, not {100 * most:.1f} %{self._aim(outputs)}")
        if self.decision_weights:
            found.append(BALANCED + (ALIKE if self.threshold is None else ""))
        return found

    def _aim(self, outputs: Sequence[str]) -> str:
        """Return words for the aim of the decision, if it is not the accuracy."""
        if self.threshold is not None:
            return f"; the threshold {self.threshold:.2g} is chosen for the F1 of {outputs[1]}"
        return "; balanced classes count alike" if self.decision_weights else ""

    def summary(self, metrics: Mapping[str, float], examples: int) -> dict[str, str]:
        low, high = (100 * metrics[f"test_error_{side}"] for side in ("low", "high"))
        words = {
            "test accuracy": f"{100 * metrics['test_accuracy']:.2f} % of {examples:,} examples",
            "test error": f"{100 * metrics['test_error']:.2f} %, 95 % interval {low:.2f} to {high:.2f} %",
        }
        if "test_threshold" in metrics:
            names = {"precision": "precision", "recall": "recall", "f1": "F1", "roc_auc": "area under the ROC curve"}
            values = ", ".join(f"{word} {metrics[f'test_{name}']:.4f}" for name, word in names.items())
            words["test of class 2"] = f"at the threshold {metrics['test_threshold']:.4f}: {values}"
        if "rejection" in metrics:
            words[NONE] = (
                f"the answer of predict if the class has a probability below {metrics['rejection']:.2g}, as for "
                f"{100 * metrics['rejected_validation']:.1f} % of the validation examples"
            )
        return words

    def tables(self, targets: Array, predictions: Array, outputs: Sequence[str]) -> "Mapping[str, pd.DataFrame]":
        return {"classes": scores.class_metrics(targets, self.decide(predictions), outputs)}

    def figures(self, trained: Trained) -> Iterator[tuple[str, "Figure"]]:
        return by_task.classification_figures(trained, self.decide(trained.predictions), self.threshold)

    def answers(self, predictions: Array, outputs: Sequence[str]) -> "pd.DataFrame":
        import pandas as pd

        names = np.array(outputs, object)[self.decide(predictions)]
        probability, rejected = self._probability(predictions), self.is_rejected(predictions)
        answers = {
            "class": np.where(rejected, NONE, names),
            "probability": np.where(rejected, 1 - predictions.sum(axis=1), probability),
        }
        return pd.DataFrame(answers | dict(zip(outputs, predictions.T, strict=True)))


@dataclass(frozen=True)
class Regression(Task):
    """Regression: predictions and targets are numbers (examples, variables)."""

    monitor: str = "val_loss"
    mode: Mode = "min"
    metric: ClassVar[str] = "rmse"
    metric_mode: ClassVar[Mode] = "min"
    fold_strategy: ClassVar[FoldStrategy | None] = "shuffled"

    def predict(self, estimator: Any, inputs: Any) -> Array:
        predictions: Array = estimator.predict(inputs)
        return predictions.reshape(len(predictions), -1)

    def score(self, targets: Array, predictions: Array) -> dict[str, float]:
        return scores.regression_metrics(targets, predictions)

    def summary(self, metrics: Mapping[str, float], examples: int) -> dict[str, str]:
        rmse, mae, r2 = (metrics[f"test_{name}"] for name in ("rmse", "mae", "r2"))
        return {
            "test error": f"root mean square {rmse:.4g}, mean absolute {mae:.4g}, {examples:,} examples",
            "test R²": f"{r2:.4f}",
        }

    def figures(self, trained: Trained) -> Iterator[tuple[str, "Figure"]]:
        return by_task.regression_figures(trained)

    def answers(self, predictions: Array, outputs: Sequence[str]) -> "pd.DataFrame":
        import pandas as pd

        return pd.DataFrame(predictions, columns=list(outputs))


@dataclass(frozen=True)
class ByTarget(Regression):
    """Classification or regression, as the target of the data is: a class has several outputs, a quantity one."""

    def for_outputs(self, outputs: Sequence[str]) -> Task:
        """Return a regression for one output, and a classification that monitors the same metric for several."""
        if len(outputs) == 1:
            return Regression(self.monitor, self.mode)
        return Classification(self.monitor, self.mode, tune_threshold=True)


@dataclass(frozen=True)
class Forecast(Regression):
    """Forecast of the steps after a window: predictions and targets are numbers (examples, steps, variables)."""

    fold_strategy: ClassVar[FoldStrategy | None] = "in order"
    power: float = 0.0
    """Power of the forecast to which errors are proportional; this and the next are of `intervals.calibrate`."""
    spread: Sequence[Sequence[float]] = ()
    """Spread of the errors of each step (steps, variables); empty if there are no intervals."""
    multiples: Sequence[Sequence[float]] = ()
    """Half of the width of an interval in spreads (levels, variables)."""

    def choose_threshold(self, targets: Array, predict: Callable[[], Array]) -> Self:
        """Return the task with intervals that hold for the errors on the validation set."""
        power, spread, multiples = intervals.calibrate(targets, predict())
        return replace(self, power=power, spread=spread.tolist(), multiples=multiples.tolist())

    def predict(self, estimator: Any, inputs: Any) -> Array:
        return estimator.predict(inputs)

    def half_widths(self, predictions: Array) -> Array:
        """Return half of the widths of the intervals of `predictions`, (levels, examples, steps, variables)."""
        return intervals.half_widths(predictions, self.power, np.array(self.spread), np.array(self.multiples))

    def score(self, targets: Array, predictions: Array) -> dict[str, float]:
        variables = targets.shape[-1]
        metrics = super().score(targets.reshape(-1, variables), predictions.reshape(-1, variables))
        if not self.spread:
            return metrics
        return metrics | intervals.coverage(targets, predictions, self.half_widths(predictions))

    def symptoms(self, targets: Array, predictions: Array, outputs: Sequence[str]) -> list[str]:
        if not self.spread:
            return []
        inside = intervals.coverage(targets, predictions, self.half_widths(predictions))["coverage_95"]
        if inside >= NARROW:
            return []
        found = f"those of 95 % contain {100 * inside:.0f} % of the test values"
        return [f"intervals too narrow: {found}; the errors are larger than on the validation part"]

    def summary(self, metrics: Mapping[str, float], examples: int) -> dict[str, str]:
        words = super().summary(metrics, examples)
        if "test_coverage_80" in metrics:
            inside = {level: f"{100 * metrics[f'test_coverage_{level}']:.0f} %" for level in intervals.LEVELS}
            shares = (f"{share} in those of {level} %" for level, share in inside.items())
            words["test intervals"] = f"contain {', '.join(shares)}"
        return words

    def figures(self, trained: Trained) -> Iterator[tuple[str, "Figure"]]:
        return by_task.forecast_figures(trained, self.half_widths(trained.predictions) if self.spread else None)

    def answers(self, predictions: Array, outputs: Sequence[str]) -> "pd.DataFrame":
        flat = predictions.reshape(-1, len(outputs))
        answers = super().answers(flat, outputs)
        if not self.spread:
            return answers
        steps = predictions.shape[1] if predictions.ndim == 3 else len(self.spread)
        outer = list(enumerate(intervals.LEVELS))
        widths = self.half_widths(flat.reshape(-1, steps, len(outputs))).reshape(len(outer), -1, len(outputs))
        for column, name in enumerate(outputs):
            prefix = f"{name} " if len(outputs) > 1 else ""
            middle = flat[:, column]
            for level, percent in reversed(outer):
                answers[f"{prefix}lower {percent} %"] = middle - widths[level, :, column]
            answers[f"{prefix}median"] = middle
            for level, percent in outer:
                answers[f"{prefix}upper {percent} %"] = middle + widths[level, :, column]
        return answers
