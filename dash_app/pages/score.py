"""Scores an application through the champion, says why, and shows what other terms would change."""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, callback_context, dcc, html, no_update

from credit_risk_assets.config.tables import MODEL_DECISIONS
from dash_app.charts import scoring as charts
from dash_app.charts.graph import chart_card
from dash_app.components import ids, text
from dash_app.components.aria import aria
from dash_app.components.cards import stat_card
from dash_app.components.stamp import stamp
from dash_app.data import scoring
from dash_app.data.lake import Snapshot
from dash_app.data.quality import newest_as_of
from dash_app.data.scoring import BY_FIELD, FIELDS, WHAT_IF, Field, Score
from dash_app.pages.frame import NotAvailableError, guarded, page
from dash_app.security.access import record
from dash_app.security.roles import Permission
from dash_app.services import services

PATH, NAME, TITLE = "/score", "score", "Score a loan"
PERMISSION = Permission.SCORE_LOANS
SUBMIT, APPLICATION, STEPS = "score-submit", "score-application", "score-steps"
CHARTS = ("pd-along", "pd-path")
LONGEST_PATH = 40
"""Steps that the path keeps; the application's own is always the first."""
GROUPS = (
    ("The loan", FIELDS[:5]),
    ("The applicant", FIELDS[5:9]),
    ("Credit bureau", FIELDS[9:]),
)


def layout(**_query: Any) -> html.Div:
    """The page, with an example in the form."""
    currency = services().currency
    form = html.Section(
        [
            html.Div(html.H2("Application", className="card-title"), className="card-heading"),
            html.P(
                "An example stands in it; what is empty counts as unknown. Nothing that is typed is kept.",
                className="card-note",
            ),
            *[
                html.Fieldset(
                    [html.Legend(title), html.Div([_input(field, currency) for field in fields], className="fields")],
                    className="field-group",
                )
                for title, fields in GROUPS
            ],
            html.Button("Score", id=SUBMIT, n_clicks=0, type="button", className="button primary"),
            html.P(id="score-complaint", className="complaint", role="alert"),
        ],
        className="card span-5",
        **aria(label="Application"),
    )
    what_if = html.Section(
        [
            html.Div(html.H2("What if", className="card-title"), className="card-heading"),
            html.P("Other terms, all else as in the application.", className="card-note"),
            html.Div([_slider(BY_FIELD[name]) for name in WHAT_IF], className="fields"),
        ],
        className="card tall-card",
        **aria(label="What if"),
    )
    body = [
        dcc.Store(id=APPLICATION),
        dcc.Store(id=STEPS),
        html.Div(
            [
                form,
                html.Div(
                    [
                        html.Div(
                            html.Div("Loading the champion …", className="card", role="status"), id="score-result"
                        ),
                        html.Div(id="score-reasons"),
                        what_if,
                        chart_card("pd-along", "PD along the slider", width=12, height=170),
                    ],
                    className="span-7 column",
                ),
                chart_card("pd-path", "Path of the PD", width=12, height=220),
            ],
            className="grid",
        ),
    ]
    return page(NAME, TITLE, body)


def _input(field: Field, currency: str) -> Any:
    unit = currency if field.unit == "money" else field.unit
    given = scoring.EXAMPLE.get(field.name)
    common: dict[str, Any] = {
        "id": _field(field.name),
        "label": field.label,
        "required": field.needed,
        "size": "sm",
    }
    if field.values:
        return dmc.Select(
            data=[{"value": name, "label": text.label(name)} for name in field.values],
            value=given,
            allowDeselect=False,
            **common,
        )
    if field.column.type == "string":
        return dmc.Select(
            data=[given] if given else [],
            value=given,
            clearable=True,
            searchable=True,
            clearButtonProps={"aria-label": f"Clear {field.label.lower()}"},
            **common,
        )
    return dmc.NumberInput(
        value=given * field.scale if given is not None else "",
        rightSection=html.Span(unit, className="unit"),
        rightSectionWidth=max(34, 9 * len(unit) + 14),
        rightSectionPointerEvents="none",
        hideControls=True,
        thousandSeparator=",",
        clampBehavior="none",
        decimalScale=0 if field.whole else 4,
        **common,
    )


def _field(name: str) -> str:
    return f"score-{name.replace('_', '-')}"


def _slider(field: Field) -> html.Div:
    name = f"what-if-{field.name.replace('_', '-')}"
    return html.Div(
        [
            html.Div([html.Span(field.label, id=f"{name}-label"), html.B(id=f"{name}-value")], className="line"),
            dmc.Slider(
                id=name,
                min=0,
                max=1,
                value=0,
                disabled=True,
                label=None,
                size="sm",
                updatemode="mouseup",
                thumbLabel=field.label,
            ),
        ],
        className="what-if",
    )


