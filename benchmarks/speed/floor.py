"""The rate of large matrix products in single precision: python -m benchmarks.speed.floor prints it as JSON."""

import json
import time

import numpy as np

SIDE = 2048


def rates(repeats: int = 8) -> tuple[float, float]:
    """Return operations per wall second and per processor second, of the fastest of several products."""
    left, right = np.random.default_rng(0).random((2, SIDE, SIDE), dtype="float32")
    found = []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        np.matmul(left, right)
        found.append((time.perf_counter() - wall, time.process_time() - cpu))
    return 2 * SIDE**3 / min(wall for wall, _ in found), 2 * SIDE**3 / min(cpu for _, cpu in found)


if __name__ == "__main__":
    print(json.dumps(rates()))
