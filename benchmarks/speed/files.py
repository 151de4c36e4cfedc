"""The files that commands read, generated or copied from the suite's data.

Peers import this module, so it imports pandas and Pillow only where it needs them.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np

from common.files import ROOT

COLUMNS = 20
PHOTOGRAPHS = 2000


def table(folder: Path, rows: int) -> None:
    """Write table_ROWS.csv: the columns x0, x1, … of normal numbers, and y, a sum of them with noise."""
    import pandas as pd

    path = folder / f"table_{rows}.csv"
    if path.exists():
        return
    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.standard_normal((rows, COLUMNS)), columns=[f"x{index}" for index in range(COLUMNS)])
    frame["y"] = 3 + frame @ np.arange(1, COLUMNS + 1) / COLUMNS + random.standard_normal(rows)
    frame.to_csv(path, index=False, float_format="%.6f")


def mnist(folder: Path) -> None:
    """Write mnist.npz, as Keras's own data set is, and one.png, its first test image."""
    from PIL import Image

    from common.preprocessing import datasets

    raw = datasets.load("mnist")
    (x_train, y_train), (x_test, y_test) = raw.train, raw.test
    np.savez(folder / "mnist.npz", x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    Image.fromarray(x_test[0]).save(folder / "one.png")


def photographs(folder: Path) -> None:
    """Write photographs/CLASS/NUMBER.jpg of 500 x 375 pixels; the classes differ in their mean colour."""
    from PIL import Image

    random = np.random.default_rng(0)
    for number in range(PHOTOGRAPHS):
        label = number % 4
        place = folder / "photographs" / f"class{label}"
        place.mkdir(parents=True, exist_ok=True)
        small = random.integers(0, 200, (12, 16, 3))
        small[..., label % 3] += 20 * (label + 1) % 55
        coarse = Image.fromarray(small.astype("uint8")).resize((500, 375), Image.Resampling.BICUBIC)
        noise = random.integers(0, 24, (375, 500, 1), dtype="uint8")
        Image.fromarray(np.asarray(coarse) // 16 * 15 + noise // 2).save(place / f"{number}.jpg", quality=85)


DRY_RUN = """
import runpy, sys
from tuning.search import dry_run
dry_run.SHOWN = int(sys.argv[1])
del sys.argv[1]
runpy.run_module("tuning.lenet5", run_name="__main__")
"""
"""Prints as many proposals of a search as its first argument says."""


def trials(folder: Path, number: int, flags: str) -> None:
    """Write trials.txt, the flags of the first trials of a search of lenet5, one on each line."""
    command = [sys.executable, "-c", DRY_RUN, str(number), "--dry-run", *flags.split()]
    shown = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    drawn = [line.partition(": ")[2] for line in shown if line[:1].isdigit()]
    (folder / "trials.txt").write_text("\n".join(drawn))
