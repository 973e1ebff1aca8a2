"""Whether the data can be trusted: checks, refused rows, files taken, and sums that must tie."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any
from urllib.parse import quote

import polars as pl
from dash import Dash, Input, Output, html

from credit_risk_assets.config.settings import Settings
from credit_risk_assets.config.tables import INGESTION_LOG, QUALITY_RESULTS, REJECTED_RECORDS
from dash_app.components import ids, text
from dash_app.components.aria import aria
from dash_app.components.cards import stat_card
from dash_app.components.stamp import stamp
from dash_app.components.table import Column, table
from dash_app.data import quality
from dash_app.pages.frame import NoLakeError, guarded, page
from dash_app.security.roles import Permission
from dash_app.services import services

PATH, NAME, TITLE = "/quality", "quality", "Data quality"
PERMISSION = Permission.VIEW_QUALITY


def layout(**_query: Any) -> html.Div:
    """The page."""
    body = [
        html.Div(id="quality-stats", className="kpi-grid"),
        html.Div(
            [
                _section("Reconciliation", "ties", 7),
                _section("Refused rows by reason", "reasons", 5),
                _section("Freshness", "fresh", 12, "table-scroll tall"),
                _section("Asset checks", "checks", 12, "table-scroll tall"),
                _section("Files taken", "files", 12),
            ],
            className="grid",
        ),
    ]
    return page(NAME, TITLE, body, actions=_dagster(services().settings))


def _dagster(settings: Settings) -> html.A:
    """The way to Dagster's interface, which may listen on every address of the machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.dagster.host, settings.dagster.host)
    return html.A(
        "Open Dagster",
        href=f"http://{host}:{settings.dagster.port}/assets",
        target="_blank",
        rel="noopener noreferrer",
        className="button",
        title="Runs, schedules, lineage and every check; `make up` starts it.",
    )


def _section(title: str, name: str, width: int, scroll: str = "table-scroll") -> html.Section:
    return html.Section(
        [
            html.Div(html.H2(title, className="card-title"), className="card-heading"),
            html.P(id=f"{name}-note", className="card-note"),
            html.Div(id=f"{name}-table", className=scroll, tabIndex=0, **aria(label=title), role="region"),
        ],
        className=f"card tall-card span-{width}",
    )


def register(app: Dash) -> None:
    """The callbacks of the page."""

    @app.callback(
        Output(f"{NAME}-notice", "children"),
        Output(f"{NAME}-body", "className"),
        Output(f"{NAME}-stamp", "children"),
        Output("quality-stats", "children"),
        *[
            Output(f"{name}-{part}", "children")
            for name in ("checks", "ties", "files", "reasons", "fresh")
            for part in ("note", "table")
        ],
        Input(ids.VERSIONS, "data"),
    )
    def render(_token: str) -> list[Any]:
        return guarded(_render, 12)


def _render() -> list[Any]:
    app = services()
    snapshot = app.lake.snapshot()
    if not (snapshot.has(QUALITY_RESULTS) or snapshot.has(INGESTION_LOG)):
        raise NoLakeError("no quality results")
    as_of = quality.newest_as_of(snapshot)
    limit = app.settings.quality.max_tape_age_days
    mark = stamp(snapshot, as_of, (QUALITY_RESULTS, INGESTION_LOG, REJECTED_RECORDS), limit, app.today())
    checks = quality.checks(snapshot) if snapshot.has(QUALITY_RESULTS) else pl.DataFrame()
    files, ties = quality.ingested_files(snapshot), quality.reconciliation(snapshot)
    fresh = quality.freshness(snapshot, app.settings.schedules)
    return [
        mark,
        _stats(checks, files, ties, fresh, as_of, limit, app.today()),
        *_checks(checks),
        *_ties(ties),
        *_files(files),
        *_reasons(quality.rejected_reasons(snapshot)),
        *_fresh(fresh),
    ]


