"""How good a model version is, how sure we are of it, what the gate decided, and what was observed since."""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
import polars as pl
from dash import ClientsideFunction, Dash, Input, Output, html

from credit_risk_assets.config.tables import (
    FEATURE_DRIFT,
    LOAN_SCORES,
    MODEL_DECISIONS,
    MODEL_MONITORING,
    MODEL_PERFORMANCE,
    MODEL_VALIDATION,
    PORTFOLIO_KPIS,
)
from dash_app.charts import model as charts
from dash_app.charts import validation as validation_charts
from dash_app.charts.graph import chart_card
from dash_app.charts.style import Chart, blank
from dash_app.components import ids, model_cards, text
from dash_app.components.aria import aria
from dash_app.components.cards import stat_card
from dash_app.components.stamp import stamp
from dash_app.components.table import Column, table
from dash_app.data import model, validation
from dash_app.data.lake import LakeError, Snapshot
from dash_app.data.model import Performance
from dash_app.data.quality import newest_as_of
from dash_app.pages.frame import NotAvailableError, guarded, needed_cube, page
from dash_app.security.roles import Permission
from dash_app.services import services

PATH, NAME, TITLE = "/model", "model", "Model"
PERMISSION = Permission.VIEW_MODEL
CHARTS = (
    "roc",
    "ks",
    "calibration",
    "lift",
    "discrimination",
    "realised",
    "drift",
    "ratings",
    "loss-by-rating",
    "top-reasons",
)
CARDS = ("gate", "comparison", "timeline", "fairness", "benchmarks")
VERSION = "model-chosen"
# metric -> label, what it says
HEADLINES = {
    "auc": ("AUC", "Chance that a loan that defaults is ranked above one that does not."),
    "gini": ("Gini", "2 × AUC − 1."),
    "ks": ("KS", "Largest distance between the score distributions of bad and good loans."),
    "brier": ("Brier score", "Mean squared error of the probability; lower is better."),
    "ece": ("Calibration error", "Mean gap of predicted and observed default rate over ten equal groups."),
}
GROUPS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "ranking": (
        "Ranking",
        "How well bad loans are told from good ones.",
        ("auc", "gini", "ks", "pr_auc", "lift_10", "capture_10"),
    ),
    "probabilities": (
        "Probabilities",
        "Whether predicted defaults happen as often as predicted.",
        (
            "brier",
            "log_loss",
            "ece",
            "mean_pd",
            "observed_rate",
            "pd_to_observed",
            "calibration_slope",
            "calibration_intercept",
            "hosmer_lemeshow",
            "hosmer_lemeshow_p",
            "spiegelhalter_z",
            "spiegelhalter_p",
            "grades_outside",
        ),
    ),
    "decisions": ("Decisions", "What a cut-off at the threshold gets right.", ()),
}  # the last group takes what the others leave
LABELS = {
    **{key: label for key, (label, _) in HEADLINES.items()},
    "pr_auc": "PR AUC",
    "lift_10": "Lift, riskiest 10 %",
    "capture_10": "Bads in riskiest 10 %",
    "mean_pd": "Mean predicted PD",
    "observed_rate": "Observed default rate",
    "pd_to_observed": "Predicted over observed",
    "hosmer_lemeshow": "Hosmer-Lemeshow χ²",
    "hosmer_lemeshow_p": "Hosmer-Lemeshow p",
    "spiegelhalter_z": "Spiegelhalter z",
    "spiegelhalter_p": "Spiegelhalter p",
    "grades_outside": "Grades outside interval",
    "n": "Loans",
    "threshold": "Decision threshold",
    "accuracy": "Accuracy",
    "precision": "Precision",
    "recall": "Recall",
    "specificity": "Specificity",
    "f1": "F1",
    "predicted_bad_share": "Share predicted bad",
    "precision_at_recall_70": "Precision at 70 % recall",
    "accuracy_at_recall_70": "Accuracy at 70 % recall",
}
COUNTS = {
    *("n", "defaults", "loans", "grades_outside", "leak_findings"),
    *("true_positives", "false_positives", "true_negatives", "false_negatives"),
}
SHARES = {
    "expected_cost",
    "expected_cost_grant_all",
    "threshold_at_recall_70",
    "bad_rate",
    "observed_rate",
    "mean_pd",
    "ece",
    "predicted_bad_share",
    "capture_10",
    "threshold",
}


