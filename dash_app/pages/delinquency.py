"""How loans fall behind and what becomes of them, from the histories that the tapes observed."""

from __future__ import annotations

from datetime import date
from typing import Any

import dash_mantine_components as dmc
from dash import ClientsideFunction, Dash, Input, Output, State, html

from credit_risk_assets.config.tables import RATING_MIGRATION, ROLL_RATES, VINTAGE_CURVES
from dash_app.charts import delinquency as charts
from dash_app.charts.graph import chart_card
from dash_app.components import ids, text
from dash_app.components.aria import aria
from dash_app.components.stamp import stamp
from dash_app.data import delinquency
from dash_app.data.lake import LakeError, Snapshot
from dash_app.data.quality import newest_as_of
from dash_app.pages.frame import NotAvailableError, guarded, needed_cube, page
from dash_app.security.roles import Permission
from dash_app.services import services

PATH, NAME, TITLE = "/delinquency", "delinquency", "Delinquency"
PERMISSION = Permission.VIEW_DELINQUENCY
CHARTS = ("vintage", "roll-rates", "buckets", "migration")
PURPOSES, MEASURE, COHORT, MONTHS, PAIR = (
    "delinquency-purpose",
    "vintage-measure",
    "vintage-cohort",
    "roll-months",
    "migration-pair",
)
KEYS = ("purpose", "late", "cohort", "months", "tapes")
"""The switches' names in the address, in the order of the controls."""
CHOICES = {
    MEASURE: {"ever_90": "90+", "ever_60": "60+", "ever_30": "30+", "ever_90_amount": "90+ amount"},
    COHORT: {"quarter": "Quarter", "year": "Year"},
    MONTHS: {"3": "3 months", "12": "12 months"},
}


def layout(**query: Any) -> html.Div:
    """The page for a URL's query."""
    snapshot = services().lake.snapshot()
    known, pairs = _known(snapshot)
    asked = query.get("purpose") or ""
    chosen = [name for name in (asked if isinstance(asked, list) else str(asked).split(",")) if name in known]
    body = [
        html.Div(
            [
                chart_card(
                    "vintage",
                    "Vintage curves",
                    width=12,
                    height=380,
                    aside=html.Div(
                        [
                            _switch(MEASURE, "Lateness", query.get("late")),
                            _switch(COHORT, "Cohorts", query.get("cohort")),
                        ],
                        className="switches",
                    ),
                    wide=True,
                ),
                chart_card(
                    "roll-rates",
                    "Roll rates",
                    width=7,
                    height=380,
                    aside=_switch(MONTHS, "Months", query.get("months")),
                    wide=True,
                ),
                chart_card("buckets", "Loans past due over time", width=5, height=380),
                chart_card(
                    "migration",
                    "Migration from tape to tape",
                    width=12,
                    height=460,
                    aside=_pair_choice(pairs, query.get("tapes")),
                    wide=True,
                ),
            ],
            className="grid",
        ),
    ]
    purpose = dmc.MultiSelect(
        id=PURPOSES,
        data=[{"value": name, "label": text.label(name)} for name in known],
        value=chosen,
        placeholder="Every purpose" if not chosen else "",
        clearable=True,
        searchable=True,
        size="sm",
        className="purposes",
        clearButtonProps={"aria-label": "Every purpose"},
        comboboxProps={"shadow": "md"},
        **aria(label="Purpose"),
    )
    return page(NAME, TITLE, body, actions=purpose)


def _known(snapshot: Snapshot) -> tuple[list[str], list[tuple[date, date]]]:
    try:
        return delinquency.purposes(snapshot), delinquency.tape_pairs(snapshot)
    except LakeError:  # the page itself says what is wrong
        return [], []


def _switch(name: str, label: str, asked: Any) -> dmc.SegmentedControl:
    choices = CHOICES[name]
    return dmc.SegmentedControl(
        id=name,
        data=[{"value": value, "label": words} for value, words in choices.items()],
        value=asked if asked in choices else next(iter(choices)),
        size="xs",
        **aria(label=label),
    )


def _pair_choice(pairs: list[tuple[date, date]], asked: Any) -> dmc.Select:
    data = [{"value": str(b), "label": f"{text.day(a)} to {text.day(b)}"} for a, b in reversed(pairs)]
    known = {entry["value"] for entry in data}
    return dmc.Select(
        id=PAIR,
        data=data,
        value=asked if asked in known else (data[0]["value"] if data else None),
        allowDeselect=False,
        size="xs",
        w=236,
        comboboxProps={"shadow": "md"},
        **aria(label="Tapes"),
    )


def register(app: Dash) -> None:
    """The callbacks of the page."""
    controls = [Input(name, "value") for name in (PURPOSES, MEASURE, COHORT, MONTHS, PAIR)]

    @app.callback(
        Output(f"{NAME}-notice", "children"),
        Output(f"{NAME}-body", "className"),
        Output(f"{NAME}-stamp", "children"),
        *[Output(name, "figure") for name in CHARTS],
        *[Output(f"{name}-note", "children") for name in CHARTS],
        Input(ids.VERSIONS, "data"),
        *controls,
    )
    def render(
        _token: str,
        chosen: list[str] | None,
        measure: str | None,
        cohort: str | None,
        months: str | None,
        tapes: str | None,
    ) -> list[Any]:
        return guarded(lambda: _render(chosen or [], measure, cohort, months, tapes), 1 + 2 * len(CHARTS))

    app.clientside_callback(
        ClientsideFunction("creditRiskViews", "keepDelinquency"),
        Output(PURPOSES, "placeholder"),
        *controls,
        State(PAIR, "data"),
    )


def _render(
    chosen: list[str], measure: str | None, cohort: str | None, months: str | None, tapes: str | None
) -> list[Any]:
    app = services()
    snapshot = app.lake.snapshot()
    needed_cube(snapshot)
    if not (snapshot.has(VINTAGE_CURVES) or snapshot.has(ROLL_RATES)):
        raise NotAvailableError(
            "No delinquency tables yet",
            "Vintage curves, roll rates and rating migration are computed by the main job: run `credit-risk refresh`.",
        )
    measure = measure if measure in CHOICES[MEASURE] else "ever_90"
    cohort = cohort if cohort in CHOICES[COHORT] else "quarter"
    pair = _pair(delinquency.tape_pairs(snapshot), tapes)
    window = int(months) if months in CHOICES[MONTHS] else 3
    made = [
        charts.vintage_curves(delinquency.vintages(snapshot, measure, cohort, chosen), measure),
        charts.roll_matrix(delinquency.roll_matrix(snapshot, window, chosen)),
        charts.delinquency_over_time(delinquency.buckets_over_time(snapshot, chosen)),
        charts.migration_sankey(delinquency.migration(snapshot, pair, chosen), pair),
    ]
    mark = stamp(
        snapshot,
        newest_as_of(snapshot),
        (VINTAGE_CURVES, ROLL_RATES, RATING_MIGRATION),
        app.settings.quality.max_tape_age_days,
        app.today(),
    )
    return [mark, *[chart.figure for chart in made], *[chart.note for chart in made]]


def _pair(pairs: list[tuple[date, date]], asked: str | None) -> tuple[date, date] | None:
    """The pair whose later tape was asked for, else the newest."""
    return next((pair for pair in pairs if str(pair[1]) == asked), pairs[-1] if pairs else None)
