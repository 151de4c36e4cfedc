"""`serve`: the champion over HTTP, what it answers to good and bad requests, and that none is lost."""

import collections
import contextlib
import itertools
import json
import logging
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import uvicorn
from PIL import Image

from common import tracking
from common.data import ColumnFormat, RawData
from common.serving import application, decoding, http
from common.tasks import Classification, Forecast, Regression
from common.tracking import InputSpec
from tests.conftest import Trained, assert_user_error, free_port, load_app, run, train_once
from tests.processes import Process


@dataclass(frozen=True)
class Served:
    trained: Trained
    process: Process
    address: str
    said: str


@pytest.fixture(scope="module")
def served(trained_lenet: Trained) -> Iterator[Served]:
    """LeNet-5 of 1998 by its command."""
    with served_by_command(trained_lenet) as command:
        yield command


@contextlib.contextmanager
def served_by_command(trained: Trained) -> Iterator[Served]:
    """The app's champion, served by the command in a process of its own."""
    port = free_port()
    with Process(f"apps.{trained.app}", "serve", "--port", str(port), MLFLOW_TRACKING_URI=trained.uri) as process:
        said = "".join(itertools.takewhile(lambda line: "Ctrl-C" not in line, process.stdout))
        yield Served(trained, process, f"http://127.0.0.1:{port}/invocations", said)
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)


@contextlib.contextmanager
def serving(trained: Trained) -> Iterator[str]:
    """The address of the app's champion, served by a thread of this process."""
    with pytest.MonkeyPatch.context() as patch, http.listen(0, "") as listening:
        patch.setenv("MLFLOW_TRACKING_URI", trained.uri)
        model = tracking.served(trained.app, None)
        scoring = application.scoring_app(model.load(), model, load_app(trained.app).task_of(model))
        server = uvicorn.Server(uvicorn.Config(scoring, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/invocations"
        server.should_exit = True
        thread.join()


def post(address: str, content: bytes | object, kind: str = "application/json") -> tuple[int, dict[str, Any]]:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    request = urllib.request.Request(address, body, {"Content-Type": kind})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_the_printed_curl_line_works_as_pasted(served: Served) -> None:
    assert "lenet5-mnist version 1" in served.said
    line = next(line for line in served.said.splitlines() if line.startswith("curl "))
    answer = subprocess.run(line, shell=True, check=True, capture_output=True, text=True).stdout
    assert [list(one) for one in json.loads(answer)["answers"]] == [["class", "probability", "outputs"]] * 2


def test_a_picture_is_asked_by_the_request_command_and_answered_as_predict_does(
    served: Served, mnist: RawData, tmp_path: Path
) -> None:
    Image.fromarray(255 - mnist.test[0][0]).resize((140, 140)).save(tmp_path / "digit.png")
    request = served.trained("request", str(tmp_path / "digit.png"))
    assert request.returncode == 0, request.stderr
    status, answer = post(served.address, request.stdout.encode())
    table = tmp_path / "predictions.csv"
    assert served.trained("predict", str(tmp_path / "digit.png"), "--output", str(table)).returncode == 0
    assert status == 200
    printed = pd.read_csv(table, dtype={"class": str})
    np.testing.assert_allclose(answer["predictions"], printed.iloc[:, 3:], rtol=1e-4, atol=1e-6)
    status, answer = post(served.address.replace("invocations", "predict"), request.stdout.encode())
    (named,) = answer["answers"]
    assert named["class"] == printed["class"][0]
    assert (
        named["probability"] == named["outputs"][named["class"]] == pytest.approx(printed["probability"][0], abs=1e-6)
    )


BLACK = np.zeros((28, 28), int).tolist()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"inputs": BLACK}, "shape (28, 28)"),
        ({"inputs": [BLACK[:5]]}, "shape (1, 5, 28)"),
        ({"inputs": [BLACK, BLACK[:5]]}, "lists of different lengths"),
        ({"inputs": []}, "shape (0,)"),
        ({"inputs": [[[0.5] * 28] * 28]}, "values of another kind"),
        ({"inputs": [[[256] * 28] * 28]}, "values of another kind"),
        ({"inputs": [[["ink"] * 28] * 28]}, "values of another kind"),
        ({"inputs": [[[0, 1] * 14] * 28]}, "pixels up to 1, but white is 255; multiply by 255"),
        ({"inputs": [[[0, 15] * 14] * 28]}, "pixels up to 15, but white is 255; multiply by 17"),
        ({"inputs": {"picture": BLACK}}, "shape ()"),
        ({"picture": BLACK}, "'inputs'"),
        ({"inputs": [BLACK], "instances": [BLACK]}, "one of the keys"),
        ({"dataframe_records": BLACK}, "a list of objects"),
        ({"dataframe_split": BLACK}, "the lists 'columns' and 'data'"),
        ({"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2], [3]]}}, "row 2 does not have"),
        ({"dataframe_split": {"columns": ["a", "a"], "data": [[1, 2]]}}, "same name"),
        ([BLACK], "one of the keys"),
        (b'{"inputs": ', "JSON cannot be read"),
        (b'{"inputs": "\xff"}', "JSON cannot be read"),
        (b"[" * 100_000, "JSON cannot be read"),
    ],
)
def test_what_does_not_fit_is_a_400_with_one_sentence(served: Served, content: object, words: str) -> None:
    status, answer = post(served.address, content)
    assert (status, list(answer)) == (400, ["error"])
    assert words in answer["error"]
    assert answer["error"].endswith("this model takes inputs of whole numbers 0 to 255 (examples, 28, 28)")
    assert len(answer["error"]) < 300
    assert "\n" not in answer["error"]