def layout(**query: Any) -> html.Div:
    """The page for a URL's query."""
    known = _known(services().lake.snapshot())
    data = [{"value": v, "label": f"Version {v}" + (f", {role}" if role else "")} for v, role in known]
    reigns = next((v for v, role in known if role == "champion"), known[0][0] if known else None)
    asked = query.get("version")
    choice = dmc.Select(
        id=VERSION,
        data=data,
        value=asked if asked in {v for v, _ in known} else reigns,
        allowDeselect=False,
        size="sm",
        w=220,
        comboboxProps={"shadow": "md"},
        **aria(label="Version"),
    )
    body = [
        html.Div(id="model-stats", className="kpi-grid five"),
        html.Div(
            [
                _card("comparison", "Challenger against champion", 7),
                _card("timeline", "Decisions", 5),
                chart_card("roc", "ROC curve", width=4, height=260),
                chart_card("ks", "Kolmogorov-Smirnov", width=4, height=260),
                chart_card("calibration", "Calibration", width=4, height=260),
                chart_card("lift", "Lift", width=4, height=260),
                chart_card("discrimination", "Discrimination by data set", width=4, height=260),
                chart_card("realised", "Realised against predicted", width=4, height=260),
                _card("gate", "Gate", 7),
                chart_card("drift", "Drift", width=5, height=380),
                _card("fairness", "Fairness", 12, "table-scroll tall"),
                _card("benchmarks", "Benchmarks", 12),
                chart_card("ratings", "Ratings by the champion", width=4, height=260),
                chart_card("loss-by-rating", "Its expected loss by rating", width=4, height=260),
                chart_card("top-reasons", "Why it rates loans risky", width=4, height=260),
                *[_section(name, title, note) for name, (title, note, _) in GROUPS.items()],
            ],
            className="grid",
        ),
        model_cards.tracking_link(services().settings),
    ]
    return page(NAME, TITLE, body, actions=choice)


def _known(snapshot: Snapshot) -> list[tuple[str, str]]:
    try:
        return validation.versions(snapshot)
    except LakeError:  # the page itself says what is wrong
        return []


def _card(name: str, title: str, width: int, scroll: str = "table-scroll") -> html.Section:
    return html.Section(
        [
            html.Div(html.H2(title, className="card-title"), className="card-heading"),
            html.P(id=f"{name}-note", className="card-note"),
            html.Div(id=f"{name}-table", className=scroll, tabIndex=0, role="region", **aria(label=title)),
        ],
        className=f"card tall-card span-{width}",
    )


def register(app: Dash) -> None:
    """The callbacks of the page."""

    @app.callback(
        Output(f"{NAME}-notice", "children"),
        Output(f"{NAME}-body", "className"),
        Output(f"{NAME}-stamp", "children"),
        Output("model-stats", "children"),
        *[Output(name, "figure") for name in CHARTS],
        *[Output(f"{name}-note", "children") for name in CHARTS],
        *[Output(f"{name}-{part}", "children") for name in CARDS for part in ("note", "table")],
        *[Output(f"metrics-{name}", "children") for name in GROUPS],
        Input(ids.VERSIONS, "data"),
        Input(VERSION, "value"),
    )
    def render(_token: str, version: str | None) -> list[Any]:
        return guarded(lambda: _render(version), 2 + 2 * len(CHARTS) + 2 * len(CARDS) + len(GROUPS))

    app.clientside_callback(
        ClientsideFunction("creditRiskViews", "keepVersion"),
        Output(VERSION, "className"),
        Input(VERSION, "value"),
        Input(VERSION, "data"),
    )


def _render(version: str | None) -> list[Any]:
    app = services()
    snapshot = app.lake.snapshot()
    cube = needed_cube(snapshot)
    found = model.performance(snapshot, version)
    if found is None:
        raise NotAvailableError("No model for this portfolio", model.missing_reason(len(cube.tapes)))
    ratings = model.ratings(snapshot)
    unscored = Chart(blank("The loans are not scored yet."), "The loans are not scored yet.")
    figures = validation.validation(snapshot, found.version)
    best = found.data_sets[0]
    drift = validation.newest_drift(validation.drift_periods(snapshot, found.version))
    made = [
        validation_charts.roc(figures, found.metric(best, "auc")[0]),
        validation_charts.ks(figures, found.metric(best, "ks")[0]),
        validation_charts.calibration(figures, found.metric(best, "ece")[0]),
        validation_charts.lift(figures),
        charts.discrimination(found),
        validation_charts.realised(validation.realised(snapshot, found.version)),
        validation_charts.drift(*drift, app.settings.monitoring.maximum_psi),
        charts.rating_distribution(ratings, app.currency) if ratings is not None else unscored,
        charts.expected_loss_by_rating(ratings, app.currency) if ratings is not None else unscored,
        charts.reasons(model.top_reasons(snapshot)),
    ]
    mark = stamp(
        snapshot,
        newest_as_of(snapshot),
        (
            MODEL_PERFORMANCE,
            MODEL_VALIDATION,
            MODEL_DECISIONS,
            MODEL_MONITORING,
            FEATURE_DRIFT,
            LOAN_SCORES,
            PORTFOLIO_KPIS,
        ),
        app.settings.quality.max_tape_age_days,
        app.today(),
    )
    return [
        mark,
        _stats(found, snapshot),
        *[chart.figure for chart in made],
        *[chart.note for chart in made],
        *_cards(snapshot, found),
        *_tables(found),
    ]


