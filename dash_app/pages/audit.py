"""Who did what: the newest records of the audit log, whether its chain holds, and the users."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import dash_ag_grid as dag
import dash_mantine_components as dmc
from dash import Dash, Input, Output, html

from dash_app.components import ids, text
from dash_app.components.aria import aria
from dash_app.components.cards import stat_card
from dash_app.components.table import Column, table
from dash_app.pages.frame import page
from dash_app.security.access import security
from dash_app.security.audit import ACTIONS, Verdict
from dash_app.security.roles import Permission
from dash_app.security.secure import registry_of

PATH, NAME, TITLE = "/audit", "audit", "Audit"
PERMISSION = Permission.VIEW_AUDIT
GRID, ACTION, USER = "audit-grid", "audit-action", "audit-user"
SHOWN = 2_000
"""How many of the newest records the grid holds; `credit-risk audit list` shows all."""
NAMES = {
    "login": "Log-in",
    "login_failed": "Log-in failed",
    "login_limited": "Log-in limited",
    "logout": "Log-out",
    "loan_view": "Loan viewed",
    "loan_list": "Loans listed",
    "score": "Loan scored",
    "user_password": "Password changed",
    "user_role": "Role changed",
}
KNOWN = ("number", "at", "action", "user", "role", "rows", "previous")


def layout(**_query: Any) -> html.Div:
    """The page."""
    body = [
        html.Div(id="audit-stats", className="kpi-grid slim"),
        html.Div(
            [
                dmc.Select(
                    id=ACTION,
                    data=[{"value": action, "label": _name(action)} for action in ACTIONS],
                    placeholder="Every action",
                    clearable=True,
                    size="sm",
                    clearButtonProps={"aria-label": "Every action"},
                    **aria(label="Action"),
                ),
                dmc.Select(
                    id=USER,
                    data=[],
                    placeholder="Every user",
                    clearable=True,
                    searchable=True,
                    size="sm",
                    clearButtonProps={"aria-label": "Every user"},
                    **aria(label="User"),
                ),
            ],
            className="tools",
        ),
        html.Div(_grid(), className="card grid-card"),
        html.Section(
            [
                html.Div(html.H2("Users", className="card-title"), className="card-heading"),
                html.P(
                    ["Added and changed by ", html.Code("credit-risk user"), " on the server."], className="card-note"
                ),
                html.Div(id="audit-users", className="table-scroll", tabIndex=0, role="region", **aria(label="Users")),
            ],
            className="card below",
        ),
    ]
    return page(NAME, TITLE, body)


def _grid() -> dag.AgGrid:
    columns = [
        {"field": "number", "headerName": "No.", "width": 95, "type": "rightAligned"},
        {"field": "when", "headerName": "When (UTC)", "width": 180},
        {"field": "action", "headerName": "Action", "width": 150},
        {"field": "user", "headerName": "User", "width": 140},
        {"field": "role", "headerName": "Role", "width": 110},
        {
            "field": "rows",
            "headerName": "Rows",
            "width": 110,
            "type": "rightAligned",
            "valueFormatter": {"function": "params.value == null ? '' : d3.format(',')(params.value)"},
        },
        {"field": "details", "headerName": "Details", "flex": 1, "minWidth": 320, "tooltipField": "details"},
    ]
    return dag.AgGrid(
        id=GRID,
        columnDefs=columns,
        rowData=[],
        defaultColDef={"sortable": True, "resizable": True},
        dashGridOptions={
            "rowHeight": 36,
            "headerHeight": 40,
            "animateRows": False,
        },
        className="loan-grid",
        style={"height": "520px"},
    )


def register(app: Dash) -> None:
    """The callbacks of the page."""

    @app.callback(
        Output(f"{NAME}-stamp", "children"),
        Output("audit-stats", "children"),
        Output(USER, "data"),
        Output(GRID, "rowData"),
        Input(ids.TICK, "n_intervals"),
        Input(ACTION, "value"),
        Input(USER, "value"),
    )
    def render(_ticks: int | None, action: str | None, user: str | None) -> list[Any]:
        log = security().audit
        records = log.records(limit=SHOWN)
        wanted = [
            entry for entry in records if action in (None, "", entry["action"]) and user in (None, "", entry["user"])
        ]
        stamp = html.Div(f"The newest {len(records):,} records", className="stamp")
        return [
            stamp,
            _stats(records, log.verdict()),
            sorted({str(entry["user"]) for entry in records}),
            [_row(entry) for entry in wanted],
        ]

    with registry_of(app.server).granting(app, Permission.LIST_USERS):

        @app.callback(Output("audit-users", "children"), Input(ids.TICK, "n_intervals"))
        def users(_ticks: int | None) -> html.Table:
            columns = [
                Column("User", "name"),
                Column("Role", "role"),
                Column("Last log-in", "signed_in"),
                Column("Since", "made"),
            ]
            rows = [
                {
                    "name": user.name,
                    "role": text.label(user.role),
                    "signed_in": text.moment(user.signed_in_at) if user.signed_in_at else "never",
                    "made": text.moment(user.made_at),
                }
                for user in security().users.all()
            ]
            return table(columns, rows)


def _stats(records: list[dict[str, Any]], verdict: Verdict) -> list[html.Article]:
    day = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    recent = [entry["action"] for entry in records if entry["at"] >= day]
    failed = recent.count("login_failed") + recent.count("login_limited")
    chain = ("Intact", f"{verdict.records:,} records, unbroken", "better")
    if not verdict.holds:
        chain = (f"Broken at line {verdict.broken_line:,}", verdict.reason, "worse")
    return [
        stat_card("Chain", *chain, name="audit-chain"),
        stat_card("Log-ins, 24 hours", text.count(recent.count("login")), f"{failed:,} failed"),
        stat_card("Refused, 24 hours", text.count(recent.count("refused")), "asked for what the role does not permit"),
        stat_card("Exports, 24 hours", text.count(recent.count("export")), "of loans, as files"),
    ]


def _row(entry: dict[str, Any]) -> dict[str, Any]:
    at = datetime.fromisoformat(entry["at"])
    details = [f"{name}: {_plain(value)}" for name, value in entry.items() if name not in KNOWN and value != ""]
    return {
        "number": entry.get("number"),
        "when": f"{at:%Y-%m-%d %H:%M:%S}",
        "action": _name(str(entry["action"])),
        "user": entry.get("user"),
        "role": entry.get("role"),
        "rows": entry.get("rows"),
        "details": ", ".join(details),
    }


def _name(action: str) -> str:
    return NAMES.get(action) or text.label(action)


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{name} v{version}" for name, version in value.items())
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