def test_a_request_that_is_too_large_or_of_another_type_is_refused(served: Served) -> None:
    assert post(served.address, b" " * (33 * 2**20)) == (
        413,
        {"error": "a request has at most 32 MB; send fewer examples"},
    )
    for kind in ("image/png", "application/json; charset=latin-1", ""):
        status, answer = post(served.address, b"\x89PNG", kind)
        assert status == 415
        assert answer["error"] == f"Content-Type is {kind or 'missing'}; send application/json or text/csv, in UTF-8"
    assert post(served.address, {"inputs": [BLACK]}, "application/json; charset=UTF-8")[0] == 200


def raw(address: str, request: bytes) -> bytes:
    """The first line of the answer to a request as it is sent."""
    with socket.create_connection(("127.0.0.1", urllib.parse.urlsplit(address).port or 0), timeout=60) as client:
        client.sendall(request)
        return client.recv(1000).splitlines()[0]


def test_only_requests_for_this_machine_are_answered(served: Served) -> None:
    """Another name in the header Host comes from a page that has its own name resolved to 127.0.0.1."""
    for host, status in ((b"127.0.0.1:5001", b"200"), (b"localhost", b"200"), (b"evil.example", b"400")):
        assert raw(served.address, b"GET /ping HTTP/1.1\r\nHost: " + host + b"\r\n\r\n").split()[1] == status


def test_another_method_is_no_fault_of_the_server(served: Served) -> None:
    for method in (b"GET", b"PUT", b"DELETE"):
        request = method + b" /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
        assert raw(served.address, request).split()[1] == b"405"
    for path in (b"docs", b"redoc", b"openapi.json"):  # pages that would load scripts from elsewhere
        assert raw(served.address, b"GET /" + path + b" HTTP/1.1\r\nHost: localhost\r\n\r\n").split()[1] == b"404"


