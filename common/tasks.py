"""What a network is asked for, and so how its answers are compared, measured, drawn and written down.

Apps import this file, and `--help` must answer at once: what takes long to import is imported where it is used.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np

from common.app import Array, Data, Pair

if TYPE_CHECKING:
    import keras
    import pandas as pd
    from matplotlib.figure import Figure


Direction = Literal["min", "max"]
Dealing = Literal["stratified", "shuffled", "in order"]


@dataclass(frozen=True)
class Trained:
    """A trained network, with what its pictures are drawn from."""

    model: "keras.Model"
    data: Data
    history: Mapping[str, Sequence[float]]
    """Each epoch's figures, by name."""
    best_epoch: int
    """Counted from 1."""
    predictions: Array
    """The network's outputs for the test set: those that are judged."""
    config: Any
    """The app's settings it was trained with."""


@dataclass(frozen=True)
class Task(ABC):
    """How the answers of a network are judged; its fields are kept with a saved model."""

    objective: str
    """The validation figure by which the best epoch, the champion and the best trial are chosen."""
    direction: Direction
    """Which values of it are better."""
    figure: ClassVar[str]
    """The one of `measure`'s figures that stands for all where there is room for one."""
    better: ClassVar[Direction]
    """Which values of it are better."""
    dealing: ClassVar[Dealing | None] = None
    """How the examples are dealt to folds; None where they cannot be."""

    @abstractmethod
    def predict(self, estimator: Any, inputs: Any) -> Array:
        """The outputs of a fitted scikit-learn estimator, in the form of the network's."""

    def judged(self, predict: Callable[[Any], Array], pair: Pair) -> Array:
        """The outputs that `measure` judges, of those that `predict` gives for inputs: by default all for the pair's.

        Where all would not fit into memory, it asks for some examples at a time, and keeps what their targets judge.
        """
        return predict(pair[0])

    def settle(self, _targets: Array, _predict: Callable[[], Array]) -> Self:
        """The task with what is chosen on the validation set, whose outputs `_predict` gives; by default nothing is."""
        return self

    @abstractmethod
    def measure(self, targets: Array, predictions: Array) -> dict[str, float]:
        """The figures of one part of the data."""

    def examine(self, _model: "keras.Model", _config: Any, _data: Data) -> dict[str, float]:
        """Figures of the test set that need the network itself and not only its answers; by default none."""
        return {}

    @abstractmethod
    def summary(self, figures: Mapping[str, float], examples: int) -> dict[str, str]:
        """What was measured on the test set, `figures` by `test_*` names, in a person's words."""

    @abstractmethod
    def pictures(self, trained: Trained) -> Iterator[tuple[str, "Figure"]]:
        """A name and a picture, for every picture that a run keeps."""

    @abstractmethod
    def answers(self, predictions: Array, outputs: Sequence[str]) -> "pd.DataFrame":
        """What is written down for `predictions`, a row an answer; the columns called as `outputs` are details."""


