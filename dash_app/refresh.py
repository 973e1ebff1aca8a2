"""Keeps an open page current: it asks for table versions only, and the filters follow the URL."""

from __future__ import annotations

from typing import Any

from dash import ClientsideFunction, Dash, Input, Output, State, no_update

from dash_app.components import ids
from dash_app.components.filter_bar import filter_controls
from dash_app.components.shell import NAVIGATION
from dash_app.data.filters import Filters
from dash_app.data.lake import LakeError
from dash_app.pages.frame import cube_of
from dash_app.pages.portfolio import CHARTS, EXPORTS
from dash_app.services import services

LEADING = (("vintage", "roll-rates", "buckets"), ("ratings", "loss-by-rating"))
"""Charts of pages without filters whose marks open the loans that they mean."""
FILTERED = ("portfolio", "loans")
"""The pages that show the filtered loans: their links carry the view."""


def register(app: Dash) -> None:
    """The callbacks that every page shares."""

    @app.callback(
        Output(ids.VERSIONS, "data"),
        Output(ids.FILTER_BAR, "children"),
        Input(ids.TICK, "n_intervals"),
        State(ids.VERSIONS, "data"),
        State(ids.FILTER_STATE, "data"),
        prevent_initial_call=True,
    )
    def watch(_ticks: int | None, shown: str | None, query: str | None) -> tuple[Any, Any]:
        snapshot = services().lake.snapshot()
        token = snapshot.token()
        if token == shown:
            return no_update, no_update
        if query is None:  # a page without filters
            return token, no_update
        try:
            return token, filter_controls(cube_of(snapshot), Filters.from_query(query))
        except LakeError:
            return token, no_update

    app.clientside_callback(
        ClientsideFunction("creditRisk", "here"),
        *[Output(ids.nav(name), "className") for name, _, _ in NAVIGATION],
        Input("_pages_location", "pathname"),
    )
    app.clientside_callback(
        ClientsideFunction("creditRisk", "pace"),
        Output(ids.TICK, "interval"),
        Output(ids.TICK, "disabled"),
        Input(ids.PACE, "value"),
    )
    controls = [ids.AS_OF, ids.AS_OF_FROM, *map(ids.control, ids.FILTER_KEYS), ids.SINCE, ids.UNTIL]
    pills = [*ids.FILTER_KEYS, "originated"]
    app.clientside_callback(
        ClientsideFunction("creditRisk", "applyFilters"),
        Output(ids.FILTER_STATE, "data"),
        Output(ids.nav("delinquency"), "href"),
        *[Output(ids.nav(name), "href") for name, _, _ in NAVIGATION if name in FILTERED],
        *[Output(name, "href") for name in EXPORTS],
        *[Output(ids.pill(key), "children") for key in pills],
        *[Output(ids.pill(key), "className") for key in pills],
        Output(ids.RESET, "className"),
        Output(ids.CHIPS, "children"),
        Output(ids.CHIPS, "className"),
        *[Input(name, "value") for name in controls],
    )
    app.clientside_callback(
        ClientsideFunction("creditRisk", "reset"),
        *[Output(name, "value") for name in controls],
        Input(ids.RESET, "n_clicks"),
        prevent_initial_call=True,
    )
    # a mark's click sets the controls, and through them everything else
    app.clientside_callback(
        ClientsideFunction("creditRisk", "drill"),
        Output(ids.DRILLED, "data"),
        [Input(name, "clickData") for name in CHARTS],
        prevent_initial_call=True,
    )
    # on a page without controls it opens the loans that the mark means
    for charts in LEADING:
        app.clientside_callback(
            ClientsideFunction("creditRisk", "follow"),
            Output(ids.FOLLOWED, "data", allow_duplicate=True),
            [Input(name, "clickData") for name in charts],
            prevent_initial_call=True,
        )