def test_a_request_in_chunks_without_an_end_is_cut_off(served: Served) -> None:
    start = (
        b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    chunk, sent = b"100000\r\n" + b"0" * 2**20 + b"\r\n", 0
    with socket.create_connection(("127.0.0.1", urllib.parse.urlsplit(served.address).port or 0), timeout=60) as client:
        client.sendall(start)
        with contextlib.suppress(ConnectionError):
            while sent < 1000:
                client.sendall(chunk)
                sent += 1
    assert sent < 200
    assert post(served.address, {"inputs": [BLACK]})[0] == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [("ping", "\n"), ("live", "\n"), ("ready", "\n"), ("health", "\n"), ("version", version("mlflow"))],
)
def test_its_health_and_version_are_told(served: Served, path: str, body: str) -> None:
    with urllib.request.urlopen(served.address.replace("invocations", path), timeout=60) as answer:
        assert (answer.status, answer.read().decode()) == (200, body)


def test_of_a_thousand_requests_twenty_at_once_none_is_lost(served: Served, mnist: RawData) -> None:
    """Each asks for another picture, and gets the answer to its own."""
    pictures = mnist.test[0][:1000]
    bodies = [json.dumps({"inputs": [picture.tolist()]}).encode() for picture in pictures]
    _, together = post(served.address, {"inputs": pictures.tolist()})
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda body: post(served.address, body), bodies))
    assert collections.Counter(status for status, _ in answers) == {200: 1000}
    alone = [answer["predictions"][0] for _, answer in answers]
    np.testing.assert_allclose(alone, together["predictions"], rtol=1e-4, atol=1e-6)


def test_ctrl_c_stops_it(served: Served) -> None:
    served.process.send_signal(signal.SIGINT)
    assert served.process.wait(timeout=30) == 130
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(served.address.split(":")[2].split("/")[0]))) != 0


def test_rows_of_a_table_are_taken_as_csv_and_json(tmp_path: Path) -> None:
    """Numbers with a gap, and text; columns in any order, others do not matter."""
    rows = [f"{index % 7},{'east' if index % 2 else 'west'},{index % 2}" for index in range(60)]
    (tmp_path / "t.csv").write_text("\n".join(["size (m),side,class", *rows]) + "\n")
    (tmp_path / "rows.csv").write_text("side,size (m),other\neast,3,x\nwest,,y\n")
    trained = train_once("logistic_regression", tmp_path, "--csv", str(tmp_path / "t.csv"), "--target", "class")
    with serving(trained) as address:
        status, answer = post(address, (tmp_path / "rows.csv").read_bytes(), "text/csv")
        assert status == 200, answer
        assert post(address, trained("request", str(tmp_path / "rows.csv")).stdout.encode()) == (200, answer)
        columns = {"size (m)": [3, None], "side": ["east", "west"]}
        records = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        for form in (
            {"inputs": columns},
            {"instances": columns},
            {"instances": records},
            {"dataframe_records": records},
            {"dataframe_split": {"columns": ["side", "size (m)"], "data": [["east", 3], ["west", None]]}},
        ):
            assert post(address, form) == (200, answer)
        for wrong, words in (
            ({"inputs": {"side": ["east"]}}, "no column size (m)"),
            ({"inputs": columns | {"size (m)": ["tall", "short"]}}, "size (m) has values of another kind"),
            ({"inputs": columns | {"side": [1, 2]}}, "side has values of another kind"),
            ({"inputs": columns | {"side": ["east"]}}, "differ in length"),
            ({"inputs": columns | {"side": ["east", 1]}}, "side has values of another kind"),
            ({"inputs": columns | {"size (m)": [3, 1e39]}}, "size (m) has values of another kind"),
            ({"dataframe_records": [{"side": "east"}]}, "no column size (m)"),
            ({"instances": [{"side": "east", "size (m)": 3}, {"size (m)": 3}]}, "row 2 has no side"),
            ({"dataframe_records": [{"side": "east", "size (m)": 3}, {"side": "east"}]}, "row 2 has no size (m)"),
            (b'{"inputs": {"size (m)": [NaN], "side": ["east"]}}', "NaN is not JSON; send null"),
            (b'{"inputs": {"size (m)": [-Infinity], "side": ["east"]}}', "-Infinity is not JSON"),
            ({"inputs": [[3, "east"]]}, "no named columns"),
            (b"size (m),side\ntall,east\n", "size (m) has values of another kind"),
            (b"size (m),side\n3,east,7\n", "row 1 does not have"),
            (b"size (m),side,side\n3,east,east\n", "same name"),
            (b"size (m),side\n", "size (m) is empty"),
            (b'size (m),side\n3,"east', "CSV cannot be read"),
            (b"\xff\xfe", "CSV cannot be read"),
            (b"", "no line of column names"),
        ):
            csv = isinstance(wrong, bytes) and not wrong.startswith(b"{")
            status, said = post(address, wrong, "text/csv" if csv else "application/json")
            assert status == 400
            assert words in said["error"]
            assert said["error"].endswith("size (m): numbers (examples), side: text (examples)")


