"""Serves the dashboard: `python -m dash_app`."""

from __future__ import annotations

import contextlib
import logging
import socket
import sys
from typing import Any

from gunicorn.app.base import BaseApplication

from credit_risk_assets.config.settings import Settings, SettingsError, load_settings


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
            "loglevel": "warning",
            "proc_name": "credit-risk-dashboard",
            "control_socket_disable": True,
        }
        for name, value in options.items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def load(self) -> Any:
        """The WSGI application, inside a worker."""
        from dash_app.app import create_app

        return create_app(self._platform).server


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


def main() -> int:
    """Serve until stopped; 1 with one line on stderr where it cannot start."""
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="time=%(asctime)s level=%(levelname)s logger=%(name)s %(message)s",
    )
    try:
        settings = load_settings()
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 1
    dashboard = settings.dashboard
    if problem := port_problem(dashboard.host, dashboard.port):
        print(problem, file=sys.stderr)
        return 1
    print(f"Dashboard: http://{dashboard.host}:{dashboard.port} (lake: {settings.lake})", flush=True)
    Server(settings).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
