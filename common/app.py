"""The application: settings, data, network, task, and the options of its `predict` command."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.config import Config, check_bounds
from common.data import Array, Data, Inputs
from common.errors import UserError

if TYPE_CHECKING:
    import keras
    import pandas as pd
    from matplotlib.figure import Figure

    from common import tasks
    from common.data import SavedModel, Trained


@dataclass(frozen=True)
class PredictOptions:
    """What `predict` is asked, beside files; an app's own class adds flags, and answers by them."""

    def __post_init__(self) -> None:
        """Hold every field to its bounds, as `check_bounds` does."""
        check_bounds(self)

    def check(self, app: "App", files: Sequence[str]) -> None:
        """See that something is asked, before anything is loaded.

        Raises:
            UserError: where nothing is.
        """
        if not files:
            raise UserError(f"predict needs files; see python -m apps.{app.name} predict --help")

    def read(self, app: "App", files: Sequence[str], saved: "SavedModel") -> tuple[list[str], Inputs]:
        """A name an example, and the examples as the `saved` model takes them."""
        return app.read_inputs(files, saved)

    def answers(
        self, task: "tasks.Task", names: Sequence[str], _inputs: Inputs, predictions: Array, outputs: Sequence[str]
    ) -> "pd.DataFrame":
        """What is written down: the task's answers, a row an example, the example's name first."""
        answers = task.answers(predictions, outputs)
        answers.insert(0, "input", names)
        return answers


@dataclass(frozen=True)
class App:
    """An application: settings, data, network; and how to read what a user wants predicted."""

    config: type[Config]
    load_data: Callable[[Any], Data]
    build_model: Callable[[Any, Data], "keras.Model"]
    read_inputs: Callable[[Sequence[str], "SavedModel"], tuple[list[str], Inputs]]
    """(what the user gave to predict, the saved model) to (a name an answer, the inputs as the model takes them)."""
    baseline: Callable[[Any, Data], Any]
    """(settings, data) to an unfitted scikit-learn estimator that the network has to beat, or several by name."""
    task: "tasks.Task"
    """How the network's answers are compared, measured, drawn and written down."""
    tables: Callable[["Trained"], Iterable[tuple[str, "pd.DataFrame"]]] = lambda _trained: ()
    """What can be read off a trained network, name by name: shown by `train`, and kept with the run."""
    pretrain: Callable[["keras.Model", Any, Data], Iterable[tuple[str, "Figure"]]] = lambda _model, _config, _data: ()
    """(network, settings, data): what is done to a network before it is trained, and pictures of what came of it."""
    predict_options: type[PredictOptions] = PredictOptions
    """Further flags of `predict`, and what they mean."""

    @property
    def name(self) -> str:
        """The app's file name, which is also how it is run and tagged: `python -m apps.NAME`."""
        return Path(inspect.getfile(self.config)).stem
