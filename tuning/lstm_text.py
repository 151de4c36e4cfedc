"""Search the settings of the bidirectional LSTM on sentences.

python -m tuning.lstm_text --trials 20
"""

from typing import Any

from apps.lstm_text import Settings, app
from tuning import search


def space(hp: Any) -> Settings:
    """Draw size, summary, dropout and optimisation of a trial."""
    return Settings(
        embedding=hp.Choice("embedding", [50, 100, 200]),
        units=hp.Choice("units", [16, 32, 64]),
        summary=hp.Choice("summary", ["last", "mean"]),
        word_dropout=hp.Float("word_dropout", 0.0, 0.6, step=0.1),
        dropout=hp.Float("dropout", 0.0, 0.6, step=0.1),
        learning_rate=hp.Float("learning_rate", 3e-4, 1e-2, sampling="log"),
        batch_size=hp.Choice("batch_size", [32, 64, 128]),
    )


if __name__ == "__main__":
    search.main(app, space, __doc__)
