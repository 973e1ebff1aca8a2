"""The portfolio at a glance: key figures, their direction, and where the money and the risk are."""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
import polars as pl
from dash import Dash, Input, Output, html

from credit_risk_assets.config.tables import LOAN_SCORES, PORTFOLIO_CUBE
from dash_app.charts import concentration, loss, mix, trend
from dash_app.charts.graph import chart_card
from dash_app.charts.style import Chart
from dash_app.components import ids
from dash_app.components.aria import aria
from dash_app.components.cards import kpi_card
from dash_app.components.stamp import stamp
from dash_app.data.cube import Cube
from dash_app.data.filters import Filters
from dash_app.data.kpis import portfolio_kpis
from dash_app.data.lake import Snapshot
from dash_app.data.rated import rated_segments
from dash_app.pages.frame import filters_from, guarded, needed_cube, page
from dash_app.security.access import permits
from dash_app.security.roles import Permission
from dash_app.services import services

PATH, NAME, TITLE = "/", "portfolio", "Portfolio"
PERMISSION = Permission.VIEW_PORTFOLIO
HEAT_MEASURE = "heat-measure"
CHARTS = (
    "growth",
    "default-trend",
    "risk-donut",
    "dpd",
    "score",
    "purpose",
    "risk-purpose",
    "originations",
    "regions",
    "rating-loss",
)
EXPORTS = {
    "export-loans": "/export/loans.csv",
    "export-loans-parquet": "/export/loans.parquet",
    "export-high-risk": "/export/high-risk.csv",
    "export-high-risk-parquet": "/export/high-risk.parquet",
}


def export_links() -> list[Any]:
    """The downloads of the loans in view, for those who may have them; their addresses follow the filters."""
    if not permits(Permission.EXPORT_LOANS):
        # the filters write to the links' places all the same
        return [html.A(id=name, hidden=True) for name in EXPORTS]
    return [
        _export("High-risk loans", "export-high-risk", "the High and Very High risk loans in view", "button"),
        _export("Export loans", "export-loans", "the loans in view", "button primary"),
    ]


def _export(label: str, name: str, what: str, look: str) -> html.Div:
    csv = html.A(
        [html.Span(className="icon download", **aria(hidden="true")), label],
        id=name,
        href=EXPORTS[name],
        className=look,
        title=f"CSV of {what}",
    )
    parquet = html.A(
        "Parquet",
        id=f"{name}-parquet",
        href=EXPORTS[f"{name}-parquet"],
        className=f"{look} second",
        title=f"Parquet file of {what}",
        **aria(label=f"{label} as Parquet"),
    )
    return html.Div([csv, parquet], className="button-pair")


def layout(**query: Any) -> html.Div:
    """The page for a URL's query."""
    measure = dmc.SegmentedControl(
        id=HEAT_MEASURE,
        data=[{"label": "Balance", "value": "balance"}, {"label": "Loss rate", "value": "loss"}],
        value="balance",
        size="xs",
        **aria(label="What the heat map shows"),
    )
    body = [
        html.Div(id="kpis", className="kpi-grid"),
        html.Div(
            [
                chart_card("growth", "Portfolio growth", width=5, height=270),
                chart_card("default-trend", "Default rate", width=3, height=270),
                chart_card("risk-donut", "Risk category", width=4, height=270),
                chart_card("dpd", "Days past due", height=270),
                chart_card("score", "Credit score", height=270),
                chart_card("purpose", "Amount by purpose", height=270),
                chart_card("risk-purpose", "Risk × purpose", width=7, height=270, aside=measure, wide=True),
                chart_card("originations", "Originations by status today", width=5, height=270),
                chart_card("regions", "Concentration by region", width=7, height=230),
                chart_card("rating-loss", "Expected loss by rating", width=5, height=230),
            ],
            className="grid",
        ),
    ]
    return page(NAME, TITLE, body, filters=filters_from(query), actions=export_links())


def register(app: Dash) -> None:
    """The callbacks of the page."""

    @app.callback(
        Output(f"{NAME}-notice", "children"),
        Output(f"{NAME}-body", "className"),
        Output(f"{NAME}-stamp", "children"),
        Output("kpis", "children"),
        *[Output(chart, "figure") for chart in CHARTS],
        *[Output(f"{chart}-note", "children") for chart in CHARTS],
        Input(ids.FILTER_STATE, "data"),
        Input(ids.VERSIONS, "data"),
        Input(HEAT_MEASURE, "value"),
    )
    def render(query: str | None, _token: str, measure: str) -> list[Any]:
        return guarded(lambda: _render(Filters.from_query(query or ""), measure), 2 + 2 * len(CHARTS))


def _by_rating(snapshot: Snapshot, cube: Cube, filters: Filters) -> pl.DataFrame | None:
    """Sums per model rating; None for an older tape, which has no scores, and where nothing is scored."""
    if cube.tape(filters.as_of) != cube.tapes[-1]:
        return None
    rated = rated_segments(snapshot)
    return None if rated is None else rated.by_rating(filters)


def _render(filters: Filters, measure: str) -> list[Any]:
    app = services()
    snapshot = app.lake.snapshot()
    cube = needed_cube(snapshot)
    settings = app.settings
    kpis = portfolio_kpis(cube, filters)
    target = settings.dashboard.target_default_rate
    cards = [kpi_card(kpi, app.currency, target if key == "default_rate" else None) for key, kpi in kpis.items()]
    made: list[Chart] = [
        trend.portfolio_growth(cube, filters, app.currency),
        trend.default_rate_trend(kpis["default_rate"], target),
        mix.risk_donut(cube, filters, app.currency),
        mix.dpd_distribution(cube, filters),
        mix.score_distribution(cube, filters),
        mix.amount_by_purpose(cube, filters, app.currency),
        concentration.risk_by_purpose(cube, filters, measure, app.currency),
        trend.originations(cube, filters),
        concentration.region_treemap(cube, filters, app.currency),
        loss.expected_loss_by_rating(_by_rating(snapshot, cube, filters), app.currency),
    ]
    as_of = cube.tape(filters.as_of).as_of
    age_limit = settings.quality.max_tape_age_days
    # a view of an older tape is old by choice, not stale
    today = app.today() if as_of == cube.tapes[-1].as_of else as_of
    mark = stamp(snapshot, as_of, (PORTFOLIO_CUBE, LOAN_SCORES), age_limit, today)
    return [mark, cards, *[chart.figure for chart in made], *[chart.note for chart in made]]
