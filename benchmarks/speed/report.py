"""Write docs/performance.md: the machine, a table for each group, and the sentences that a person has written."""

import os
import platform
import re
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.speed.contest import Measured
from common.files import ROOT

PAGE = ROOT / "docs" / "performance.md"
MARK = "<!-- written by hand from here on; `make benchmark` keeps it -->"
PACKAGES = ("tensorflow", "jax", "keras", "torch", "scikit-learn", "numpy", "pandas", "mlflow")
UNEXPLAINED = "not explained yet"
HEAD = """# Performance

Measured side by side by `make benchmark`, on {day}, commit {commit}: {machine}.

Each contestant is a process of its own. All are started first, and each trains for one round that compiles. Then they
work in turn, one at a time, for {rounds}. All this was done {times}. The tables have the
median of the rounds, and for wall time the smallest and the largest one. MiB is the largest resident memory of a
process, of the run in which it was smallest. Ratios are those of a contestant's median to the suite's, on the faster of
its backends by wall time: a ratio above 1 means that the suite is faster. Peers train the same network with the same
optimizer, schedule, batch size and data on the same split, after the same number of epochs; their code is in
`benchmarks/speed/`.

CPU seconds are those of all threads. PyTorch's OpenMP threads spin while they wait, which inflates its CPU seconds:
compare it by wall time. The floor is the time of the training's matrix products alone, at the rate that this machine
reached for products of large matrices of single precision: {rate}.
"""


@dataclass(frozen=True)
class Section:
    """A row with its measurements."""

    title: str
    name: str
    group: str
    measured: Mapping[str, Measured]
    floor: tuple[float, float] | None = None
    """Wall and CPU seconds of the products."""

    def extend(self, other: "Section") -> None:
        """Add the measurements of another run of the row."""
        for label, found in other.measured.items():
            self.measured[label].extend(found)


def heading(title: str) -> str:
    """Return the heading of a row's table."""
    return f"\n### {title}\n"


def has(page: str, title: str) -> bool:
    """Return whether a page has a row with this title."""
    return heading(title) in page


def fastest(section: Section, suite: bool) -> str | None:
    """Return the fastest contestant by wall time, of the suite or of the peers, if one was measured."""
    done = [
        label for label, found in section.measured.items() if not found.fault and label.startswith("suite") == suite
    ]
    return min(done, key=lambda label: section.measured[label].seconds, default=None)


def lines(section: Section) -> Iterable[str]:
    """Return the heading of a row and its table. Without the suite, the fastest peer is the reference."""
    yield heading(section.title)
    yield "| | wall s | CPU s | wall ratio | CPU ratio | first round s | MiB | result |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    reference = fastest(section, suite=True) or fastest(section, suite=False)
    for label, found in section.measured.items():
        if found.fault or not reference:
            yield f"| {label} | | | | | | | not measured: {found.fault.replace('|', ' ')[:120]} |"
            continue
        ours = section.measured[reference]
        spread = f"{found.seconds:.2f} ({min(found.wall):.2f}–{max(found.wall):.2f})"
        ratios = f"{found.seconds / ours.seconds:.2f} | {found.processor / ours.processor:.2f}"
        results = ", ".join(f"{name} {value:.4g}" for name, value in found.results.items())
        costs = f"{found.start:.1f} | {found.peak:.0f} | {results}"
        yield f"| {label} | {spread} | {found.processor:.2f} | {ratios} | {costs} |"
    if section.floor:
        yield f"| floor | {section.floor[0]:.2f} | {section.floor[1]:.2f} | | | | | |"


def summary(sections: Iterable[Section]) -> Iterable[str]:
    """Return the table of all rows: the suite beside the fastest peer."""
    yield "\n| row | suite: wall / CPU s | fastest peer: wall / CPU s | peer | wall ratio (of the rounds) | floor |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for section in sections:
        best, peer = (fastest(section, suite) for suite in (True, False))
        own = theirs = name = ratio = floor = ""
        if best:
            ours = section.measured[best]
            own = f"{ours.seconds:.2f} / {ours.processor:.2f} ({best.partition(', ')[2]})"
        if peer:
            found = section.measured[peer]
            theirs, name = f"{found.seconds:.2f} / {found.processor:.2f}", peer
        if best and peer:
            # Each round has its own ratio, because contestants of a round run one after another.
            ratios = [other / one for other, one in zip(found.wall, ours.wall, strict=False)]
            ratio = f"{found.seconds / ours.seconds:.2f} ({min(ratios):.2f}–{max(ratios):.2f})"
        if section.floor:
            floor = f"{section.floor[0]:.1f} / {section.floor[1]:.1f}"
        yield f"| {section.title} | {own} | {theirs} | {name} | {ratio} | {floor} |"


