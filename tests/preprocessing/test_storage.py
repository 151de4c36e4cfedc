"""Data at s3:// is downloaded once, again when it changes, and its errors are one line."""

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from apps import lstm_text, table_mlp
from common.cli import shard
from common.errors import UserError
from common.preprocessing import images, storage
from tests.buckets import CREDENTIALS, new_bucket
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


def test_missing_credentials_and_a_storage_that_is_not_there_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusal(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(403)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusal) as server:
        threading.Thread(target=server.serve_forever).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        with pytest.raises(
            UserError, match=r"^s3://data/x: cannot be read .*; set the credentials of the storage"
        ) as error:
            storage.local("s3://data/x")
        assert "\n" not in str(error.value)
        server.shutdown()
    with pytest.raises(UserError, match=r"^s3://data/x: cannot be read .*; check the network and AWS_ENDPOINT_URL$"):
        storage.local("s3://data/x")


@pytest.mark.usefixtures("bucket", "store")
def test_the_command_ends_with_status_2() -> None:
    result = run_app("alexnet", "check", "--images", "s3://data/nothing")
    assert_user_error(result, "--images s3://data/nothing: no such file or folder in this storage")
