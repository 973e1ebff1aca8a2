"""Every loan in view: searched, filtered, sorted and paged by the server."""

from __future__ import annotations

from typing import Any

import dash_ag_grid as dag
import dash_mantine_components as dmc
from dash import ClientsideFunction, Dash, Input, Output, State, html, no_update

from credit_risk_assets.config.tables import LOAN_HISTORY, LOAN_SCORES, LOANS
from dash_app.components import ids, states, text
from dash_app.components.aria import aria
from dash_app.components.cards import stat_card
from dash_app.components.stamp import stamp
from dash_app.data.export import loan_table
from dash_app.data.filters import Filters
from dash_app.data.index import MODEL_LOSS
from dash_app.data.lake import LakeError, Snapshot
from dash_app.data.loans import SHOWN, LoanRequest, loan_block, loan_sums
from dash_app.pages.frame import audited_filter, cube_of, filters_from, guarded, needed_cube, page
from dash_app.pages.portfolio import export_links
from dash_app.security.access import record
from dash_app.security.roles import Permission
from dash_app.services import services

PATH, NAME, TITLE = "/loans", "loans", "Loans"
PERMISSION = Permission.VIEW_LOANS
GRID, SEARCH, ONLY = "loan-grid", "loan-search", "loan-only"


def _number(field: str, name: str, form: str = ",.0f", width: int = 120, **more: Any) -> dict[str, Any]:
    return {
        "field": field,
        "headerName": name,
        "type": "rightAligned",
        "filter": "agNumberColumnFilter",
        "width": width,
        "valueFormatter": {"function": f"params.value == null ? '–' : d3.format('{form}')(params.value)"},
        **more,
    }


def _word(field: str, name: str, width: int = 140, **more: Any) -> dict[str, Any]:
    return {
        "field": field,
        "headerName": name,
        "filter": "agTextColumnFilter",
        "width": width,
        "valueFormatter": {"function": "creditRiskLabel(params.value)"},
        **more,
    }


def column_definitions() -> list[dict[str, Any]]:
    """The grid's columns; those that a portfolio does not have stay empty."""
    tone = {
        f"tone-{value.lower().replace(' ', '-')}": f"params.value == '{value}'"
        for value in ("Very Low", "Low", "Medium", "High", "Very High")
    }
    return [
        {
            "field": "loan_id",
            "headerName": "Loan",
            "cellRenderer": "LoanLink",
            "filter": "agTextColumnFilter",
            "width": 140,
            "pinned": "left",
        },
        _word("loan_purpose", "Purpose", 150),
        _word("loan_status", "Status", 110),
        _word("risk_category", "Risk category", 150, cellClassRules=tone),
        _word("risk_rating", "Model rating", 150, cellClassRules=tone),
        _number("pd_12m", "PD 12 months", ".1%", 160),
        _number("outstanding_balance", "Balance", sort="desc", width=140),
        _number("loan_amount", "Amount", width=125),
        _number("interest_rate", "Rate, %", ".2f", 110),
        _number("term_months", "Term, months", width=155),
        _number("current_dpd", "Days past due", width=155),
        _number("credit_score", "Score", width=110),
        _number("debt_to_income", "Debt to income", ".1%", 165),
        _number("loan_to_value", "Loan to value", ".1%", 160),
        _number(MODEL_LOSS, "Expected loss", ",.0f", 160, headerTooltip="PD × LGD × exposure by the model, 12 months"),
        _number("stage", "Stage", ",.0f", 115, headerTooltip="IFRS 9"),
        _number("ecl", "Loss allowance", ",.0f", 165, headerTooltip="Expected credit loss by IFRS 9"),
        {
            "field": "origination_date",
            "headerName": "Originated",
            "filter": "agDateColumnFilter",
            "width": 140,
            "filterParams": {"browserDatePicker": True},
        },
        _number("months_on_book", "Months on book", width=170),
        _word("region", "Region", 120),
        _word("reason_1", "Main reason", 260),
    ]


def layout(**query: Any) -> html.Div:
    """The page for a URL's query."""
    tools = html.Div(
        [
            dmc.TextInput(
                id=SEARCH,
                placeholder="Loan number, purpose, region …",
                debounce=300,
                size="sm",
                className="search",
                leftSection=html.Span(className="icon search-icon"),
                **aria(label="Search loans"),
            ),
            dmc.SegmentedControl(
                id=ONLY,
                size="sm",
                value="",
                data=[
                    {"value": "", "label": "All"},
                    {"value": "high", "label": "High risk"},
                    {"value": "warning", "label": "Early warning"},
                ],
                **aria(label="Which loans"),
            ),
        ],
        className="tools",
    )
    grid = dag.AgGrid(
        id=GRID,
        columnDefs=column_definitions(),
        defaultColDef={"sortable": True, "resizable": True, "filterParams": {"buttons": ["reset"]}},
        rowModelType="infinite",
        dashGridOptions={
            "cacheBlockSize": 100,
            "maxBlocksInCache": 20,
            "rowBuffer": 20,
            "infiniteInitialRowCount": 100,
            "rowHeight": 36,
            "headerHeight": 40,
            "multiSortKey": "ctrl",
            "suppressCellFocus": False,
            "animateRows": False,
        },
        className="loan-grid",
        style={"height": "max(420px, calc(100vh - 412px))"},
    )
    body = [
        html.Div(id="loan-stats", className="kpi-grid slim"),
        tools,
        html.Div(grid, className="card grid-card"),
    ]
    return page(NAME, TITLE, body, filters=filters_from(query), actions=export_links())