def _cards(snapshot: Snapshot, found: Performance) -> list[Any]:
    """Note and table of each of `CARDS`; the comparison is always between the champion and the newest version."""
    settings = services().settings.model
    figures = validation.validation(snapshot, found.version)
    taken = model.decisions(snapshot)
    challenger = validation.challenger_version(snapshot)
    measured = model.performance(snapshot, challenger) if challenger else None
    if measured is not None and measured.version != challenger:
        measured = None
    said = taken.filter(pl.col("model_version") == challenger).tail(1) if challenger else taken.head(0)
    made = [
        model_cards.gate_table(validation.verdict(snapshot, settings, found.version)),
        model_cards.comparison(
            challenger,
            model.champion_version(snapshot),
            measured,
            validation.against_champion(validation.validation(snapshot, challenger)) if challenger else {},
            validation.verdict(snapshot, settings, challenger) if challenger else None,
            str(said["reasons"][0]) if said.height and said["action"][0] == "refused" else "",
        ),
        model_cards.timeline(taken),
        model_cards.fairness_table(validation.groups(figures), settings.maximum_opportunity_gap),
        model_cards.benchmark_table(validation.benchmarks(figures)),
    ]
    return [part for pair in made for part in pair]


def _stats(found: Performance, snapshot: Snapshot) -> list[html.Article]:
    best = found.data_sets[0]
    reigns = found.version == model.champion_version(snapshot)
    scored = ""
    if reigns and snapshot.has(LOAN_SCORES):
        scored = f", {text.count(snapshot.rows(LOAN_SCORES))} loans scored"
    role = dict(validation.versions(snapshot)).get(found.version) or "version"
    cards = [
        stat_card(
            role.capitalize(),
            f"v{found.version}".replace("vv", "v"),
            f"{text.label(best)} figures{scored}",
            name="model-version",
        )
    ]
    for name, (label, meaning) in HEADLINES.items():
        value, lower, upper = found.metric(best, name)
        if value is None:
            continue
        shown = text.percent(value, 2) if name in SHARES else f"{value:.3f}"
        cards.append(stat_card(label, shown, _interval(name, lower, upper), title=meaning, name=f"model-{name}"))
    return cards


def _interval(name: str, lower: float | None, upper: float | None) -> str:
    if lower is None or upper is None:
        return ""
    if name in SHARES:
        return f"95 %: {text.percent(lower, 2)} to {text.percent(upper, 2)}"
    return f"95 %: {lower:.3f} to {upper:.3f}"


def _tables(found: Performance) -> list[html.Table]:
    """One table per group of metrics."""
    measured = set(found.metrics["metric"])
    grouped = [name for _, _, names in GROUPS.values() for name in names]
    rest = tuple(
        sorted(measured - set(grouped), key=lambda name: (list(LABELS).index(name) if name in LABELS else 99, name))
    )
    return [_metrics(found, [name for name in names or rest if name in measured]) for _, _, names in GROUPS.values()]


def _metrics(found: Performance, names: list[str]) -> html.Table:
    columns = [Column("Metric", "metric")] + [Column(text.label(s), s, right=True) for s in found.data_sets]
    rows = []
    for name in names:
        row: dict[str, Any] = {"metric": LABELS.get(name, text.label(name))}
        for data_set in found.data_sets:
            value, lower, upper = found.metric(data_set, name)
            row[data_set] = _cell(name, value, lower, upper)
        rows.append(row)
    return table(columns, rows)


def _section(name: str, title: str, note: str) -> html.Section:
    return html.Section(
        [
            html.Div(html.H2(title, className="card-title"), className="card-heading"),
            html.P(note, className="card-note"),
            html.Div(
                id=f"metrics-{name}",
                className="table-scroll",
                tabIndex=0,
                role="region",
                **aria(label=f"{title} metrics"),
            ),
        ],
        className="card span-4",
    )


def _cell(name: str, value: float | None, lower: float | None, upper: float | None) -> Any:
    if value is None:
        return text.NONE
    if name in COUNTS:
        return text.count(value)
    shown = text.percent(value, 2) if name in SHARES else f"{value:.4f}".replace("-", "−")
    if lower is None or upper is None:
        return shown
    pair = (text.percent(lower, 2), text.percent(upper, 2)) if name in SHARES else (f"{lower:.3f}", f"{upper:.3f}")
    return html.Span([shown, html.Br(), html.Small(f"{pair[0]} – {pair[1]}")])
