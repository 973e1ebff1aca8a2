"""The commands of compose.yaml as plain processes against a real PostgreSQL: they answer, run and end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from deltalake import DeltaTable

from credit_risk_assets.automation.serve import port_is_free
from credit_risk_assets.config import tables
from credit_risk_assets.config.settings import read_settings
from credit_risk_assets.resources.lake_log import LakeLog
from credit_risk_assets.resources.mlflow import load_version
from credit_risk_assets.resources.registry import champion_of, decisions
from credit_risk_tests.deploy.files import platform_services
from credit_risk_tests.deploy.postgres import Postgres, free_port
from credit_risk_tests.test_interfaces import ENDED, LAUNCH, SELECTOR, STATUS, Served, get, wait_until

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
LISTENS = {
    "mlflow": "MLFLOW__PORT",
    "code-server": "DAGSTER__CODE_SERVER_PORT",
    "webserver": "DAGSTER__PORT",
    "dashboard": "DASHBOARD__PORT",
}


class Server:
    """One host with the services of compose.yaml: the same commands, environments and secret files."""

    def __init__(self, folder: Path, postgres: Postgres) -> None:
        self.home, self.folder = folder / "home", folder
        self.ports = {name: free_port() for name in LISTENS.values()}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.services = platform_services()
        secrets = {
            "dagster__postgres_url": postgres.url("dagster"),
            "mlflow__backend_url": postgres.url("mlflow"),
            "privacy__key": "a key of the lender's",
        }
        for name, service in self.services.items():
            (folder / f"secrets-{name}").mkdir()
            for secret in service.get("secrets", []):
                (folder / f"secrets-{name}" / secret).write_text(secrets[secret])

    def environment(self, name: str) -> dict[str, str]:
        outside = {n: v for n, v in os.environ.items() if not n.startswith(("CREDIT_RISK", "DAGSTER", "MLFLOW"))}
        stated = {n: str(v) for n, v in self.services[name]["environment"].items()}
        here = {n: "127.0.0.1" for n in stated if n.endswith("HOST")}
        return outside | stated | here | {
            "HOME": str(self.home),
            "CREDIT_RISK_HOME": str(self.home),
            "CREDIT_RISK_SECRETS": str(self.folder / f"secrets-{name}"),
            "CREDIT_RISK__MLFLOW__TRACKING_URI": f"http://127.0.0.1:{self.ports['MLFLOW__PORT']}",
            "CREDIT_RISK__LANDING__SETTLE_SECONDS": "0",
            "CREDIT_RISK__MODEL__N_ESTIMATORS": "40",
            "CREDIT_RISK__MODEL__BENCHMARKS": "[]",
            **{f"CREDIT_RISK__{variable}": str(port) for variable, port in self.ports.items()},
        }  # fmt: skip

    def start(self, name: str) -> None:
        program, *arguments = self.services[name]["command"]
        with (self.folder / f"{name}.log").open("w") as log:
            self.processes[name] = subprocess.Popen(
                [str(BIN / program), *arguments],
                cwd=self.folder,
                env=self.environment(name),
                stdout=log,
                stderr=log,
                start_new_session=True,
                # As a shell starts what it puts into the background: it must end all the same when it is asked to.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
            )

    def healthy(self, name: str) -> bool:
        process = self.processes[name]
        assert process.poll() is None, (self.folder / f"{name}.log").read_text()[-3000:]
        if name in LISTENS and port_is_free("127.0.0.1", self.ports[LISTENS[name]]):
            return False  # it cannot be well yet, and asking takes a process
        _, program, *arguments = self.services[name]["healthcheck"]["test"]
        done = subprocess.run(
            [str(BIN / program), *arguments], env=self.environment(name), capture_output=True, check=False
        )
        return done.returncode == 0

    def stop(self) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(60)
            finally:
                # what it left behind would hold the database
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture
def server(postgres: Postgres, tmp_path: Path, simulated_tapes: list[Path]) -> Iterator[Server]:
    made = Server(tmp_path, postgres)
    (made.home / "landing").mkdir(parents=True)
    for tape in simulated_tapes:
        shutil.copy(tape, made.home / "landing")
    try:
        yield made
    finally:
        made.stop()


@pytest.mark.slow
def test_the_services_answer_and_a_run_goes_through_the_code_server(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert set(server.services) == {"mlflow", "code-server", "webserver", "daemon", "dashboard"}
    for name in ("mlflow", "code-server", "webserver", "dashboard"):
        server.start(name)
    for name in ("mlflow", "code-server", "webserver"):
        wait_until(lambda name=name: server.healthy(name), 120, name)  # type: ignore[misc]
    ui = Served(server.home, f"http://127.0.0.1:{server.ports['DAGSTER__PORT']}", "", [])
    launched = ui.ask(LAUNCH, selector={**SELECTOR, "pipelineName": "main"})["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    server.start("daemon")  # takes the run from the queue

    def status() -> str:
        found: str = ui.ask(STATUS, id=launched["run"]["runId"])["runOrError"]["status"]
        return found

    wait_until(lambda: status() == "STARTED", 120, "the run's start")
    # A supervisor that stops the code server now waits for the run.
    server.processes["code-server"].send_signal(signal.SIGTERM)
    said = server.folder / "code-server.log"
    assert wait_until(lambda: status() in ENDED and status(), 240, "the run's end") == "SUCCESS", said.read_text()[
        -3000:
    ]
    assert server.processes["code-server"].wait(120) in (0, 1, -signal.SIGTERM)
    server.start("code-server")
    assert DeltaTable(str(server.home / "lake" / tables.LOANS.path)).count() > 0
    assert not list(server.home.rglob("mlflow.db"))
    for name in ("code-server", "daemon", "dashboard"):
        wait_until(lambda name=name: server.healthy(name), 120, name)  # type: ignore[misc]

    tracking = f"http://127.0.0.1:{server.ports['MLFLOW__PORT']}"
    settings = read_settings(home=server.home, mlflow={"tracking_uri": tracking})
    assert load_version(settings).version == champion_of(decisions(LakeLog(settings.lake)))
    experiment = f"{tracking}/api/2.0/mlflow/experiments/get-by-name?experiment_name=credit_default"
    with urlopen(Request(experiment, headers={"Host": "mlflow:5000"}), timeout=30) as answer:
        assert json.loads(answer.read())["experiment"]["artifact_location"].startswith("mlflow-artifacts:")
    with pytest.raises(HTTPError, match="403"):
        urlopen(Request(experiment, headers={"Host": "attacker.example"}), timeout=30)
    dashboard = f"http://127.0.0.1:{server.ports['DASHBOARD__PORT']}"
    assert json.loads(get(f"{dashboard}/health")) == {"status": "ok"}
    assert b"password" in get(dashboard), "nobody sees a page without a log-in"

    for process in server.processes.values():
        arguments = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        assert b"postgresql" not in arguments, "an address with a password among the arguments"
    server.stop()
    assert {name: process.poll() is not None for name, process in server.processes.items()} == dict.fromkeys(
        server.processes, True
    )
    strange = {file.name for file in server.folder.iterdir()} - {"home"}
    assert {name for name in strange if not name.startswith("secrets-") and not name.endswith(".log")} == set(), (
        "written beside the home, which a container with a read-only root would refuse"
    )
    logs = "".join(file.read_text(errors="replace") for file in server.folder.glob("*.log"))
    assert "d@g" not in logs
    assert "d%40g" not in logs
