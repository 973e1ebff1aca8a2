"""`credit-risk up` for real: the Dagster UI launches a run through its own API, the daemon and dashboard answer."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import HTTPServer
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from deltalake import DeltaTable

from credit_risk_assets.config import tables
from credit_risk_tests.conftest import write_tape
from credit_risk_tests.resources.test_notifications import Web, listening

ROOT = Path(__file__).parents[1]
LAUNCH = """
mutation Launch($selector: JobOrPipelineSelector!) {
  launchRun(executionParams: {selector: $selector, runConfigData: {}}) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
  }
}"""
STATUS = "query Status($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
SELECTOR = {"repositoryLocationName": "credit_risk", "repositoryName": "__repository__"}
WATCHERS = """
query Watchers($selector: RepositorySelector!) {
  sensorsOrError(repositorySelector: $selector) {
    ... on Sensors { results { name sensorState { status ticks(limit: 5) { status error { message } } } } }
  }
  schedulesOrError(repositorySelector: $selector) {
    ... on Schedules { results { name scheduleState { status } } }
  }
}"""
FRESHNESS = """
query Freshness($key: AssetKeyInput!) {
  assetNodeOrError(assetKey: $key) { ... on AssetNode { freshnessStatusInfo { freshnessStatus } } }
}"""
ENDED = ("SUCCESS", "FAILURE", "CANCELED")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Any, seconds: float, what: str) -> Any:
    """Poll a server of this test's own; the pause is between requests, never instead of one."""
    pause = threading.Event()
    for _ in range(int(seconds * 2)):
        found = condition()
        if found:
            return found
        pause.wait(0.5)
    raise AssertionError(f"{what} not within {seconds:.0f} s")


@dataclass
class Served:
    home: Path
    dagster: str
    dashboard: str
    alerts: list[dict[str, str]]

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = Request(f"{self.dagster}/graphql", data=body, headers={"Content-Type": "application/json"})
        with urlopen(request, timeout=60) as answer:
            found: dict[str, Any] = json.loads(answer.read())
        assert "errors" not in found, found
        return found["data"]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("up")
    write_tape(home / "landing" / "tape.csv", [{"loan_id": f"L{n}"} for n in range(20)])
    dagster, dashboard = free_port(), free_port()
    web = HTTPServer(("127.0.0.1", 0), Web)
    Web.received = []
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CREDIT_RISK")}
    environment |= {
        "CREDIT_RISK_HOME": str(home),
        "CREDIT_RISK__DAGSTER__PORT": str(dagster),
        "CREDIT_RISK__DASHBOARD__PORT": str(dashboard),
        "CREDIT_RISK__SCHEDULES__WATCH_INTERVAL_SECONDS": "5",
        "CREDIT_RISK__ALERTS__WEBHOOK_URL": f"http://127.0.0.1:{web.server_address[1]}/alerts",
        "DAGSTER_HOME": str(home / "dagster"),
    }
    log = (home / "up.log").open("w")
    process = subprocess.Popen(
        [sys.executable, "-m", "credit_risk_assets", "up"], cwd=ROOT, env=environment, stdout=log, stderr=log
    )
    made = Served(home, f"http://127.0.0.1:{dagster}", f"http://127.0.0.1:{dashboard}", Web.received)

    def both_answer() -> bool:
        assert process.poll() is None, (home / "up.log").read_text()
        return "press Ctrl-C" in (home / "up.log").read_text()

    try:
        with listening(web):
            wait_until(both_answer, 240, "both interfaces")
            yield made
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
        log.close()


def get(url: str) -> bytes:
    with urlopen(url, timeout=30) as answer:
        content: bytes = answer.read()
        return content