def ratio(section: Section) -> float | None:
    """Return the wall seconds of the fastest peer over those of the suite; None if one of them was not measured."""
    ours, peer = (fastest(section, suite) for suite in (True, False))
    return section.measured[peer].seconds / section.measured[ours].seconds if ours and peer else None


def mean_ratio(sections: Iterable[Section]) -> Iterable[str]:
    """Return a line with the geometric mean of the ratios of the rows in which the suite and a peer were measured."""
    if ratios := [found for section in sections if (found := ratio(section))]:
        mean = statistics.geometric_mean(ratios)
        yield f"\nThe geometric mean of the wall ratios of {len(ratios)} rows is {mean:.2f}."


def behind(section: Section) -> bool:
    """Return whether a peer is faster than the suite by wall time."""
    found = ratio(section)
    return found < 1 if found else fastest(section, suite=False) is not None


def page(sections: list[Section], rounds: int, runs: int, rates: tuple[float, float], old: str) -> str:
    """Return the page, with all that is below the mark in the `old` one, and a line for each row that lacks one."""
    rate = f"{rates[0] / 1e9:.0f} GFLOP a second, {rates[1] / 1e9:.0f} GFLOP a CPU second"
    groups = dict.fromkeys(section.group for section in sections)
    each, times = counted(rounds, runs)
    system = f"{machine()}, {platform.system()}, Python {platform.python_version()}, {versions()}"
    parts = [HEAD.format(day=date.today(), commit=commit(), machine=system, rounds=each, times=times, rate=rate)]
    parts += [*summary(sections), *mean_ratio(sections)]
    for group in groups:
        parts.append(f"\n## {group}")
        for section in sections:
            if section.group == group:
                parts += lines(section)
    return "\n".join(parts) + f"\n\n{MARK}\n\n{explained(sections, old)}\n"


def update(sections: Sequence[Section], rounds: int, runs: int, old: str) -> str:
    """Return the `old` page, which `has` these rows, with their measurements replaced."""
    each, times = counted(rounds, runs)
    note = f"\nMeasured again on {date.today()}, commit {commit()}, {machine()}: {each}, {times}.\n"
    text = old.partition(MARK)[0]
    for section in sections:
        *_, line = summary([section])
        text = "\n".join(line if one.startswith(f"| {section.title} |") else one for one in text.split("\n"))
        before, _, after = text.partition(heading(section.title))
        _, *rest = re.split(r"(?=\n##)", after, maxsplit=1)
        text = before + "\n".join([*lines(section), note]) + "".join(rest)
    ratios = [float(found) for found in re.findall(r" \| (\d+\.\d\d) \([^|]*\) \|[^|]*\|$", text, re.MULTILINE)]
    text = re.sub(r"(?<= rows is )\d+\.\d+", f"{statistics.geometric_mean(ratios):.2f}", text)
    return f"{text.rstrip()}\n\n{MARK}\n\n{explained(sections, old)}\n"


def explained(sections: Iterable[Section], old: str) -> str:
    """Return the sentences that a person has written, and a line for each row that is behind and lacks one."""
    kept = old.partition(MARK)[2].strip() or "## Where the suite is not first"
    for section in sections:
        if behind(section) and not re.search(rf"^- [^:\n]*`{section.name}`", kept, re.MULTILINE):
            kept += f"\n- `{section.name}`: {UNEXPLAINED}."
    return kept


def counted(rounds: int, runs: int) -> tuple[str, str]:
    """Return words for the number of rounds of a run and for that of runs."""
    times = "once" if runs == 1 else f"{runs} times, each time with new processes"
    return "one round" if rounds == 1 else f"up to {rounds} rounds", times


def commit() -> str:
    """Return the short name of the commit, with a plus if files differ from it."""
    found = subprocess.run(["git", "describe", "--always", "--dirty=+"], cwd=ROOT, capture_output=True, text=True)
    return found.stdout.strip() or "unknown"


def machine() -> str:
    """Describe the machine."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists() and (found := re.search(r"model name\s*: (.*)", cpuinfo.read_text())):
        model = found[1]
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{cores} cores of {model}, {memory:.0f} GiB"


def versions() -> str:
    """Return the versions of the packages that are compared."""
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"no {package}")
    return ", ".join(found)
