"""The HTTP application that serves a model: answers by name, and the protocol of MLflow's scoring server.

| method and path | request | answer |
| --- | --- | --- |
| POST /predict | examples, as JSON or CSV | `{"answers": [...]}`: the names and numbers that `predict` prints |
| POST /invocations | examples, as JSON or CSV | `{"predictions": [...]}`: the network's outputs for each example |
| GET /ping, GET /health, GET /live | nothing | status 200 |
| GET /ready | nothing | status 200, or 503 until the network has predicted for the first time |
| GET /version | nothing | the version of MLflow |

A refused request is answered with status 400, 413 for its size, or 415 for its content type, and `{"error": one
sentence}`. So is one whose header Host is none of the server's names, as from a page in a browser of this machine.
"""

import asyncio
import importlib.metadata
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect

from common.data import Array, Inputs
from common.nn import augmentation
from common.preprocessing import arrays
from common.serving import decoding
from common.serving.decoding import CSV, JSON, RequestError
from common.tasks import Task
from common.tracking import ServedModel

LIMIT_MEGABYTES = 32
"""Largest size of a request."""
READ_MEGABYTES = 4 * LIMIT_MEGABYTES
"""Largest size of a request that is read to its end. A longer one is cut off, and its client may see no answer."""
NAMES = ("127.0.0.1", "localhost")
"""Names of this machine for itself."""


def scoring_app(model: keras.Model, served: ServedModel, task: Task, names: Sequence[str] = NAMES) -> FastAPI:
    """Build the ASGI application that serves a model.

    Args:
        model: The network. A single thread runs it, since Keras is not made for several at once.
        served: The saved model.
        task: The task of its app, with the values that were chosen for it.
        names: Names of the server that a request may have in its header Host.

    Returns:
        The application, for a server such as uvicorn.
    """
    worker = ThreadPoolExecutor(1, "keras")
    warm = worker.submit(_outputs, model, served, JSON, served.example.read_bytes())
    app = FastAPI(openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(names))

    async def respond(request: Request, form: Callable[[Array], bytes]) -> Response:
        def answer(kind: str, body: bytes) -> bytes:
            return form(_outputs(model, served, kind, body))

        try:
            kind, body = _content_type(request), await _body(request)
            content = await asyncio.get_running_loop().run_in_executor(worker, answer, kind, body)
            return Response(content, media_type=JSON)
        except RequestError as error:
            # The client of a request that is cut off may still send.
            return JSONResponse({"error": str(error)}, error.status, {"Connection": "close"})
        except ClientDisconnect:
            return Response(status_code=400)  # the client left before it had sent all

    @app.post("/predict")
    async def predict(request: Request) -> Response:
        return await respond(request, lambda outputs: _named(task, outputs, served.outputs))

    @app.post("/invocations")
    async def invocations(request: Request) -> Response:
        return await respond(request, _plain)

    @app.get("/ping")
    @app.get("/health")
    @app.get("/live")
    async def ping() -> Response:
        return PlainTextResponse("\n")

    @app.get("/ready")
    async def ready() -> Response:
        return PlainTextResponse("\n", 200 if warm.done() else 503)

    @app.get("/version")
    async def version() -> Response:
        return PlainTextResponse(importlib.metadata.version("mlflow"))

    return app


def _content_type(request: Request) -> str:
    """The content type of a request, `JSON` or `CSV`.

    Raises:
        RequestError: for any other content type, or text that is not UTF-8.
    """
    given = request.headers.get("content-type", "")
    kind, *parameters = (part.strip().lower() for part in given.split(";"))
    if kind not in (JSON, CSV) or any(parameter != "charset=utf-8" for parameter in parameters):
        raise RequestError(f"Content-Type is {given[:100] or 'missing'}; send {JSON} or {CSV}, in UTF-8", 415)
    return kind


async def _body(request: Request) -> bytes:
    """Read a request, also one that is too large: a client that still sends does not read the answer.

    Raises:
        RequestError: where it is larger than the limit.
    """
    body, size, limit = bytearray(), 0, LIMIT_MEGABYTES * 2**20
    async for part in request.stream():
        size += len(part)
        if size <= limit:
            body += part
        if size > READ_MEGABYTES * 2**20:
            break
    if size > limit:
        raise RequestError(f"a request has at most {LIMIT_MEGABYTES} MB; send fewer examples", 413)
    return bytes(body)


def _outputs(model: keras.Model, served: ServedModel, kind: str, body: bytes) -> Array:
    """Return the network's outputs for a request, (examples, …).

    Raises:
        RequestError: if the request does not fit the model.
    """
    return _predict(model, decoding.decode(body, kind, served.inputs, served.takes_missing, served.columns))


def _plain(outputs: Array) -> bytes:
    """Return the outputs in JSON; one that is not finite is null."""
    if not np.isfinite(outputs).all():
        outputs = np.where(np.isfinite(outputs), outputs, np.array(None))
    return json.dumps({"predictions": outputs.tolist()}).encode()


def _named(task: Task, outputs: Array, names: Sequence[str]) -> bytes:
    """Return the answers of the task in JSON, an object for each example, or a list of them if it has several rows.

    If the task decides, as for a class, the outputs that it decides from are an object of their own.
    """
    table = task.answers(outputs, names)
    decided = [column for column in table.columns if column not in names]
    rows = json.loads(table.to_json(orient="records", double_precision=15))
    if decided:
        details = [name for name in table.columns if name in names]
        rows = [
            {name: row[name] for name in decided} | {"outputs": {name: row[name] for name in details}} for row in rows
        ]
    each = len(rows) // len(outputs)
    answers = rows if each == 1 else [rows[start : start + each] for start in range(0, len(rows), each)]
    return json.dumps({"answers": answers}).encode()


def _predict(model: keras.Model, inputs: Inputs) -> Array:
    """The network's outputs (examples, …)."""
    examples, size = len(keras.tree.flatten(inputs)[0]), arrays.prediction_batch(inputs, augmentation.patches(model))
    batches = (
        keras.tree.map_structure(lambda part, start=start: part[start : start + size], inputs)
        for start in range(0, examples, size)
    )
    return np.concatenate([model.predict_on_batch(batch) for batch in batches])
