"""Data at s3:// is downloaded once, again when it changes, and its errors are one line."""

import contextlib
import http.server
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from apps import lstm_text, table_mlp
from common.cli import shard
from common.errors import UserError
from common.preprocessing import images, storage, table_files
from tests.buckets import CREDENTIALS, google_bucket, new_bucket
from tests.conftest import assert_user_error, run_app
from tests.preprocessing.test_image_shards import assert_equal, draw


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    return tmp_path / "keras/datasets/storage"


@pytest.fixture
def bucket() -> Iterator[Any]:
    with new_bucket() as found:
        yield found


def upload(bucket: Any, folder: Path, key: str) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            bucket.upload_file(str(file), f"{key}/{file.relative_to(folder)}")


def test_a_path_of_this_machine_stays_as_it_is() -> None:
    assert storage.local("photographs/") == "photographs/"


def test_an_address_of_the_web_is_refused() -> None:
    with pytest.raises(UserError, match=r"^https://example\.org/a\.csv: addresses of the web are not read; download"):
        storage.local("https://example.org/a.csv")


def test_images_and_shards_in_a_bucket_are_those_of_the_folder(bucket: Any, tmp_path: Path) -> None:
    folder = draw(tmp_path / "pictures", 6)
    shard.main(str(folder), tmp_path / "shards", 2)
    upload(bucket, folder, "all my/pictures")
    upload(bucket, tmp_path / "shards", "shards")
    here = images.load_folder(str(folder), 8, 0.2, seed=0)
    assert_equal(images.load_folder("s3://data/all my/pictures", 8, 0.2, seed=0), here)
    assert_equal(images.load_folder("s3://data/shards/", 8, 0.2, seed=0), here)


def test_tables_and_texts_in_a_bucket_are_read(bucket: Any) -> None:
    rows = "".join(f"{index},{'a' if index % 2 else 'b'},word {index % 5}\n" for index in range(60))
    bucket.put_object(Key="some/rows.csv", Body=f"x,label,body\n{rows}".encode())
    address = "s3://data/some/rows.csv"
    table = table_mlp.app.load_data(table_mlp.Settings(csv=address, target="label", ignore=("body",)))
    assert (table.name, table.outputs) == ("rows.csv", ("a", "b"))
    sentences = lstm_text.app.load_data(lstm_text.Settings(csv=address, text="body", label="label"))
    assert len(sentences.train[1]) + len(sentences.validation[1]) + len(sentences.test[1]) == 60


LABEL: dict[str, Any] = {"target": "label", "ignore": ("id",)}
FLAGS = ("--target", "label", "--ignore", "id")


