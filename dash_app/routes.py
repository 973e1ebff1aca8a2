"""The routes beside the pages: health for a supervisor, and the exports."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import chain
from typing import Any

from flask import Flask, Response, jsonify, request
from flask_limiter import Limiter

from credit_risk_assets.config.tables import PORTFOLIO_KPIS
from dash_app.data import export
from dash_app.data.cube import read_cube
from dash_app.data.filters import Filters
from dash_app.data.lake import LakeError
from dash_app.data.quality import newest_as_of
from dash_app.pages.frame import audited_filter, needed_cube
from dash_app.security.access import current_access, permits, record, security
from dash_app.security.registry import Registry
from dash_app.security.roles import Permission
from dash_app.services import services

log = logging.getLogger(__name__)


def register(server: Flask, registry: Registry, limiter: Limiter) -> None:
    """Add the routes to the server, each with its permission."""
    registry.add_route(server, "/health", "health", health, Permission.PUBLIC)
    exports = limiter.shared_limit(lambda: f"{services().settings.dashboard.exports_per_hour} per hour", "export")
    for rule, endpoint, view in (
        ("/export/loans.csv", "export_loans", export_loans),
        ("/export/loans.parquet", "export_loans_parquet", export_loans_parquet),
        ("/export/high-risk.csv", "export_high_risk", export_high_risk),
        ("/export/high-risk.parquet", "export_high_risk_parquet", export_high_risk_parquet),
    ):
        registry.add_route(server, rule, endpoint, exports(view), Permission.EXPORT_LOANS)


def health() -> Response:
    """200 while the app is up.

    For those who are signed in the body also says whether the gold tables can be read, and their newest date.
    """
    if not permits(Permission.SIGNED_IN):
        return jsonify({"status": "ok"})
    snapshot = services().lake.snapshot()
    gold: dict[str, Any] = {"readable": False, "as_of_date": None, "tables": dict(snapshot.versions)}
    if not snapshot.has(PORTFOLIO_KPIS):
        gold["reason"] = "no gold tables yet; run `credit-risk refresh`"
    else:
        try:
            as_of = newest_as_of(snapshot)
            gold |= {"readable": True, "as_of_date": as_of.isoformat() if as_of else None}
        except LakeError as error:
            gold["reason"] = str(error)
    return jsonify({"status": "ok", "gold": gold})


def export_loans() -> Response:
    """The loans in view as a CSV file."""
    return _file("loans", "csv", _filters())


def export_loans_parquet() -> Response:
    """The loans in view as a Parquet file."""
    return _file("loans", "parquet", _filters())


def export_high_risk() -> Response:
    """The High and Very High risk loans in view as a CSV file."""
    return _file("high_risk_loans", "csv", export.high_risk(_filters()))


def export_high_risk_parquet() -> Response:
    """The High and Very High risk loans in view as a Parquet file."""
    return _file("high_risk_loans", "parquet", export.high_risk(_filters()))


def _filters() -> Filters:
    return Filters.from_query(request.query_string.decode(errors="replace"))


FORMATS = {
    "csv": (export.stream_csv, "text/csv"),
    "parquet": (export.stream_parquet, "application/vnd.apache.parquet"),
}


def _file(name: str, kind: str, filters: Filters) -> Response:
    stream, mimetype = FORMATS[kind]
    snapshot = services().lake.snapshot()
    try:
        needed_cube(snapshot)
        tally = export.Tally()
        pieces = stream(snapshot, filters, tally)
        first = next(pieces)  # what can go wrong goes wrong before the first byte is sent
        as_of = read_cube(snapshot).tape(filters.as_of).as_of
    except LakeError as error:
        return Response(f"{error}\n", status=503, mimetype="text/plain")
    scope = "" if filters.is_default else "_filtered"
    facts = {
        "what": name,
        "format": kind,
        "filter": audited_filter(snapshot, filters),
        "versions": snapshot.known(export.loan_table(snapshot, filters)[0]),
    }
    record("export_started", **facts)
    response = Response(_recorded(chain([first], pieces), tally, facts), mimetype=mimetype)
    response.headers["Content-Disposition"] = f'attachment; filename="{name}_{as_of.isoformat()}{scope}.{kind}"'
    return response


def _recorded(pieces: Iterator[bytes], tally: export.Tally, facts: dict[str, Any]) -> Iterator[bytes]:
    """The pieces; how many rows left is written down at the end, also where the reader hangs up."""
    access, audit = current_access(), security().audit

    def sent() -> Iterator[bytes]:
        try:
            yield from pieces
        except LakeError as error:
            log.error("export broken off: %s", error)
            raise
        finally:
            name, role = (access.name, access.role) if access else ("nobody", "none")
            audit.append("export", name, role, **facts, rows=tally.rows, complete=tally.complete)

    return sent()