@dataclass(frozen=True)
class Classification(Task):
    """One of several classes: the network puts out probabilities (examples, classes), targets are integer labels."""

    objective: str = "val_accuracy"
    direction: Direction = "max"
    figure: ClassVar[str] = "accuracy"
    better: ClassVar[Direction] = "max"
    dealing: ClassVar[Dealing | None] = "stratified"
    choose_threshold: bool = False
    """Whether, of two classes, the second is answered from a probability on that gives it the best F1 on validation."""
    threshold: float | None = None
    """That probability, once it is chosen; the likelier class is answered where there is none."""

    def settle(self, targets: Array, predict: Callable[[], Array]) -> Self:
        from common import metrics

        if not self.choose_threshold or (probabilities := predict()).shape[1] != 2:
            return self
        return replace(self, threshold=metrics.best_threshold(targets, probabilities[:, 1]))

    def decide(self, probabilities: Array) -> Array:
        """The labels that are answered, (examples,)."""
        if self.threshold is None:
            return probabilities.argmax(axis=1)
        return (probabilities[:, 1] >= self.threshold).astype(int)

    def predict(self, estimator: Any, inputs: Any) -> Array:
        return estimator.predict_proba(inputs)

    def measure(self, targets: Array, predictions: Array) -> dict[str, float]:
        from common import metrics

        figures = metrics.classification(targets, predictions, self.decide(predictions))
        if self.threshold is not None:
            figures |= metrics.binary(targets, predictions[:, 1], self.threshold)
        return figures

    def summary(self, figures: Mapping[str, float], examples: int) -> dict[str, str]:
        low, high = (100 * figures[f"test_error_{side}"] for side in ("low", "high"))
        words = {
            "test accuracy": f"{100 * figures['test_accuracy']:.2f} % of {examples:,} examples",
            "test error": f"{100 * figures['test_error']:.2f} %, 95 % interval {low:.2f} to {high:.2f} %",
        }
        if "test_threshold" in figures:
            names = {"precision": "precision", "recall": "recall", "f1": "F1", "roc_auc": "area under the ROC curve"}
            said = ", ".join(f"{word} {figures[f'test_{name}']:.4f}" for name, word in names.items())
            words["test of class 2"] = f"from probability {figures['test_threshold']:.4f} on: {said}"
        return words

    def pictures(self, trained: Trained) -> Iterator[tuple[str, "Figure"]]:
        from common import report

        return report.classification(trained, self.decide(trained.predictions), self.threshold)

    def answers(self, predictions: Array, outputs: Sequence[str]) -> "pd.DataFrame":
        import pandas as pd

        labels = self.decide(predictions)
        probability = predictions[np.arange(len(labels)), labels]
        said = {"class": [outputs[label] for label in labels], "probability": probability}
        return pd.DataFrame(said | dict(zip(outputs, predictions.T, strict=True)))


@dataclass(frozen=True)
class Regression(Task):
    """Quantities: the network puts out numbers (examples, quantities), as the targets are."""

    objective: str = "val_loss"
    direction: Direction = "min"
    figure: ClassVar[str] = "rmse"
    better: ClassVar[Direction] = "min"
    dealing: ClassVar[Dealing | None] = "shuffled"

    def predict(self, estimator: Any, inputs: Any) -> Array:
        predictions: Array = estimator.predict(inputs)
        return predictions.reshape(len(predictions), -1)

    def measure(self, targets: Array, predictions: Array) -> dict[str, float]:
        from common import metrics

        return metrics.regression(targets, predictions)

    def summary(self, figures: Mapping[str, float], examples: int) -> dict[str, str]:
        rmse, mae, r2 = (figures[f"test_{name}"] for name in ("rmse", "mae", "r2"))
        return {
            "test error": f"root mean square {rmse:.4g}, mean absolute {mae:.4g}, {examples:,} examples",
            "test R²": f"{r2:.4f}",
        }

    def pictures(self, trained: Trained) -> Iterator[tuple[str, "Figure"]]:
        from common import report

        return report.regression(trained)

    def answers(self, predictions: Array, outputs: Sequence[str]) -> "pd.DataFrame":
        import pandas as pd

        return pd.DataFrame(predictions, columns=list(outputs))


class Forecast(Regression):
    """The steps after a window: the network puts out numbers (examples, steps, quantities), as the targets are."""

    dealing: ClassVar[Dealing | None] = "in order"

    def measure(self, targets: Array, predictions: Array) -> dict[str, float]:
        quantities = targets.shape[-1]
        return super().measure(targets.reshape(-1, quantities), predictions.reshape(-1, quantities))

    def pictures(self, trained: Trained) -> Iterator[tuple[str, "Figure"]]:
        from common import report

        return report.forecast(trained)

    def answers(self, predictions: Array, outputs: Sequence[str]) -> "pd.DataFrame":
        return super().answers(predictions.reshape(-1, len(outputs)), outputs)
