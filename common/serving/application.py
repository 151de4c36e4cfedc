"""MLflow's scoring server for one saved model, made to say in one sentence what is wrong with a request."""

import contextlib
import json
import threading
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import mlflow
import numpy as np
import pandas as pd
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import BAD_REQUEST
from mlflow.pyfunc import scoring_server
from mlflow.types import TensorSpec

from common.data import Array
from common.preprocessing import arrays

LIMIT_MEGABYTES = 32
"""Size of a request, at most."""
LONGEST = 200
"""Characters of a reason that are passed on; some repeat the inputs."""


def scoring_app(folder: Path) -> FastAPI:
    """The ASGI application with which MLflow serves the model in `folder`: it answers `/invocations`.

    What the model cannot take is answered by status 400 and {"error": one sentence}.
    """
    model: Any = Served(folder)
    app = scoring_server.init(model)

    @app.middleware("http")
    async def plain(request: Request, answer: Callable[[Request], Awaitable[Any]]) -> Response:
        if request.method == "POST" and (wrong := _unreadable(request)):
            async for _ in request.stream():  # whoever still sends does not read the answer
                pass
            return _refusal(wrong)
        response: Any = await answer(request)
        if response.status_code < 400 or request.url.path != "/invocations":
            return response
        said = b"".join([part async for part in response.body_iterator]).decode()
        return _refusal(f"{_reason(said)}; this model takes inputs of {model.takes}")

    return app


class Served:
    """What MLflow's scoring server asks of a model: `metadata`, and `predict` for what it read from a request.

    MLflow itself would cut fractions off to make bytes, and take no CSV: the signature is kept from it and held here.
    """

    def __init__(self, folder: Path) -> None:
        saved = mlflow.pyfunc.load_model(str(folder))
        self.metadata = mlflow.models.Model()
        self.model: keras.Model = saved.get_raw_model()
        self.specs: list[TensorSpec] = saved.metadata.get_input_schema().inputs
        self.lock = threading.Lock()  # MLflow asks from several threads, for which Keras is not made

    @property
    def takes(self) -> str:
        """The inputs, in words."""
        words = [f"{spec.name}: {_words(spec)}" if spec.name else _words(spec) for spec in self.specs]
        return ", ".join(words[:5]) + (f" and {len(words) - 5} more" if len(words) > 5 else "")

    def predict(self, data: Any) -> Array:
        """The network's outputs (examples, …).

        Raises:
            MlflowException: naming what in `data` does not fit the model.
        """
        inputs = self._inputs(data)
        examples, size = len(keras.tree.flatten(inputs)[0]), arrays.prediction_batch(inputs)
        answers = []
        with self.lock:
            for start in range(0, examples, size):
                place = slice(start, start + size)
                batch = keras.tree.map_structure(lambda part, place=place: part[place], inputs)
                answers.append(self.model.predict_on_batch(batch))
        return np.concatenate(answers)

    def _inputs(self, data: Any) -> Any:
        """Arrays as the network takes them."""
        if isinstance(data, pd.DataFrame):
            data = {name: column.to_numpy() for name, column in data.items()}
            if not self.specs[0].name:
                data = np.stack(list(data.values()), axis=1)
                data = data[:, 0] if len(self.specs[0].shape) == 1 else data
        if not self.specs[0].name:
            return _fitting(data, self.specs[0], "the input")
        if not isinstance(data, Mapping):
            raise _wrong("there are no named columns")
        if missing := [spec.name for spec in self.specs if spec.name not in data]:
            raise _wrong(f"there is no column {missing[0]}")
        columns = {spec.name: _fitting(data[spec.name], spec, spec.name) for spec in self.specs}
        if len({len(column) for column in columns.values()}) > 1:
            raise _wrong("the columns differ in length")
        return columns


def _fitting(values: Any, spec: TensorSpec, name: str | None) -> Array:
    """`values` as `spec` asks for them, with nothing lost."""
    array = np.asarray(values)
    wanted = tuple(array.shape[axis] if size == -1 else size for axis, size in enumerate(spec.shape[: array.ndim]))
    if array.ndim != len(spec.shape) or array.shape != wanted:
        raise _wrong(f"{name} has the shape {array.shape}")
    if not array.size:
        raise _wrong(f"{name} is empty")
    if array.dtype == object and spec.type.kind == "f":  # JSON's null, a missing number
        array = np.array([np.nan if value is None else value for value in array.flat]).reshape(array.shape)
    match spec.type.kind:
        case "O":
            fits = all(isinstance(value, str) for value in array.flat)
        case "u" | "i":
            bounds = np.iinfo(spec.type)
            fits = array.dtype.kind in "iu" and bounds.min <= array.min() and array.max() <= bounds.max
        case _:
            fits = array.dtype.kind in "iuf"
    if not fits:
        raise _wrong(f"{name} has values of another kind")
    return array.astype(spec.type)


def _words(spec: TensorSpec) -> str:
    match spec.type.kind:
        case "O":
            kind = "text"
        case "u" | "i":
            kind = "whole numbers {0.min} to {0.max}".format(np.iinfo(spec.type))
        case _:
            kind = "numbers"
    return f"{kind} ({', '.join(['examples', *map(str, spec.shape[1:])])})"


def _wrong(reason: str) -> MlflowException:
    return MlflowException(reason, error_code=BAD_REQUEST)


def _unreadable(request: Request) -> str | None:
    """What is wrong with a request before it is read."""
    if "content-type" not in request.headers:
        return "the header Content-Type is missing; application/json and text/csv are taken"
    if int(request.headers.get("content-length", LIMIT_MEGABYTES * 2**20 + 1)) > LIMIT_MEGABYTES * 2**20:
        return f"a request has at most {LIMIT_MEGABYTES} MB, and says how many in Content-Length; send fewer examples"
    return None


def _reason(said: str) -> str:
    """The core of what MLflow says is wrong, which it wraps in the inputs and a traceback."""
    with contextlib.suppress(ValueError):  # where it is the sentence itself
        said = json.loads(said)["message"]
    core = said.split("\nInput:")[0].split("Error: ")[-1].removeprefix("Invalid input. ")
    core = " ".join(core.split()).strip("'.").replace(". ", ": ")
    return core if len(core) <= LONGEST else f"{core[:LONGEST]}…"


def _refusal(sentence: str) -> Response:
    return JSONResponse({"error": sentence}, status_code=400)