def test_cells_are_read_in_the_formats_of_training() -> None:
    columns = {
        "price": ColumnFormat("number", ",", unit="€"),
        "day": ColumnFormat("date", "%d.%m.%Y"),
        "town": ColumnFormat("text"),
    }
    numbers = [InputSpec(name, np.dtype("float32"), (None,)) for name in ("price", "day elapsed days")]
    specs = [*numbers, InputSpec("town", np.dtype("object"), (None,))]

    def decode(body: bytes, kind: str = "text/csv") -> Any:
        return decoding.decode(body, kind, specs, columns=columns)

    content = "day;town;price;more\n02.01.1970;Ulm;1.234,50 €;x\n;Bonn;k. A.;y\n"
    found = decode(content.encode())
    np.testing.assert_array_equal(found["price"], np.array([1234.5, np.nan], "float32"))
    np.testing.assert_array_equal(found["day elapsed days"], np.array([1, np.nan], "float32"))
    assert found["town"].tolist() == ["Ulm", "Bonn"]
    record = {"dataframe_records": [{"day": "02.01.1970", "town": "Ulm", "price": 3}]}
    assert decode(json.dumps(record).encode(), "application/json")["day elapsed days"].tolist() == [1]
    for wrong, words in (
        ("day,town,price\n1.1.1970,Ulm,$3\n", "price has values"),
        ("town,price\nUlm,3\n", "no column day"),
    ):
        with pytest.raises(decoding.RequestError, match=words):
            decode(wrong.encode())


def test_the_class_is_decided_by_the_threshold_that_was_chosen() -> None:
    task = Classification(threshold=0.2)
    answers = json.loads(application._named(task, np.array([[0.75, 0.25], [0.9, 0.1]]), ["stays", "leaves"]))["answers"]
    assert answers == [
        {"class": "leaves", "probability": 0.25, "outputs": {"stays": 0.75, "leaves": 0.25}},
        {"class": "stays", "probability": 0.9, "outputs": {"stays": 0.9, "leaves": 0.1}},
    ]


def test_quantities_have_the_names_of_their_columns() -> None:
    answers = json.loads(application._named(Regression(), np.array([[1.5, np.nan]]), ["price", "size"]))["answers"]
    assert answers == [{"price": 1.5, "size": None}]


def test_a_forecast_has_a_row_for_each_step() -> None:
    steps = np.array([[[1.0], [2.0]], [[3.0], [4.0]]])
    answers = json.loads(application._named(Forecast(), steps, ["sales"]))["answers"]
    assert answers == [[{"sales": 1.0}, {"sales": 2.0}], [{"sales": 3.0}, {"sales": 4.0}]]


def test_a_sentence_is_answered_as_it_is(trained_reviewer: Trained) -> None:
    with serving(trained_reviewer) as address:
        status, answer = post(address, {"inputs": ["a fine film"]})
        assert status == 200
        assert np.shape(answer["predictions"]) == (1, 2)
        assert post(address, b"text\na fine film\n", "text/csv") == (200, answer)
        for form in (
            {"instances": ["a fine film"]},
            {"dataframe_records": [{"text": "a fine film"}]},
            {"dataframe_split": {"columns": ["text"], "data": [["a fine film"]]}},
        ):
            assert post(address, form) == (200, answer)
        status, said = post(address, {"inputs": [1]})
        assert status == 400
        assert said["error"] == "the input has values of another kind; this model takes inputs of text (examples)"