def _stats(
    checks: pl.DataFrame,
    files: pl.DataFrame,
    ties: list[quality.Tie],
    fresh_tables: list[quality.Freshness],
    as_of: date | None,
    limit: int,
    today: date,
) -> list[html.Article]:
    cards = []
    if checks.height:
        passed = int(checks["passed"].sum())
        failed = checks.filter(~pl.col("passed"))
        errors = int((failed["severity"] == "ERROR").sum())
        warnings = failed.height - errors
        words = f"{_plural(errors, 'error')}, {_plural(warnings, 'warning')}" if failed.height else "all pass"
        tone = "worse" if errors else "warn" if warnings else "better"
        cards.append(stat_card("Checks passed", f"{passed} of {checks.height}", words, tone))
    age = (today - as_of).days if as_of else None
    fresh = age is not None and age <= limit
    cards.append(
        stat_card(
            "Newest tape",
            text.day(as_of),
            f"{age:,} days old, {'within' if fresh else 'over'} the limit of {limit}" if age is not None else "no tape",
            "better" if fresh else "worse",
        )
    )
    if fresh_tables:
        late = sum(table.late for table in fresh_tables)
        failing = any(table.failing for table in fresh_tables)
        cards.append(
            stat_card(
                "Tables in time",
                f"{len(fresh_tables) - late} of {len(fresh_tables)}",
                f"{late} late against the schedule" if late else "all within the schedule",
                "worse" if failing else "warn" if late else "better",
            )
        )
    if files.height:
        read, rejected = int(files["rows_read"].sum() or 0), int(files["rows_rejected"].sum() or 0)
        cards.append(stat_card("Rows read", text.count(read), f"from {text.count(files.height)} files"))
        share = rejected / read if read else 0.0
        allowed = services().settings.quality.max_rejected_share
        cards.append(
            stat_card(
                "Rows refused",
                text.count(rejected),
                f"{text.percent(share, 2)} of the rows read",
                "better" if share <= allowed else "worse",
            )
        )
    if not cards or not ties:
        return cards
    broken = sum(not tie.holds for tie in ties)
    cards.append(
        stat_card(
            "Sums that tie",
            f"{len(ties) - broken} of {len(ties)}",
            f"{broken} do not" if broken else "all tie",
            "worse" if broken else "better",
        )
    )
    return cards


def _checks(frame: pl.DataFrame) -> tuple[Any, Any]:
    if not frame.height:
        return "No check has run yet.", None
    columns = [
        Column("State", "state"),
        Column("Check", "check"),
        Column("Asset", "asset"),
        Column("Found", "found"),
        Column("Expected", "expected"),
        Column("Failed rows", "failed", right=True),
        Column("Last runs", "runs"),
    ]
    rows = []
    for check in frame.iter_rows(named=True):
        failed = text.count(check["failed_rows"]) if check["failed_rows"] is not None else text.NONE
        rows.append(
            {
                "state": _state(check["passed"], check["severity"]),
                "check": html.Span(_sentence(check["check_name"]), title=check["check_name"]),
                "asset": html.Code(check["asset"]),
                "found": html.Span(_short(check["observed"], 60), title=_more(check)),
                "expected": html.Span(_short(check["expected"], 60), title=check["expected"] or ""),
                "failed": failed,
                "runs": html.Img(src=_strip(check["history"]), alt=_history(check["history"]), height=14),
            }
        )
    newest = frame["evaluated_at"].max()
    when = text.moment(newest) if isinstance(newest, datetime) else text.NONE
    return f"Newest result of each check, {when}; failures first.", table(columns, rows)


def _fresh(tables: list[quality.Freshness]) -> tuple[Any, Any]:
    if not tables:
        return "No table has been written yet.", None
    rows = [
        {
            "state": _lateness(entry),
            "table": html.Code(entry.table.path),
            "written": html.Span(text.age(entry.written), title=text.moment(entry.written), className="one-line"),
            "checked": html.Span(
                text.age(entry.checked) if entry.checked else text.NONE,
                title=text.moment(entry.checked),
                className="one-line",
            ),
            "age": text.NONE if entry.hours is None else f"{entry.hours:,.1f}{text.SPACE}h",
            "allowed": f"{entry.allowed:g}{text.SPACE}h",
            "schedule": text.label(entry.table.cadence),
        }
        for entry in tables
    ]
    columns = [
        Column("State", "state"),
        Column("Table", "table"),
        Column("Schedule", "schedule"),
        Column("Written", "written"),
        Column("Checked", "checked"),
        Column("Age", "age", right=True),
        Column("Allowed", "allowed", right=True),
    ]
    return (
        "Since a table was written or, found unchanged, checked; twice the allowed hours is a failure. Latest first.",
        table(columns, rows),
    )


def _lateness(entry: quality.Freshness) -> html.Span:
    if not entry.late:
        return html.Span("✓ Fresh", className="state pass")
    if entry.failing:
        return html.Span("✕ Overdue", className="state error")
    return html.Span("! Late", className="state warn")


