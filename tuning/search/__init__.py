"""The search engine of every tuning file.

    python -m tuning.lenet5 --algorithm bayesian --trials 30

KerasTuner proposes settings, the app trains with them, and MLflow records each trial. The command asks
KerasTuner for settings and gives them to its workers, which train. The same command resumes a search that was
interrupted.
"""

from tuning.search.command import main

__all__ = ["main"]
