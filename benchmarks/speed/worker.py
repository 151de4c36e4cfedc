"""The process of a contestant: python -m benchmarks.speed.worker ROW CONTESTANT FOLDER ROUNDS EXAMPLES."""

import json
import os
import resource
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from benchmarks.speed.gate import Gate, Run
from benchmarks.speed.rows import CONTESTANTS, find


def main(name: str, contestant: str, folder: str, rounds: str, examples: str) -> None:
    """Train a row, round by round, then answer with its test results and the peak of its memory in MiB."""
    # Libraries write to standard output, too. The parent reads only answers.
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    row = find(name, int(examples))
    gate = Gate(channel, 1 if row.jobs else row.epochs, int(rounds))
    who, kept = CONTESTANTS[contestant], Path(folder)
    module = import_module(f"benchmarks.speed.{who.module}")
    train = getattr(module, row.function or row.name, None) or module.any_row
    config = SimpleNamespace(**json.loads((kept / f"{name}.json").read_text()))
    with np.load(kept / f"{name}.npz") as data:
        results = train(Run(row, gate, who.option, folder, config, dict(data)))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    print(json.dumps({"results": results, "peak": peak}), file=channel, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
