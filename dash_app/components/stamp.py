"""The data stamp: what day the numbers describe, when they were written, and from which table versions."""

from __future__ import annotations

from datetime import date, datetime

from dash import html

from credit_risk_assets.config.tables import Table
from dash_app.components import text
from dash_app.components.aria import aria
from dash_app.data.lake import Snapshot


def stamp(
    snapshot: Snapshot, as_of: date | None, tables: tuple[Table, ...], max_age_days: int, today: date
) -> html.Div:
    """As-of date, age of the tables and their versions; says so where the newest tape is too old."""
    written = [moment for moment in (snapshot.committed_at(t) for t in tables if snapshot.has(t)) if moment]
    newest: datetime | None = max(written) if written else None
    stale = as_of is not None and (today - as_of).days > max_age_days
    versions = " · ".join(f"{t.path} v{snapshot.versions[t.path]}" for t in tables if snapshot.has(t))
    return html.Div(
        [
            html.Span("", className=f"dot {'stale' if stale else 'fresh'}", **aria(hidden="true")),
            html.Span(f"Data as of {text.day(as_of)}", className="stamp-date"),
            html.Span(f"stale: {(today - as_of).days:,} days old" if stale and as_of else "", className="stamp-stale"),
            html.Span(
                ["refreshed ", html.Time(text.age(newest), dateTime=newest.isoformat() if newest else "")],
                title=text.moment(newest),
            ),
            html.Span(versions, className="stamp-versions"),
        ],
        className="stamp",
    )
