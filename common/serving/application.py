"""The HTTP application that serves a model, by the protocol of MLflow's scoring server.

| method and path | request | answer |
| --- | --- | --- |
| POST /invocations | examples, as JSON or CSV | `{"predictions": [...]}`: the network's outputs for each example |
| GET /ping, GET /health | nothing | status 200 |
| GET /version | nothing | the version of MLflow |

A refused request is answered with status 400, or 415 for its content type, and `{"error": one sentence}`.
"""

import asyncio
import importlib.metadata
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.requests import ClientDisconnect

from common.data import Array, Inputs
from common.nn import augmentation
from common.preprocessing import arrays
from common.serving import decoding
from common.serving.decoding import CSV, JSON, RequestError
from common.tracking import InputSpec

LIMIT_MEGABYTES = 32
"""Largest size of a request."""


def scoring_app(model: keras.Model, specs: Sequence[InputSpec]) -> FastAPI:
    """Build the ASGI application that serves a model.

    Args:
        model: The network. A single thread runs it, since Keras is not made for several at once.
        specs: The signature of its inputs.

    Returns:
        The application, for a server such as uvicorn.
    """
    app = FastAPI(openapi_url=None)
    worker = ThreadPoolExecutor(1, "keras")

    @app.post("/invocations")
    async def invocations(request: Request) -> Response:
        try:
            kind, body = _content_type(request), await _body(request)
            answer = asyncio.get_running_loop().run_in_executor(worker, _answer, model, specs, kind, body)
            return Response(await answer, media_type=JSON)
        except RequestError as error:
            return JSONResponse({"error": str(error)}, error.status)
        except ClientDisconnect:
            return Response(status_code=400)  # the client left before it had sent all

    @app.get("/ping")
    @app.get("/health")
    async def ping() -> Response:
        return PlainTextResponse("\n")

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
    """Read all of a request, also one that is too large: a client that still sends does not read the answer.

    Raises:
        RequestError: where it is larger than the limit.
    """
    body, size, limit = bytearray(), 0, LIMIT_MEGABYTES * 2**20
    async for part in request.stream():
        size += len(part)
        if size <= limit:
            body += part
    if size > limit:
        raise RequestError(f"a request has at most {LIMIT_MEGABYTES} MB; send fewer examples")
    return bytes(body)


def _answer(model: keras.Model, specs: Sequence[InputSpec], kind: str, body: bytes) -> bytes:
    """Answer a request, in JSON; an output that is not finite is null.

    Raises:
        RequestError: where the request does not fit the model.
    """
    outputs = _predict(model, decoding.decode(body, kind, specs))
    if not np.isfinite(outputs).all():
        outputs = np.where(np.isfinite(outputs), outputs, np.array(None))
    return json.dumps({"predictions": outputs.tolist()}).encode()


def _predict(model: keras.Model, inputs: Inputs) -> Array:
    """The network's outputs (examples, …)."""
    examples, size = len(keras.tree.flatten(inputs)[0]), arrays.prediction_batch(inputs, augmentation.patches(model))
    batches = (
        keras.tree.map_structure(lambda part, start=start: part[start : start + size], inputs)
        for start in range(0, examples, size)
    )
    return np.concatenate([model.predict_on_batch(batch) for batch in batches])