def test_a_client_that_leaves_before_it_has_sent_all_is_no_error(
    trained_reviewer: Trained, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(trained_reviewer) as address:
        logging.getLogger("uvicorn.error").addHandler(caplog.handler)
        with socket.create_connection(("127.0.0.1", urllib.parse.urlsplit(address).port or 0)) as client:
            client.sendall(
                b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\nContent-Length: 9\r\n\r\na"
            )
        assert post(address, {"inputs": ["a fine film"]})[0] == 200
        logging.getLogger("uvicorn.error").removeHandler(caplog.handler)
    assert not caplog.records


def test_a_client_that_leaves_before_the_answer_is_no_error(
    trained_reviewer: Trained, caplog: pytest.LogCaptureFixture
) -> None:
    body = json.dumps({"inputs": ["a fine film"] * 20_000}).encode()
    start = (
        b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    )
    with serving(trained_reviewer) as address:
        logging.getLogger("uvicorn.error").addHandler(caplog.handler)
        with socket.create_connection(("127.0.0.1", urllib.parse.urlsplit(address).port or 0)) as client:
            client.sendall(start % len(body) + body)
        assert post(address, {"inputs": ["a fine film"]})[0] == 200
        logging.getLogger("uvicorn.error").removeHandler(caplog.handler)
    assert not caplog.records


def test_what_has_begun_is_finished_after_sigterm(trained_reviewer: Trained) -> None:
    body = {"inputs": ["a fine film"] * 50_000}
    with served_by_command(trained_reviewer) as served:
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(post, served.address, body)
            time.sleep(0.5)
            assert not answer.done()
            served.process.send_signal(signal.SIGTERM)
            status, content = answer.result()
        assert (status, len(content["predictions"])) == (200, 50_000)
        assert served.process.wait(timeout=30) == 143


def test_training_and_prediction_do_not_import_the_http_server() -> None:
    """tracking imports mlflow, which imports FastAPI itself: no module of the suite does before it serves."""
    code = "import sys; sys.modules['fastapi'] = None; from common.serving import http, export; from common import cli"
    result = run("-c", code)
    assert result.returncode == 0, result.stderr


def test_a_taken_port_is_one_line(served: Served) -> None:
    began = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = served.trained("serve", "--port", str(taken.getsockname()[1]))
    assert_user_error(result, "--port", "choose another")
    assert time.monotonic() - began < 5


def test_it_listens_at_the_address_that_is_given(served: Served) -> None:
    """At all addresses, 127.0.0.2 among them, which it does not listen at by default."""
    with http.listen(0, "", "0.0.0.0") as listening:
        socket.create_connection(("127.0.0.2", listening.getsockname()[1]), timeout=5).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", urllib.parse.urlsplit(served.address).port or 0), timeout=5)
    for address in ("192.0.2.1", "no such name"):
        result = served.trained("serve", "--port", str(free_port()), "--address", address)
        assert_user_error(result, f"--address {address}: not an address of this machine; use 0.0.0.0")


def test_a_model_that_is_not_there_is_one_line(served: Served) -> None:
    assert_user_error(
        served.trained("serve", "--port", str(free_port()), "--model", "nothing@all"), "--model", "nothing"
    )


def test_a_missing_number_is_missing_and_a_text_of_the_same_letters_is_text() -> None:
    specs = [InputSpec("age", np.dtype("float64"), (None,)), InputSpec("plan", np.dtype(object), (None,))]
    inputs = decoding.decode(b"age,plan\nNA,NA\n?,\n1700000001.5,x\n", decoding.CSV, specs)
    assert isinstance(inputs, dict)
    np.testing.assert_array_equal(inputs["age"], [np.nan, np.nan, 1700000001.5])
    assert inputs["plan"].tolist() == ["NA", "", "x"]
