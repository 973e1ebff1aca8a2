"""Both user interfaces as one command: Dagster's UI with its daemon, and the dashboard."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from urllib.error import URLError
from urllib.request import urlopen

from rich.console import Console

from credit_risk_assets.config.settings import Settings
from credit_risk_assets.resources.database import require_databases
from credit_risk_assets.resources.instance import prepare_instance
from credit_risk_assets.resources.spark_servers import keep_connect
from credit_risk_assets.resources.spark_servers import stop as stop_spark

START_SECONDS = 180
STOP_SECONDS = 20


@dataclass
class _Server:
    name: str
    url: str
    ready_path: str
    command: list[str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(self.command, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)

    def ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def ready(self) -> bool:
        try:
            with urlopen(self.url + self.ready_path, timeout=2) as answer:
                return bool(answer.status < 500)
        except (URLError, OSError):
            return False

    def last_line(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()
        return next((line for line in reversed(lines) if line.strip()), "no output")

    def stop(self) -> None:
        if self.process is None or self.ended():
            return
        # Its own children (code server, daemon, workers) are in its process group.
        os.killpg(self.process.pid, signal.SIGINT)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def port_is_free(host: str, port: int) -> bool:
    """Whether nothing listens on a port of this machine yet."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _servers(settings: Settings) -> list[_Server]:
    logs = settings.dagster_home
    workspace = Path("workspace.yaml")
    where = ["-w", str(workspace)] if workspace.is_file() else ["-m", "credit_risk_assets.definitions"]
    dagster, dash = settings.dagster, settings.dashboard
    return [
        _Server(
            "Dagster UI",
            f"http://{dagster.host}:{dagster.port}",
            "/server_info",
            [sys.executable, "-m", "dagster", "dev", *where, "-h", dagster.host, "-p", str(dagster.port)],
            logs / "dagster_ui.log",
        ),
        _Server(
            "dashboard",
            f"http://{dash.host}:{dash.port}",
            "/health",
            [sys.executable, "-m", "dash_app", *(["--no-auth"] if dash.auth == "none" else [])],
            logs / "dashboard.log",
        ),
    ]


def serve(settings: Settings, console: Console) -> None:
    """Serve until interrupted. Raises `RuntimeError` in one line where a port is busy or a server ends.

    Raises `DatabaseError` where a database of the settings does not answer.
    """
    from dash_app.security.users import first_log_in

    require_databases(settings)
    prepare_instance(settings)
    for name, host, port in (
        ("dagster", settings.dagster.host, settings.dagster.port),
        ("dashboard", settings.dashboard.host, settings.dashboard.port),
    ):
        if not port_is_free(host, port):
            raise RuntimeError(
                f"port {port} of {host} is busy: expected it free for the {name}; end what uses it or set "
                f"CREDIT_RISK__{name.upper()}__PORT"
            )
    os.environ["CREDIT_RISK_HOME"] = str(settings.home)
    # here and not in the dashboard's process, whose output is a log file
    hint = first_log_in(settings)
    servers = _servers(settings)
    if hint:
        console.print(f"dashboard {servers[-1].url}, {hint}", markup=False)
    stopping = False

    def stop(_: int, __: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    # The runs that the daemon starts find it warm: each is a process of its own.
    warm = keep_connect(settings)
    if warm:
        console.print(f"Spark Connect server at {settings.spark.remote}", markup=False)
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    try:
        for server in servers:
            server.start()
            console.print(f"starting {server.name} (log: {server.log})", markup=False)
        waiting, deadline = list(servers), time.monotonic() + START_SECONDS
        while not stopping:
            for server in servers:
                if server.ended():
                    raise RuntimeError(f"{server.name} ended: {server.last_line()} (log: {server.log})")
            for server in [server for server in waiting if server.ready()]:
                console.print(f"  {server.name:12} {server.url}", markup=False)
                waiting.remove(server)
                if not waiting:
                    console.print("press Ctrl-C to end", markup=False)
            if waiting and time.monotonic() > deadline:
                raise RuntimeError(f"{waiting[0].name} did not answer in {START_SECONDS} s (log: {waiting[0].log})")
            time.sleep(0.5)
    finally:
        for server in servers:
            server.stop()
        if warm:
            stop_spark(settings, "connect")