def _ties(ties: list[quality.Tie]) -> tuple[Any, Any]:
    if not ties:
        return "Nothing to compare yet.", None
    rows = [
        {
            "state": _state(tie.holds, "ERROR"),
            "what": tie.name,
            "left": html.Span([html.Small(f"{tie.left}  "), _amount(tie.left_value)]),
            "right": html.Span([html.Small(f"{tie.right}  "), _amount(tie.right_value)]),
        }
        for tie in ties
    ]
    columns = [
        Column("State", "state"),
        Column("Sum", "what"),
        Column("From", "left", right=True),
        Column("To", "right", right=True),
    ]
    return "From the files read to the gold tables.", table(columns, rows)


def _reasons(frame: pl.DataFrame) -> tuple[Any, Any]:
    if not frame.height:
        return "Every row that was read was accepted.", None
    most = float(frame["rows"].max() or 1)  # type: ignore[arg-type]
    items = [
        html.Li(
            [
                html.Div([html.Span(reason or "unknown"), html.B(text.count(rows))], className="line"),
                html.Div(className="bar", style={"width": f"{100 * rows / most:.1f}%"}, **aria(hidden="true")),
            ]
        )
        for reason, rows in frame.select("reason", "rows").iter_rows()
    ]
    return "The most frequent first; a row may have several reasons.", html.Ul(items, className="reasons")


def _files(frame: pl.DataFrame) -> tuple[Any, Any]:
    if not frame.height:
        return "No file has been taken yet.", None
    columns = [
        Column("File", "file"),
        Column("Kind", "kind"),
        Column("Outcome", "outcome"),
        Column("Rows read", "read", right=True),
        Column("Accepted", "accepted", right=True),
        Column("Refused", "rejected", right=True),
        Column("Ties", "ties"),
        Column("Size", "bytes", right=True),
        Column("New columns", "new"),
        Column("Taken", "when"),
        Column("Message", "message"),
    ]
    rows = []
    for entry in frame.head(50).iter_rows(named=True):
        new = entry.get("new_columns")
        rows.append(
            {
                "file": html.Span(str(entry["source_file"]).rsplit("/", 1)[-1], title=entry.get("source_sha256") or ""),
                "kind": entry.get("kind"),
                "outcome": text.label(str(entry.get("outcome") or text.NONE)),
                "read": text.count(entry["rows_read"]),
                "accepted": text.count(entry["rows_accepted"]),
                "rejected": text.count(entry["rows_rejected"]),
                "ties": _state(bool(entry["ties"]), "ERROR"),
                "bytes": f"{(entry.get('bytes') or 0) / 1e6:,.1f}{text.SPACE}MB",
                "new": ", ".join(new) if isinstance(new, list) else (new or text.NONE),
                "when": html.Span(text.moment(entry["started_at"]), className="one-line"),
                "message": html.Span(_short(entry.get("message"), 60), title=entry.get("message") or ""),
            }
        )
    shown = (
        f"The newest {len(rows)} of {frame.height} files."
        if frame.height > len(rows)
        else "Every file taken, newest first."
    )
    return shown, table(columns, rows)


def _state(passed: bool, severity: str) -> html.Span:
    if passed:
        return html.Span("✓ Pass", className="state pass")
    return (
        html.Span("✕ Error", className="state error")
        if severity == "ERROR"
        else html.Span("! Warning", className="state warn")
    )


def _plural(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


_ACRONYMS = {"auc", "dpd", "ead", "ece", "lgd", "pd"}


def _sentence(name: str) -> str:
    words = [word.upper() if word in _ACRONYMS else word for word in name.split("_")]
    sentence = " ".join(words)
    return sentence[:1].upper() + sentence[1:]


def _short(value: Any, width: int = 42) -> str:
    words = str(value) if value not in (None, "") else text.NONE
    return words if len(words) <= width else f"{words[: width - 1]}…"


def _more(check: dict[str, Any]) -> str:
    return "\n".join(str(part) for part in (check["observed"], check.get("examples")) if part)


def _amount(value: float) -> str:
    return text.count(value) if float(value).is_integer() else f"{value:,.2f}"


def _history(results: Sequence[bool]) -> str:
    passed = sum(1 for result in results if result)
    return f"{passed} of the last {len(results)} runs passed"


def _strip(results: Sequence[bool]) -> str:
    marks = "".join(
        f"<rect x='{12 * i}' y='{0 if ok else 3}' width='9' height='{14 if ok else 11}' rx='2' "
        f"fill='{'#3B8FCC' if ok else '#D55E00'}'/>"
        for i, ok in enumerate(results)
    )
    svg = f"<svg xmlns='http://www.w3.org/2000/svg' width='{12 * len(results)}' height='14'>{marks}</svg>"
    return f"data:image/svg+xml,{quote(svg)}"
