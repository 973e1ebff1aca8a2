"""The registered model behind HTTP, as `mlflow models serve` runs it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pandas as pd
import pytest

from credit_risk_assets.config.settings import read_settings
from credit_risk_assets.config.tables import CHALLENGER, MODEL_NAME
from credit_risk_assets.modelling import score_new_loans
from credit_risk_assets.modelling.train import TrainingResult
from credit_risk_assets.resources.mlflow import register
from credit_risk_tests.modelling.test_score import APPLICATION

START_SECONDS = 180


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, trained: TrainingResult) -> Iterator[str]:
    """The address of a server of the newest version, and an end to it."""
    folder = tmp_path_factory.mktemp("serving")
    settings = read_settings(home=folder / "home")
    register(trained, settings)
    port = free_port()
    scripts = Path(sys.executable).parent
    environment = os.environ | {
        "MLFLOW_TRACKING_URI": settings.mlflow_uri,
        "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
    }
    command = [
        str(scripts / "mlflow"), "models", "serve", "--model-uri", f"models:/{MODEL_NAME}@{CHALLENGER}",
        "--env-manager", "local", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
    ]  # fmt: skip
    log = folder / "serve.log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=environment, cwd=folder, start_new_session=True)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(address, process, log)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


def wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        with contextlib.suppress(URLError, ConnectionError, TimeoutError), urlopen(f"{address}/ping", timeout=5):
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.5)
        assert process.returncode is None, log.read_text()[-3000:]
    raise AssertionError(log.read_text()[-3000:])


def post(address: str, body: dict[str, Any]) -> tuple[int, Any]:
    request = Request(
        f"{address}/invocations", json.dumps(body).encode(), {"Content-Type": "application/json"}, method="POST"
    )
    try:
        with urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        return error.code, json.loads(error.read())


@pytest.mark.slow
def test_applications_are_scored_over_http(server: str, trained: TrainingResult) -> None:
    loans = [APPLICATION, APPLICATION | {"loan_id": "a2", "loan_purpose": "boat"}, APPLICATION | {"credit_score": 800}]
    status, answer = post(server, {"dataframe_records": loans})
    assert status == 200, answer
    found = pd.DataFrame(answer["predictions"])
    expected = score_new_loans(pd.DataFrame(loans), trained.model, trained.encoders, explain=True)
    scored = [0, 2]
    assert found["default_probability"][scored].tolist() == expected["default_probability"][scored].tolist()
    assert found["reason_1"].tolist() == expected["reason_1"].tolist()
    assert "loan_purpose 'boat' is none of" in found["reason"][1]
    assert pd.isna(found["default_probability"][1])
    assert set(found["model_version"]) == {"1"}


@pytest.mark.slow
@pytest.mark.parametrize("missing", ["loan_amount", "loan_purpose"])
def test_a_request_without_a_needed_column_is_refused_by_name(server: str, missing: str) -> None:
    loan = {name: value for name, value in APPLICATION.items() if name != missing}
    status, answer = post(server, {"dataframe_records": [loan]})
    assert status == 400
    assert missing in answer["message"]


@pytest.mark.slow
def test_a_request_of_wrong_types_is_refused(server: str) -> None:
    status, answer = post(server, {"dataframe_records": [APPLICATION | {"loan_amount": "much"}]})
    assert status == 400
    assert "loan_amount" in answer["message"]
