"""Check the installation and say how to fix its problems: `make doctor`."""

import importlib.metadata
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import keras
from packaging.requirements import Requirement
from rich.console import Console

from common import lazy
from common.cli import terminal
from common.cli.parsing import run_program
from common.errors import UserError
from common.files import ROOT
from common.preprocessing import download
from common.serving import http

OLDEST, NEWEST = (3, 11), (3, 13)
"""Versions of Python that the suite supports."""
SPACE = 2 * 2**30
"""Free bytes that data sets and some runs need."""
PORT = 5000
"""Port of `make ui`."""


@dataclass(frozen=True)
class Finding:
    """The result of a check."""

    text: str
    fix: str = ""
    """The action that fixes a problem; empty if there is none."""
    must: bool = True
    """Whether the suite does not work until it is fixed."""


def main() -> None:
    """Check Python, packages, GPU, data cache, store, disk space and port 5000, and say how to fix each problem.

    The exit status is 1 if something must be fixed.
    """
    checks: dict[str, Callable[[], Iterator[Finding]]] = {
        "Python": python,
        "packages": packages,
        "device": device,
        "data cache": data_cache,
        "store": store,
        "disk space": disk_space,
        "port": port,
    }
    found = {name: list(check()) for name, check in checks.items()}
    rows = {name: "\n".join(map(_line, findings)) for name, findings in found.items()}
    Console().print(terminal.key_values(rows), highlight=False)
    if fixes := dict.fromkeys(finding.fix for findings in found.values() for finding in findings if finding.fix):
        print("to fix", *fixes, sep="\n  ")
    if any(finding.fix and finding.must for findings in found.values() for finding in findings):
        sys.exit(1)


def _line(finding: Finding) -> str:
    if not finding.fix:
        return f"ok: {finding.text}"
    return f"{'problem' if finding.must else 'note'}: {finding.text}"


def python() -> Iterator[Finding]:
    """Check the version of Python."""
    text = f"{sys.version_info.major}.{sys.version_info.minor}, {terminal.this_python()}"
    inside = OLDEST <= sys.version_info[:2] <= NEWEST
    fix = "make clean, then make train PYTHON=python3.12; versions 3.11 to 3.13 work"
    yield Finding(text, "" if inside else fix)


def packages(requirements: Path = ROOT / "requirements.txt") -> Iterator[Finding]:
    """Compare the versions of the installed packages with those in the requirements."""
    lines = re.findall(r"^[\w.-]+==[^\\\n]+", requirements.read_text(encoding="utf-8"), re.MULTILINE)
    pins = [pin for pin in map(Requirement, lines) if pin.marker is None or pin.marker.evaluate()]
    fix = f"{terminal.this_python()} -m pip install --require-hashes -r {requirements.name}"
    good = True
    for pin in pins:
        try:
            installed = importlib.metadata.version(pin.name)
        except importlib.metadata.PackageNotFoundError:
            installed = ""
        if not installed or installed not in pin.specifier:
            good = False
            yield Finding(f"{pin.name} {installed or 'is not installed'}, {requirements.name} has {pin.specifier}", fix)
    if good:
        yield Finding(f"{len(pins)} as in {requirements.name}")


def device() -> Iterator[Finding]:
    """Check that Keras sees the GPU of this machine, if there is one."""
    try:
        with lazy.quiet_native_log():
            devices = keras.distribution.list_devices()
            backend = keras.backend.backend()
    except ImportError as error:
        yield Finding(f"Keras cannot be imported ({error})", "install the packages of requirements.txt")
        return
    gpus = [name for name in devices if not name.startswith("cpu")]
    text = f"{', '.join(devices)} on {backend}"
    fix = f"{terminal.this_python()} -m pip install --require-hashes -r requirements-gpu.txt"
    if shutil.which("nvidia-smi") and not gpus:
        yield Finding(f"{text}; this machine has an NVIDIA driver, but Keras sees no GPU", fix, must=False)
    else:
        yield Finding(text)


def data_cache() -> Iterator[Finding]:
    """Check that data sets can be stored."""
    folder = download.cache_folder()
    place = _existing(folder)
    fix = "" if _is_writable(place) else "make it writable, or set KERAS_HOME to another folder"
    yield Finding(f"{folder}" if not fix else f"{place} cannot be written", fix)


def store() -> Iterator[Finding]:
    """Check that the runs can be read and recorded."""
    from common import tracking
    from common.tracking import store as stores

    try:
        tracking.connect()
        stores.check_writable()
    except UserError as error:
        problem, _, fix = str(error).rpartition("; ")
        yield Finding(problem or fix, fix if problem else "see docs/reliability.md")
    else:
        yield Finding(tracking.folder())


def disk_space() -> Iterator[Finding]:
    """Check the free space of the disks with runs and data."""
    from common import tracking

    for name, folder in {"runs": tracking.local_folder(), "data": download.cache_folder()}.items():
        free = shutil.disk_usage(_existing(folder)).free
        fix = "" if free >= SPACE else f"free at least {SPACE / 2**30:.0f} GB; make clean keeps runs and data"
        yield Finding(f"{free / 2**30:,.0f} GB free for {name}", fix)


def port(number: int = PORT) -> Iterator[Finding]:
    """Check that `make ui` can listen."""
    try:
        http.listen(number, "").close()
        yield Finding(f"{number} is free for make ui")
    except UserError:
        fix = f"if make ui does not use it itself, choose another: make ui PORT={number + 1}"
        yield Finding(f"{number} is in use", fix, must=False)


def _existing(folder: Path) -> Path:
    """Return the folder, or the first one above it that exists."""
    return next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())


def _is_writable(folder: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


if __name__ == "__main__":
    run_program(main)
