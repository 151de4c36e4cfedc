"""Compute and measure how trainings scale over several devices.

python -m benchmarks.scaling cost --machine h200     # 1 to 1,024 GPUs: measured sizes, published links
python -m benchmarks.scaling model-parallel          # AlexNet on two devices: weights and bytes between them
python -m benchmarks.scaling strong                  # one and two cores, as one and two devices of JAX; Linux only
"""

import tyro

from benchmarks.scaling.cost import cost
from benchmarks.scaling.model_parallel import model_parallel
from benchmarks.scaling.strong import strong

tyro.extras.subcommand_cli_from_dict({"cost": cost, "model-parallel": model_parallel, "strong": strong})
