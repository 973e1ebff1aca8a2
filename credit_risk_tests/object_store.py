"""An object store on this machine that speaks as S3 does, in a process of its own, for a lake that lies there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen
from uuid import uuid4

import boto3

SECRET = "a-secret-that-nothing-may-show"
SERVER = (
    "import logging, sys; from moto.server import ThreadedMotoServer; "
    "logging.getLogger('werkzeug').setLevel(logging.ERROR); "
    "server = ThreadedMotoServer('127.0.0.1', 0, False); server.start(); "
    "print(server.get_host_and_port()[1], flush=True); sys.stdin.read()"
)


@dataclass(frozen=True)
class ObjectStore:
    """The running store."""

    endpoint: str

    def client(self) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id="tester",
            aws_secret_access_key=SECRET,
            region_name="us-east-1",
        )

    def bucket(self) -> str:
        """A new bucket."""
        name = f"lake-{uuid4().hex[:12]}"
        self.client().create_bucket(Bucket=name)
        return name

    def storage(self, lake: str) -> dict[str, Any]:
        """The settings' section for a lake there."""
        return {
            "lake": lake,
            "endpoint": self.endpoint,
            "region": "us-east-1",
            "access_key": "tester",
            "secret_key": SECRET,
            "allow_http": True,
        }

    def environment(self, lake: str) -> dict[str, str]:
        """The same as environment variables."""
        return {f"CREDIT_RISK__STORAGE__{k.upper()}": str(v) for k, v in self.storage(lake).items()}

    def upload(self, folder: Path, lake: str) -> None:
        """A lake of files, as it is, to a prefix."""
        bucket, _, prefix = lake.removeprefix("s3://").partition("/")
        client = self.client()
        for file in (file for file in folder.rglob("*") if file.is_file()):
            client.upload_file(str(file), bucket, f"{prefix}/{file.relative_to(folder).as_posix()}")

    @contextmanager
    def refusing_keys(self) -> Iterator[None]:
        """While it lasts, no key is known to the store."""
        self._allow_unknown_keys("0")
        try:
            yield
        finally:
            self._allow_unknown_keys("inf")

    def _allow_unknown_keys(self, requests: str) -> None:
        asked = Request(f"{self.endpoint}/moto-api/reset-auth", requests.encode(), {"Content-Type": "text/plain"})
        urlopen(asked).close()


@contextmanager
def running_store() -> Iterator[ObjectStore]:
    """The store from here to the end; it ends with this process, however that ends."""
    server = subprocess.Popen([sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdin
    assert server.stdout
    try:
        yield ObjectStore(f"http://127.0.0.1:{int(server.stdout.readline())}")
    finally:
        server.stdin.close()
        server.wait()
