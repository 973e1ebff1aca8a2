"""Structured logs: every line is `key=value` pairs (logfmt), the lines of the web server and of each request too."""

from __future__ import annotations

import logging
import time
from typing import Any

from dash import Dash
from flask import Response, g, request

from dash_app.security.access import EXTENSION, Security, current_access

access_log = logging.getLogger("dash_app.access")
QUIET = ("health", "_dash_assets.static")
"""Endpoints that are asked for so often, and say so little, that their requests are only debugging output."""


class Logfmt(logging.Formatter):
    """`time=… level=… logger=… message="…"`, then the pairs that the record brings as `fields`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the message holds."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        pairs: dict[str, Any] = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            pairs["exception"] = self.formatException(record.exc_info)
        return " ".join(f"{name}={_quoted(value)}" for name, value in pairs.items() if value is not None)


def _quoted(value: Any) -> str:
    text = str(value)
    if text and all(letter.isprintable() and letter not in ' "=' for letter in text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "\\r").replace("\n", "\\n")
    return f'"{escaped}"'


def logging_config(level: str = "INFO") -> dict[str, Any]:
    """What `logging.config.dictConfig` and gunicorn take."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"logfmt": {"()": "dash_app.logs.Logfmt"}},
        "handlers": {
            "stderr": {"class": "logging.StreamHandler", "formatter": "logfmt", "stream": "ext://sys.stderr"},
        },
        "root": {"level": level, "handlers": ["stderr"]},
        "loggers": {
            "gunicorn.error": {"level": "WARNING", "handlers": ["stderr"], "propagate": False},
            "gunicorn.access": {"level": "WARNING", "handlers": [], "propagate": False},
        },
    }


def install(app: Dash) -> None:
    """Log each request with its user and status; no query, and no value inside a path: they may hold a loan's id."""
    server = app.server
    security: Security = server.extensions[EXTENSION]
    prefix = app.config.routes_pathname_prefix

    @server.before_request
    def begin() -> None:
        g.began = time.perf_counter()

    @server.after_request
    def end(response: Response) -> Response:
        rule = request.url_rule.rule if request.url_rule else "unknown"
        path = security.registry.template("/" + request.path.removeprefix(prefix).strip("/"))
        quiet = request.endpoint in QUIET or "_dash-component-suites" in rule
        access = current_access()
        fields = {
            "method": request.method,
            "path": path or rule,
            "callback": g.get("callback"),
            "status": response.status_code,
            "user": access.name if access else None,
            "role": access.role if access else None,
            "address": request.remote_addr,
            "ms": round(1000 * (time.perf_counter() - g.began)) if "began" in g else None,
        }
        access_log.log(logging.DEBUG if quiet else logging.INFO, "request", extra={"fields": fields})
        return response