def _slider_id(name: str) -> str:
    return f"what-if-{name.replace('_', '-')}"


def register(app: Dash) -> None:
    """The callbacks of the page."""
    slider_parts = ("min", "max", "step", "value", "disabled")

    @app.callback(
        Output(f"{NAME}-notice", "children"),
        Output(f"{NAME}-body", "className"),
        Output(f"{NAME}-stamp", "children"),
        Output("score-result", "children"),
        Output("score-reasons", "children"),
        Output("score-complaint", "children"),
        Output(APPLICATION, "data"),
        Output(_field("employment_type"), "data"),
        *[Output(_field(field.name), "error") for field in FIELDS],
        *[Output(_slider_id(name), part) for name in WHAT_IF for part in slider_parts],
        Input(ids.VERSIONS, "data"),
        Input(SUBMIT, "n_clicks"),
        *[State(_field(field.name), "value") for field in FIELDS],
    )
    def submit(_token: str, clicks: int | None, *shown: Any) -> list[Any]:
        asked = callback_context.triggered_id == SUBMIT and bool(clicks)
        application = {field.name: field.stored(value) for field, value in zip(FIELDS, shown, strict=True)}
        outputs = 6 + len(FIELDS) + len(WHAT_IF) * len(slider_parts)
        return guarded(lambda: _score(application, asked), outputs)

    @app.callback(
        *[Output(name, "figure") for name in CHARTS],
        *[Output(f"{name}-note", "children") for name in CHARTS],
        *[Output(f"{_slider_id(name)}-value", "children") for name in WHAT_IF],
        Output(STEPS, "data"),
        Input(APPLICATION, "data"),
        *[Input(_slider_id(name), "value") for name in WHAT_IF],
        State(STEPS, "data"),
        prevent_initial_call=True,
    )
    def what_if(application: dict[str, Any] | None, *values: Any) -> list[Any]:
        *moved, steps = values
        found = guarded(lambda: _what_if(application, moved, steps), 5 + len(WHAT_IF))[2:]
        return found


def _champion(snapshot: Snapshot) -> Any:
    loaded = scoring.champion(services().settings, snapshot)
    if loaded is None:
        raise NotAvailableError(
            "No champion yet",
            "An application is scored by the model version in force, and none has been promoted for this portfolio. "
            "A model is trained on tapes that are twelve months apart: land them, run `credit-risk refresh`, and see "
            "on the model page what the gate decided.",
        )
    return loaded


def _score(application: dict[str, Any], asked: bool) -> list[Any]:
    app = services()
    snapshot = app.lake.snapshot()
    loaded = _champion(snapshot)
    mark = stamp(
        snapshot, newest_as_of(snapshot), (MODEL_DECISIONS,), app.settings.quality.max_tape_age_days, app.today()
    )
    kinds = [{"value": name, "label": text.label(name)} for name in scoring.employment_types(loaded)]
    wrong = scoring.complaints(application, app.currency, app.today())
    errors = [wrong.get(field.name) for field in FIELDS]
    idle = [no_update] * (5 * len(WHAT_IF))
    if wrong:
        said = f"Not scored: {len(wrong)} {'field needs' if len(wrong) == 1 else 'fields need'} another value."
        return [mark, no_update, no_update, said, no_update, kinds, *errors, *idle]
    scored = scoring.score(loaded, [application])[0]
    if scored.complaint:
        said = f"Not scored: {scored.complaint}."
        return [mark, no_update, no_update, said, no_update, kinds, *errors, *idle]
    if asked:
        _audit(snapshot, scored, "application")
    return [
        mark,
        _result(scored),
        _reasons(scored),
        None,
        application,
        kinds,
        *errors,
        *_slider_state(application),
    ]


def _audit(snapshot: Snapshot, scored: Score, what: str) -> None:
    """Who scored what kind of thing by which model; nothing of the applicant."""
    record("score", what=what, model_version=scored.version, versions=snapshot.known(MODEL_DECISIONS), rows=1)


def _slider_state(application: dict[str, Any]) -> list[Any]:
    found = {slider.name: slider for slider in scoring.sliders(application)}
    state: list[Any] = []
    for name in WHAT_IF:
        slider, scale = found.get(name), BY_FIELD[name].scale
        if slider is None:
            state += [0, 1, 1, 0, True]
        else:
            ends = [round(value * scale, 6) for value in (slider.low, slider.high, slider.step)]
            state += [*ends, round(application[name] * scale, 6), False]
    return state


