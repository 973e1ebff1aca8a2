"""How good the champion is, how sure we are of it, and what it says about the portfolio."""

from __future__ import annotations

from typing import Any

from dash import Dash, Input, Output, html

from credit_risk_assets.config.tables import LOAN_SCORES, MODEL_PERFORMANCE, PORTFOLIO_KPIS
from dash_app.charts import model as charts
from dash_app.charts.graph import chart_card
from dash_app.charts.style import Chart, blank
from dash_app.components import ids, text
from dash_app.components.aria import aria
from dash_app.components.cards import stat_card
from dash_app.components.stamp import stamp
from dash_app.components.table import Column, table
from dash_app.data import model
from dash_app.data.lake import Snapshot
from dash_app.data.model import Performance
from dash_app.data.quality import newest_as_of
from dash_app.pages.frame import NotAvailableError, guarded, needed_cube, page
from dash_app.security.roles import Permission
from dash_app.services import services

PATH, NAME, TITLE = "/model", "model", "Model"
PERMISSION = Permission.VIEW_MODEL
CHARTS = ("discrimination", "ratings", "loss-by-rating", "top-reasons")
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
COUNTS = {"n", "defaults", "loans", "grades_outside", "leak_findings"}
SHARES = {"bad_rate", "observed_rate", "mean_pd", "ece", "predicted_bad_share", "capture_10", "threshold"}


def layout(**_query: Any) -> html.Div:
    """The page."""
    body = [
        html.Div(id="model-stats", className="kpi-grid five"),
        html.Div(
            [
                chart_card("discrimination", "Discrimination", width=5, height=260),
                chart_card("ratings", "Rating distribution", width=7, height=260),
                chart_card("loss-by-rating", "Expected loss by rating", width=6, height=260),
                chart_card("top-reasons", "Why loans are rated risky", width=6, height=260),
                *[_section(name, title, note) for name, (title, note, _) in GROUPS.items()],
            ],
            className="grid",
        ),
    ]
    return page(NAME, TITLE, body)


def register(app: Dash) -> None:
    """The callbacks of the page."""

    @app.callback(
        Output(f"{NAME}-notice", "children"),
        Output(f"{NAME}-body", "className"),
        Output(f"{NAME}-stamp", "children"),
        Output("model-stats", "children"),
        *[Output(name, "figure") for name in CHARTS],
        *[Output(f"{name}-note", "children") for name in CHARTS],
        *[Output(f"metrics-{name}", "children") for name in GROUPS],
        Input(ids.VERSIONS, "data"),
    )
    def render(_token: str) -> list[Any]:
        return guarded(_render, 2 + 2 * len(CHARTS) + len(GROUPS))


def _render() -> list[Any]:
    app = services()
    snapshot = app.lake.snapshot()
    cube = needed_cube(snapshot)
    found = model.performance(snapshot)
    if found is None:
        raise NotAvailableError("No model for this portfolio", model.missing_reason(len(cube.tapes)))
    ratings = model.ratings(snapshot)
    unscored = Chart(blank("The loans are not scored yet."), "The loans are not scored yet.")
    made = [
        charts.discrimination(found),
        charts.rating_distribution(ratings, app.currency) if ratings is not None else unscored,
        charts.expected_loss_by_rating(ratings, app.currency) if ratings is not None else unscored,
        charts.reasons(model.top_reasons(snapshot)),
    ]
    mark = stamp(
        snapshot,
        newest_as_of(snapshot),
        (MODEL_PERFORMANCE, LOAN_SCORES, PORTFOLIO_KPIS),
        app.settings.quality.max_tape_age_days,
        app.today(),
    )
    return [
        mark,
        _stats(found, snapshot),
        *[chart.figure for chart in made],
        *[chart.note for chart in made],
        *_tables(found),
    ]


def _stats(found: Performance, snapshot: Snapshot) -> list[html.Article]:
    best = found.data_sets[0]
    scored = f", {text.count(snapshot.rows(LOAN_SCORES))} loans scored" if snapshot.has(LOAN_SCORES) else ""
    cards = [
        stat_card(
            "Champion",
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