def write_parts(bucket: Any, folder: Path, ending: str) -> None:
    """Write a table in two files, beside another one, into `folder` and below the same name in the bucket."""
    folder.mkdir()
    table = pd.DataFrame({"id": range(60), "x": np.tile([1.5, -1.5], 30), "label": ["a", "b"] * 30})
    for name, part in {"part-1": table[:40], "part-2": table[40:], "other": table.drop(columns="x")}.items():
        file = folder / f"{name}.{ending}"
        part.to_csv(file, index=False) if ending == "csv" else part.to_parquet(file)
    upload(bucket, folder, folder.name)
    bucket.put_object(Key=f"{folder.name}/part-old/part-3.{ending}", Body=b"in a folder below")


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_files_that_fit_a_pattern_in_a_bucket_are_those_of_this_machine(
    bucket: Any, tmp_path: Path, ending: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def load(csv: str) -> tuple[str, str, int]:
        data = table_mlp.app.load_data(table_mlp.Settings(csv=csv, **LABEL))
        return data.name, data.digest, len(data.train[1])

    write_parts(bucket, tmp_path / "some", ending)
    here, there = f"{tmp_path}/some/part-*.{ending}", f"s3://data/some/part-*.{ending}"
    assert load(there) == load(here)
    assert f"{there}: downloading 2 files" in capsys.readouterr().err
    shard.main(here, tmp_path / "shards", **LABEL)
    shard.main(there, tmp_path / "same", **LABEL)
    upload(bucket, tmp_path / "same", "shards")
    assert load("s3://data/shards")[1:] == load(str(tmp_path / "shards"))[1:]


@pytest.mark.usefixtures("store")
def test_train_and_predict_take_a_pattern_in_a_bucket(bucket: Any, tmp_path: Path) -> None:
    write_parts(bucket, tmp_path / "some", "csv")
    address, output = "s3://data/some/part-*.csv", tmp_path / "answers.csv"
    for command in (
        ("train", "--csv", address, *FLAGS, "--epochs", "20"),
        ("predict", address, "--keep", "id", "--output", str(output)),
    ):
        result = run_app("logistic_regression", *command)
        assert result.returncode == 0, result.stderr
    answers = pd.read_csv(output)
    assert answers["id"].tolist() == list(range(60))
    assert answers["input"][59] == f"{address}:21 of s3://data/some/part-2.csv"
    for wrong in ("s3://data/part-*", "s3://elsewhere/part-*", "s3://part-*"):
        message = f"{wrong}: no such file or folder in this storage"
        assert_user_error(run_app("logistic_regression", "predict", wrong), message)
        assert_user_error(run_app("logistic_regression", "check", "--csv", wrong, *FLAGS), f"--csv {message}")
        with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
            shard.main(wrong, tmp_path / "shards", target="label")


def test_googles_storage_is_read_and_written(tmp_path: Path) -> None:
    with google_bucket():
        for number in (1, 2):
            (tmp_path / f"part-{number}.csv").write_text(f"x,y\n{number},a\n")
            storage.upload(tmp_path / f"part-{number}.csv", f"gs://data/some/part-{number}.csv")
        storage.check("gs://data/checkpoints")
        with pytest.raises(UserError, match=r"^gs://nothing/some: no such bucket in this storage$"):
            storage.check("gs://nothing/some")
        assert len(table_files.read(Path(storage.local("gs://data/some/part-*.csv"))).frame) == 2
        assert len(list(Path(storage.local("gs://data/some")).iterdir())) == 2
        storage.download("gs://data/some/part-2.csv", tmp_path / "copy.csv")
        assert (tmp_path / "copy.csv").read_text() == "x,y\n2,a\n"
        storage.delete("gs://data/some")
        storage.delete("gs://data/some")
        for missing in ("gs://data/some", "gs://data/some/part-1.csv", "gs://nothing/*"):
            with pytest.raises(UserError) as error:
                storage.local(missing)
            assert str(error.value) == f"{missing}: no such file or folder in this storage"


def test_data_is_downloaded_once_and_again_when_it_has_changed(
    bucket: Any, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bucket.put_object(Key="a/one.txt", Body=b"one")
    bucket.put_object(Key="a/b/two.txt", Body=b"two")
    first = Path(storage.local("s3://data/a"))
    assert "s3://data/a: downloading 2 files, 0.0 MB" in capsys.readouterr().err
    assert {str(file.relative_to(first)) for file in first.rglob("*.txt")} == {"one.txt", "b/two.txt"}
    assert storage.local("s3://data/a/") == str(first)
    assert capsys.readouterr().err == ""
    bucket.put_object(Key="a/one.txt", Body=b"1")
    second = Path(storage.local("s3://data/a"))
    assert (first / "one.txt").read_text() == "one"
    assert (second / "one.txt").read_text() == "1"
    assert not list(cache.rglob("*.partial"))


def test_a_download_that_ends_early_leaves_no_data(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow.fs

    bucket.put_object(Key="half/one.txt", Body=b"one")

    def cut(_source: str, destination: str, **_options: object) -> None:
        Path(destination).write_bytes(b"o")

    with monkeypatch.context() as patch:
        patch.setattr(pyarrow.fs, "copy_files", cut)
        with pytest.raises(
            UserError, match=r"s3://data/half: cannot be read \(data/half/one.txt has changed or is incomplete"
        ):
            storage.local("s3://data/half")
    assert Path(storage.local("s3://data/half"), "one.txt").read_text() == "one"


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("s3://data/nothing", "no such file or folder in this storage"),
        ("s3://elsewhere/x.csv", "no such file or folder in this storage"),
        ("s3://", "has no bucket; an address is s3://BUCKET/FOLDER"),
    ],
)
@pytest.mark.usefixtures("bucket")
def test_a_wrong_bucket_or_key_is_one_line(address: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        storage.local(address)
    assert str(error.value) == f"{address}: {message}"


@contextlib.contextmanager
def refusing() -> Iterator[str]:
    """The address of a storage that refuses every request."""

    class Refusal(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(403)
            self.end_headers()

        do_GET = do_HEAD  # noqa: N815 - the name in http.server

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusal) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_missing_credentials_and_a_storage_that_is_not_there_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with refusing() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server)
        with pytest.raises(
            UserError, match=r"^s3://data/x: cannot be read .*; set the credentials of the storage"
        ) as error:
            storage.local("s3://data/x")
        assert "\n" not in str(error.value)
    with pytest.raises(UserError, match=r"^s3://data/x: cannot be read .*; check the network and AWS_ENDPOINT_URL$"):
        storage.local("s3://data/x")


def test_missing_permissions_and_credentials_of_googles_storage_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with refusing() as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server)
        with pytest.raises(UserError, match=r"^gs://data/x: cannot be read [^\n]*; check the permissions of GOOGLE_"):
            storage.local("gs://data/x")
    monkeypatch.delenv("STORAGE_EMULATOR_HOST")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(UserError, match=r"^gs://data/x: cannot be read [^\n]*; set GOOGLE_APPLICATION_CREDENTIALS to "):
        storage.local("gs://data/x")


@pytest.mark.parametrize(("address", "system"), [("s3://data/x", "S3FileSystem"), ("gs://data/x", "GcsFileSystem")])
def test_a_pyarrow_without_a_storage_is_one_line(address: str, system: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from pyarrow import fs

    monkeypatch.delattr(fs, system)
    monkeypatch.setattr(fs, "_not_imported", [system])
    with pytest.raises(UserError, match=f"^{address}: cannot be read .*not built with support for '{system}'[^\n]*$"):
        storage.local(address)


@pytest.mark.usefixtures("bucket", "store")
def test_the_command_ends_with_status_2() -> None:
    result = run_app("alexnet", "check", "--images", "s3://data/nothing")
    assert_user_error(result, "--images s3://data/nothing: no such file or folder in this storage")
