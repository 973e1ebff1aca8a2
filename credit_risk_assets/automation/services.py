"""The platform's processes one by one, for a supervisor such as systemd or compose, and whether each is well.

Each is the tool's own console script: the settings decide addresses and stores, and secrets travel in the
environment, never as an argument that `ps` would show.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

from credit_risk_assets.config.settings import ENV_PREFIX, Settings, SettingsError, with_driver
from credit_risk_assets.resources.database import DatabaseError, backend, problem_of, require_databases, shared_problem
from credit_risk_assets.resources.instance import prepare_instance

WORKSPACE = Path(__file__).parents[1] / "config" / "workspace.yaml"
LOCATION = "credit_risk"
ANSWER_SECONDS = 10
ANY_ADDRESS = ("0.0.0.0", "::", "")


class Service(StrEnum):
    """What a server runs beside PostgreSQL."""

    CODE_SERVER = "code-server"
    WEBSERVER = "webserver"
    DAEMON = "daemon"
    MLFLOW = "mlflow"
    DASHBOARD = "dashboard"


@dataclass(frozen=True)
class Command:
    """A program of this environment with its arguments, and what it finds in its environment."""

    arguments: tuple[str, ...]
    environment: dict[str, str]


def command_of(service: Service, settings: Settings) -> Command:
    """What `credit-risk serve` becomes, with nothing secret among the arguments."""
    scripts = Path(sys.executable).parent
    dagster = settings.dagster
    found = {
        "CREDIT_RISK_HOME": str(settings.home),
        f"{ENV_PREFIX}DAGSTER__CODE_SERVER_HOST": dagster.code_server_host,
        f"{ENV_PREFIX}DAGSTER__CODE_SERVER_PORT": str(dagster.code_server_port),
    }
    workspace = ("-w", str(WORKSPACE))
    match service:
        case Service.CODE_SERVER:
            where = ("-h", dagster.code_server_host, "-p", str(dagster.code_server_port))
            code = ("-m", "credit_risk_assets.definitions", "--location-name", LOCATION)
            return Command((str(scripts / "dagster"), "api", "grpc", *where, *code), found)
        case Service.WEBSERVER:
            where = ("-h", dagster.host, "-p", str(dagster.port))
            return Command((str(scripts / "dagster-webserver"), *workspace, *where), found)
        case Service.DAEMON:
            return Command((str(scripts / "dagster-daemon"), "run", *workspace), found)
        case Service.DASHBOARD:
            return Command((sys.executable, "-m", "dash_app"), found)
        case Service.MLFLOW:
            return _mlflow(settings, scripts, found)


def _mlflow(settings: Settings, scripts: Path, environment: dict[str, str]) -> Command:
    server = settings.mlflow
    own = with_driver(server.backend_url.get_secret_value())
    environment["MLFLOW_BACKEND_STORE_URI"] = own or f"sqlite:///{settings.home / 'mlflow' / 'mlflow.db'}"
    # It would make the server a client of itself.
    environment["MLFLOW_TRACKING_URI"] = ""
    # Jobs of a product that the platform does not use, in processes of their own.
    environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    if server.allowed_hosts:
        # Naming some takes MLflow's own list away, and with it this machine's addresses.
        here = ["localhost", "localhost:*", "127.0.0.1", "127.0.0.1:*"]
        environment["MLFLOW_SERVER_ALLOWED_HOSTS"] = ",".join([*here, *server.allowed_hosts])
    where = ("--host", server.host, "--port", str(server.port), "--workers", "1")
    files = ("--serve-artifacts", "--artifacts-destination", settings.artifact_root)
    return Command((str(scripts / "mlflow"), "server", *where, *files), environment)


def run(service: Service, settings: Settings) -> None:
    """Become the service: this process is replaced, so that signals and the exit code are its own.

    Raises `SettingsError` in one line where a database it needs does not answer.
    """
    if service == Service.MLFLOW:
        settings.make_home()
        own = backend(settings)
        if problem := shared_problem(settings) or (problem_of(own) if own else ""):
            raise DatabaseError(problem)
    elif service != Service.DASHBOARD:
        # Not the MLflow server: it may start later than Dagster, and a run that needs it says so.
        require_databases(settings, only="dagster.postgres_url")
        prepare_instance(settings)
    command = command_of(service, settings)
    if not Path(command.arguments[0]).exists():
        raise SettingsError(f"{command.arguments[0]}: not installed beside {sys.executable}; install the platform anew")
    os.environ.update(command.environment)
    sys.stdout.flush()
    # What a shell starts in the background ignores SIGINT, and Dagster takes SIGTERM for the same: it could not be
    # asked to end.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.execv(command.arguments[0], command.arguments)


def health(service: Service, settings: Settings) -> str:
    """Why the service on this machine is not well, in one line; '' where it is."""
    checks: dict[Service, Callable[[], str]] = {
        Service.CODE_SERVER: lambda: _grpc(settings),
        Service.WEBSERVER: lambda: _http(settings.dagster.host, settings.dagster.port, "/server_info"),
        Service.DAEMON: lambda: _daemon(settings),
        Service.MLFLOW: lambda: _http(settings.mlflow.host, settings.mlflow.port, "/health"),
        Service.DASHBOARD: lambda: _http(settings.dashboard.host, settings.dashboard.port, "/health"),
    }
    problem = checks[service]()
    return f"{service}: {problem}" if problem else ""


def _here(host: str) -> str:
    return "127.0.0.1" if host in ANY_ADDRESS else host


def _http(host: str, port: int, path: str) -> str:
    address = f"http://{_here(host)}:{port}{path}"
    try:
        with urlopen(address, timeout=ANSWER_SECONDS) as answer:
            return "" if answer.status == 200 else f"{address} answered {answer.status}: expected 200"
    except HTTPError as error:
        return f"{address} answered {error.code}: expected 200"
    except OSError as error:
        return f"{address} does not answer ({getattr(error, 'reason', '') or error})"


def _grpc(settings: Settings) -> str:
    from dagster._grpc.client import DagsterGrpcClient

    host, port = _here(settings.dagster.code_server_host), settings.dagster.code_server_port
    status = DagsterGrpcClient(host=host, port=port).health_check_query()
    return "" if status == "SERVING" else f"{host}:{port} does not serve the code ({status})"


def _daemon(settings: Settings) -> str:
    from dagster._daemon.controller import all_daemons_live

    from credit_risk_assets.resources.instance import open_instance

    with open_instance(settings) as instance:
        return "" if all_daemons_live(instance) else "no recent heartbeat of every daemon in the run history"
