"""What a network is asked for, and so how its answers are compared, measured, drawn and written down.

Apps import this file, and `--help` must answer at once: what takes long to import is imported where it is used.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from common.app import Array, Data

if TYPE_CHECKING:
    import keras
    import pandas as pd
    from matplotlib.figure import Figure


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
    """The network's outputs for the test set."""


class Task(ABC):
    """How the answers of a network are judged."""

    objective: str
    """The validation figure by which the best epoch, the champion and the best trial are chosen."""
    direction: Literal["min", "max"]
    """Which values of it are better."""

    @abstractmethod
    def predict(self, estimator: Any, inputs: Any) -> Array:
        """The outputs of a fitted scikit-learn estimator, in the form of the network's."""

    @abstractmethod
    def measure(self, targets: Array, predictions: Array) -> dict[str, float]:
        """The figures of one part of the data."""

    @abstractmethod
    def summary(self, figures: Mapping[str, float], examples: int) -> dict[str, str]:
        """What was measured on the test set, `figures` by `test_*` names, in a person's words."""

    @abstractmethod
    def pictures(self, trained: Trained) -> Iterator[tuple[str, "Figure"]]:
        """A name and a picture, for every picture that a run keeps."""

    @abstractmethod
    def answers(self, predictions: Array, outputs: Sequence[str]) -> "pd.DataFrame":
        """What is written down for `predictions`, a row an answer; the columns called as `outputs` are details."""


class Classification(Task):
    """One of several classes: the network puts out probabilities (examples, classes), targets are integer labels."""

    objective = "val_accuracy"
    direction = "max"

    def predict(self, estimator: Any, inputs: Any) -> Array:
        return estimator.predict_proba(inputs)

    def measure(self, targets: Array, predictions: Array) -> dict[str, float]:
        from common import metrics

        return metrics.classification(targets, predictions)

    def summary(self, figures: Mapping[str, float], examples: int) -> dict[str, str]:
        low, high = (100 * figures[f"test_error_{side}"] for side in ("low", "high"))
        return {
            "test accuracy": f"{100 * figures['test_accuracy']:.2f} % of {examples:,} examples",
            "test error": f"{100 * figures['test_error']:.2f} %, 95 % interval {low:.2f} to {high:.2f} %",
        }

    def pictures(self, trained: Trained) -> Iterator[tuple[str, "Figure"]]:
        from common import report

        return report.classification(trained)

    def answers(self, predictions: Array, outputs: Sequence[str]) -> "pd.DataFrame":
        import pandas as pd

        best = predictions.argmax(axis=1)
        said = {"class": [outputs[index] for index in best], "probability": predictions.max(axis=1)}
        return pd.DataFrame(said | dict(zip(outputs, predictions.T, strict=True)))


class Regression(Task):
    """Quantities: the network puts out numbers (examples, quantities), as the targets are."""

    objective = "val_loss"
    direction = "min"

    def predict(self, estimator: Any, inputs: Any) -> Array:
        return estimator.predict(inputs)

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

    def measure(self, targets: Array, predictions: Array) -> dict[str, float]:
        quantities = targets.shape[-1]
        return super().measure(targets.reshape(-1, quantities), predictions.reshape(-1, quantities))

    def pictures(self, trained: Trained) -> Iterator[tuple[str, "Figure"]]:
        from common import report

        return report.forecast(trained)

    def answers(self, predictions: Array, outputs: Sequence[str]) -> "pd.DataFrame":
        return super().answers(predictions.reshape(-1, len(outputs)), outputs)
