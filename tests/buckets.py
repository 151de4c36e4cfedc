"""Local servers that speak the protocols of S3 and of Google Cloud Storage, for tests."""

import contextlib
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from gcp_storage_emulator.server import Server
from moto.server import ThreadedMotoServer

from tests.conftest import free_port

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "someone",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
}


@contextlib.contextmanager
def new_bucket() -> Iterator[Any]:
    """A bucket called data, which the environment names to this process and to those that it starts."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": f"http://{host}:{port}"}.items():
            patch.setenv(name, value)
        bucket = boto3.resource("s3").create_bucket(Bucket="data")
        try:
            yield bucket
        finally:
            bucket.objects.all().delete()  # all servers in this process have the same content
            bucket.delete()
            server.stop()


@contextlib.contextmanager
def google_bucket() -> Iterator[None]:
    """A bucket called data at gs://, which the environment names to this process and to those that it starts."""
    port = free_port()
    with pytest.MonkeyPatch.context() as patch, Server("127.0.0.1", port, in_memory=True, default_bucket="data"):
        patch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
        yield


def keys(bucket: Any) -> list[str]:
    """Return the names of the files in a bucket."""
    return sorted(found.key for found in bucket.objects.all() if not found.key.endswith("/"))
