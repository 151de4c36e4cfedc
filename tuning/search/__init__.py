"""The search behind every tuning file: KerasTuner proposes settings, the app trains with them, MLflow records it all.

    python -m tuning.lenet5 --algorithm bayesian --trials 30

A chief process asks KerasTuner for settings and watches over worker processes, which train. The same command goes on
where it was cut off.
"""

from tuning.search.command import main

__all__ = ["main"]