def _request(query: str | None, search: str | None, only: str | None, rows: dict[str, Any] | None) -> LoanRequest:
    asked = rows or {}
    return LoanRequest(
        Filters.from_query(query or ""),
        int(asked.get("startRow") or 0),
        int(asked.get("endRow") or 0),
        search or "",
        only or "",
        asked.get("filterModel") or {},
        asked.get("sortModel") or (),
    )


def register(app: Dash) -> None:
    """The callbacks of the page."""

    @app.callback(
        Output(f"{NAME}-notice", "children"),
        Output(f"{NAME}-body", "className"),
        Output(f"{NAME}-stamp", "children"),
        Output("loan-stats", "children"),
        Input(ids.FILTER_STATE, "data"),
        Input(ids.VERSIONS, "data"),
        Input(SEARCH, "value"),
        Input(ONLY, "value"),
    )
    def render(query: str | None, _token: str, search: str | None, only: str | None) -> list[Any]:
        return guarded(lambda: _head(_request(query, search, only, None)), 2)

    app.clientside_callback(
        ClientsideFunction("creditRisk", "reload"),
        Output(GRID, "className"),
        Input(ids.FILTER_STATE, "data"),
        Input(ids.VERSIONS, "data"),
        Input(SEARCH, "value"),
        Input(ONLY, "value"),
        prevent_initial_call=True,
    )

    @app.callback(
        Output(GRID, "getRowsResponse"),
        Input(GRID, "getRowsRequest"),
        State(ids.FILTER_STATE, "data"),
        State(SEARCH, "value"),
        State(ONLY, "value"),
        prevent_initial_call=True,
    )
    def rows(asked: dict[str, Any] | None, query: str | None, search: str | None, only: str | None) -> Any:
        if not asked:
            return no_update
        snapshot = services().lake.snapshot()
        try:
            if cube_of(snapshot) is None:
                return {"rowData": [], "rowCount": 0}
            request = _request(query, search, only, asked)
            block = loan_block(snapshot, request)
        except LakeError:  # the head of the page says what is wrong
            return {"rowData": [], "rowCount": 0}
        if request.start == 0:  # scrolling on is the same look at the same list
            _record(snapshot, request, block.total)
        return {"rowData": block.rows, "rowCount": block.total}


def _record(snapshot: Snapshot, request: LoanRequest, rows: int) -> None:
    table, _ = loan_table(snapshot, request.filters)
    record(
        "loan_list",
        filter=audited_filter(snapshot, request.filters),
        only=request.only if request.only in ("high", "warning") else None,
        searched=True if request.search.strip() else None,
        columns=sorted(name for name in request.columns if name in SHOWN) or None,
        versions=snapshot.known(table, LOAN_SCORES),
        rows=rows,
    )


def _head(request: LoanRequest) -> list[Any]:
    app = services()
    snapshot = app.lake.snapshot()
    cube = needed_cube(snapshot)
    table, _ = loan_table(snapshot, request.filters)
    tape = cube.tape(request.filters.as_of)
    newest = tape == cube.tapes[-1]
    mark = stamp(
        snapshot,
        tape.as_of,
        (table, LOAN_SCORES) if newest else (table,),
        app.settings.quality.max_tape_age_days,
        app.today() if newest else tape.as_of,
    )
    if not snapshot.has(table):
        wanted = LOAN_HISTORY.path if table == LOAN_HISTORY else LOANS.path
        return [mark, states.missing("No loan list for this date", f"The lake has no {wanted} table.")]
    block = loan_sums(snapshot, request)
    mean = block.balance / block.total if block.total else None
    cards = [
        stat_card("Loans in view", text.count(block.total), _scope(request), name="loans-in-view"),
        stat_card("Balance", text.money(block.balance, app.currency), title=f"{block.balance:,.2f}"),
        stat_card("Mean balance", text.money(mean, app.currency)),
        stat_card("Model", *_model(snapshot, newest)),
    ]
    return [mark, cards]


def _scope(request: LoanRequest) -> str:
    if request.filters.is_default and not request.search and not request.only:
        return "on book"
    return "match the filters"


def _model(snapshot: Snapshot, newest: bool) -> tuple[str, str]:
    if not newest:
        return "–", "Scores describe the newest tape only."
    if not snapshot.has(LOAN_SCORES):
        return "–", "No model for this portfolio yet."
    return text.count(snapshot.rows(LOAN_SCORES)), "loans on book scored"
