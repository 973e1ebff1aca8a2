"""Serves the dashboard: `python -m dash_app [--no-auth]`."""

from __future__ import annotations

import argparse
import contextlib
import logging.config
import socket
import sys
from collections.abc import Sequence
from typing import Any

from gunicorn.app.base import BaseApplication

from credit_risk_assets.config.settings import Settings, SettingsError, load_settings, read_settings
from dash_app.logs import logging_config
from dash_app.security.users import first_log_in


class Server(BaseApplication):
    """Gunicorn with settings from the platform; the app is made in each worker.

    Polars and delta-rs do not survive a fork, so nothing is loaded before it.
    """

    def __init__(self, settings: Settings) -> None:
        self._platform = settings
        super().__init__()

    def load_config(self) -> None:
        """Hand the options to gunicorn."""
        dashboard = self._platform.dashboard
        options: dict[str, Any] = {
            "bind": f"{dashboard.host}:{dashboard.port}",
            "workers": dashboard.workers,
            "worker_class": "gthread",
            "threads": 4,
            "timeout": 120,
            "graceful_timeout": 5,
            "preload_app": False,
            "logconfig_dict": logging_config(),
            "forwarded_allow_ips": "",  # whom to believe is said by dashboard.proxies alone
            "proc_name": "credit-risk-dashboard",
            "control_socket_disable": True,
        }
        for name, value in options.items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def load(self) -> Any:
        """The WSGI application, inside a worker."""
        from dash_app.app import create_app
        from dash_app.services import warm

        server = create_app(self._platform).server
        warm(server)
        return server


def port_problem(host: str, port: int) -> str:
    """Why the address cannot be used, in one line; '' where it can."""
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return (
                f"dashboard: {host}:{port} cannot be used ({error.strerror}); stop what listens there or set "
                "CREDIT_RISK__DASHBOARD__PORT"
            )
    return ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until stopped; 1 with one line on stderr where it cannot start."""
    parser = argparse.ArgumentParser(prog="python -m dash_app", description="Serves the dashboard.")
    parser.add_argument("--no-auth", action="store_true", help="no log-in; on a loopback host only")
    wanted = parser.parse_args(arguments)
    logging.config.dictConfig(logging_config())
    try:
        settings = read_settings(dashboard={"auth": "none"}) if wanted.no_auth else load_settings()
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 1
    dashboard = settings.dashboard
    if problem := port_problem(dashboard.host, dashboard.port):
        print(problem, file=sys.stderr)
        return 1
    try:
        hint = first_log_in(settings)  # before there are workers, who could make one each
    except OSError as error:
        print(f"{settings.dashboard_folder}: cannot be written ({error.strerror or error})", file=sys.stderr)
        return 1
    print(
        f"Dashboard: http://{dashboard.host}:{dashboard.port} (lake: {settings.storage.lake or settings.lake})",
        flush=True,
    )
    if hint:
        print(hint, flush=True)
    Server(settings).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
