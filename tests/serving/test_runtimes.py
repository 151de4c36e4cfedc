"""The process that runs an exported model."""

import subprocess
import sys

import psutil

from tests.conftest import ROOT

PROGRAM = """
import time
from pathlib import Path

import psutil

from common.serving import runtimes

with runtimes.in_new_process("none", Path("none")) as run:
    try:
        run({})
    except KeyError:
        print(*(child.pid for child in psutil.Process().children()), flush=True)
    time.sleep(60)
"""


def test_it_ends_with_the_command_that_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAM], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        children = [psutil.Process(int(pid)) for pid in process.stdout.readline().split()]
        process.kill()
    assert children
    _, left = psutil.wait_procs(children, timeout=20)
    assert not left