@pytest.mark.slow
def test_a_run_launched_from_the_dagster_ui_succeeds_and_the_dashboard_shows_it(served: Served) -> None:
    assert b"<!DOCTYPE html>" in get(served.dagster)
    assert json.loads(get(f"{served.dashboard}/health"))
    said = (served.home / "up.log").read_text()
    assert said.count("first log-in: user admin, password ") == 1
    assert "first log-in" not in (served.home / "dagster" / "dashboard.log").read_text()
    launched = served.ask(LAUNCH, selector={**SELECTOR, "pipelineName": "main"})["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched

    def ended() -> str | None:
        status = served.ask(STATUS, id=launched["run"]["runId"])["runOrError"]["status"]
        return status if status in ENDED else None

    assert wait_until(ended, 240, "the run's end") == "SUCCESS"
    loans = DeltaTable(str(served.home / "lake" / tables.LOANS.path))
    assert loans.count() == 20
    health = json.loads(get(f"{served.dashboard}/health"))
    assert "ok" in json.dumps(health).lower()


@pytest.mark.slow
def test_the_daemon_takes_a_file_that_lands(served: Served) -> None:
    from credit_risk_assets.config.settings import read_settings
    from credit_risk_assets.resources.landing import land

    source = write_tape(served.home / "outside" / "more.csv", [{"loan_id": f"M{n}"} for n in range(7)])
    land(read_settings(home=served.home), source, "changes")

    def taken() -> bool:
        log = DeltaTable(str(served.home / "lake" / tables.INGESTION_LOG.path)).to_pyarrow_table()
        return "changes/more.csv" in log["source_file"].to_pylist()

    wait_until(taken, 240, "the landing sensor's run")


@pytest.mark.slow
def test_the_daemon_runs_every_sensor_and_schedule_and_watches_freshness(served: Served) -> None:
    def ticked() -> dict[str, Any] | None:
        found = served.ask(WATCHERS, selector=SELECTOR)
        sensors = found["sensorsOrError"]["results"]
        watching = [sensor for sensor in sensors if sensor["name"] in ("check_failure_alert", "model_performance")]
        return found if all(sensor["sensorState"]["ticks"] for sensor in watching) else None

    found = wait_until(ticked, 120, "a tick of each watching sensor")
    sensors, schedules = found["sensorsOrError"]["results"], found["schedulesOrError"]["results"]
    assert {sensor["name"]: sensor["sensorState"]["status"] for sensor in sensors} == dict.fromkeys(
        ("landing_folder", "run_failure_alert", "check_failure_alert", "model_performance", "stale_scores"), "RUNNING"
    )
    assert {schedule["name"]: schedule["scheduleState"]["status"] for schedule in schedules} == dict.fromkeys(
        ("lake_every_four_hours", "gold_daily", "model_daily", "maintenance_weekly"), "RUNNING"
    )
    assert [tick["error"] for sensor in sensors for tick in sensor["sensorState"]["ticks"] if tick["error"]] == []

    def judged_fresh() -> bool:
        node = served.ask(FRESHNESS, key={"path": tables.LOANS.key})["assetNodeOrError"]
        return bool(node["freshnessStatusInfo"]["freshnessStatus"] == "HEALTHY")

    wait_until(judged_fresh, 180, "silver/loans judged fresh")


@pytest.mark.slow
def test_a_failed_check_reaches_the_alert_channel_once(served: Served) -> None:
    (served.home / "landing" / "broken.csv").write_text("loan_id;customer_id\nL1;C1\n")

    def told() -> list[dict[str, str]]:
        return [alert for alert in served.alerts if "files_readable" in alert["text"]]

    (alert,) = wait_until(told, 240, "the alert of the refused file")
    assert alert["title"].endswith("1 check failed") or "checks failed" in alert["title"]
    assert "ERROR bronze/ingestion_log files_readable" in alert["text"]
    assert "broken.csv" in alert["text"]
    assert "Traceback" not in alert["text"]


@pytest.mark.slow
def test_a_second_server_on_the_same_port_ends_with_one_line(served: Served) -> None:
    port = served.dagster.rsplit(":", 1)[1]
    done = subprocess.run(
        [sys.executable, "-m", "credit_risk_assets", "up"],
        cwd=ROOT,
        env={**os.environ, "CREDIT_RISK_HOME": str(served.home), "CREDIT_RISK__DAGSTER__PORT": port},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"error port {port} of 127.0.0.1 is busy")