def _result(scored: Score) -> html.Div:
    assert scored.pd_12m is not None
    refer = scored.reaches_threshold
    cards = [
        stat_card(
            "Probability of default, 12 months",
            text.percent(scored.pd_12m, 2),
            f"champion v{scored.version}",
            name="score-pd",
        ),
        stat_card("Rating", scored.rating or text.NONE, "of five, by PD", name="score-rating"),
        stat_card(
            "Score",
            f"{scored.points:,.0f}",
            "points; more is safer",
            name="score-points",
        ),
        stat_card(
            "At the threshold",
            "Refer" if refer else "Pass",
            f"PD {'at or above' if refer else 'below'} {text.percent(scored.threshold)}",
            "worse" if refer else "better",
            title="The threshold is where approving and declining cost the same; people decide.",
            name="score-decision",
        ),
    ]
    return html.Div(cards, className="kpi-grid score-stats")


def _reasons(scored: Score) -> html.Section:
    if scored.reasons:
        content: Any = html.Ol([html.Li(reason) for reason in scored.reasons])
        note = "What raises the PD most, against a usual applicant."
    else:
        content = None
        note = f"Rated {scored.rating}: reasons are given for High and Very High."
    return html.Section(
        [
            html.Div(html.H2("Reasons", className="card-title"), className="card-heading"),
            html.P(note, className="card-note"),
            content,
        ],
        className="card tall-card",
        id="score-reason-list",
    )


def _what_if(application: dict[str, Any] | None, moved: list[Any], steps: dict[str, Any] | None) -> list[Any]:
    app = services()
    if not application:
        raise NotAvailableError("Nothing scored yet", charts.PROMPT)
    kept = {name: application.get(name) for name in BY_FIELD}
    if scoring.complaints(kept, app.currency, app.today()):
        raise NotAvailableError("Nothing scored yet", charts.PROMPT)
    snapshot = app.lake.snapshot()
    loaded = _champion(snapshot)
    ranges = {slider.name: slider for slider in scoring.sliders(kept)}
    values = _within(kept, moved, ranges)
    fresh = not steps or steps.get("of") != kept or steps.get("version") != loaded.version
    known: list[tuple[str, float, str]]
    if fresh:
        scored = scoring.score(loaded, [kept])[0]
        known, before = [("Application", scored.pd_12m or 0.0, scored.rating or "")], kept
        values = kept
    else:
        assert steps is not None
        known, before = [tuple(step) for step in steps["path"]], steps["values"]
    changed = [name for name in WHAT_IF if name in ranges and abs(values[name] - before[name]) > 1e-9]
    now = scoring.score(loaded, [values])[0]
    if changed and now.pd_12m is not None:
        what = ", ".join(
            f"{BY_FIELD[name].label} to {charts.shown_value(BY_FIELD[name], values[name], app.currency)}"
            for name in changed
        )
        known = [*known, (what, now.pd_12m, now.rating or "")]
        known = known if len(known) <= LONGEST_PATH else [known[0], *known[-LONGEST_PATH + 1 :]]
        _audit(snapshot, now, "what-if")
    name = changed[-1] if changed else (steps or {}).get("along") if not fresh else None
    name = name if name in ranges else next(iter(ranges))
    field, pd = BY_FIELD[name], now.pd_12m or 0.0
    made = [
        charts.pd_along(
            field, scoring.along(loaded, values, ranges[name]), (values[name], pd), now.threshold, app.currency
        ),
        charts.pd_path(known, now.threshold),
    ]
    labels = [
        charts.shown_value(BY_FIELD[name], values[name], app.currency) if name in ranges else "not given"
        for name in WHAT_IF
    ]
    kept_steps = {"of": kept, "version": loaded.version, "values": values, "path": known, "along": name}
    return [*[chart.figure for chart in made], *[chart.note for chart in made], *labels, kept_steps]


def _within(application: dict[str, Any], moved: list[Any], ranges: dict[str, scoring.Slider]) -> dict[str, Any]:
    """The application with the sliders' values, each within its range whatever the browser sends."""
    values = dict(application)
    for name, shown in zip(WHAT_IF, moved, strict=True):
        stored = BY_FIELD[name].stored(shown)
        if name in ranges and isinstance(stored, float):
            slider = ranges[name]
            value = min(max(stored, slider.low), slider.high)
            own = application[name]
            # a slider's stops need not meet the application's own value
            values[name] = (
                own if abs(value - own) < slider.step / 2 else round(value) if BY_FIELD[name].whole else value
            )
    return values
