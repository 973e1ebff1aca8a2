"""The model page's tables: the gate, the comparison with the champion, decisions, fairness and benchmarks."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import polars as pl
from dash import html

from credit_risk_assets.config.settings import Settings
from dash_app.components import text
from dash_app.components.table import Column, table
from dash_app.data.model import Performance
from dash_app.data.validation import Verdict

CRITERIA = {
    "no_leak": "No leak",
    "leak_canary": "Leak canaries",
    "auc_in_range": "AUC in range",
    "not_worse_than_champion": "Not worse than the champion",
    "calibrated": "Calibrated",
    "mean_pd_fits": "Mean PD fits",
    "observed_rates_rise": "Rates rise with the rating",
    "score_stable": "Score stable",
    "fair": "Fair",
    "not_overfitted": "Not overfitted",
}
BENCHMARKS = {
    "champion": "This version",
    "champion_single_member": "One member of it",
    "logistic_regression": "Logistic regression",
    "scorecard": "Scorecard",
    "unconstrained": "Without business directions",
    "protected": "With protected attributes",
}
SINGLE = ("unconstrained", "protected")
"""Benchmarks whose difference is to one member."""


def state(words: str, tone: str) -> html.Span:
    """A word in a coloured box; `tone` is pass, warn or error."""
    mark = {"pass": "✓", "warn": "!", "error": "✕"}[tone]
    return html.Span(f"{mark} {words}", className=f"state {tone}")


def interval(
    value: float, lower: float | None = None, upper: float | None = None, *, digits: int = 4, sign: bool = False
) -> Any:
    """A figure over its 95 % interval."""
    shown = f"{value:{'+' if sign else ''}.{digits}f}".replace("-", "−")
    if lower is None or upper is None:
        return shown
    ends = [f"{end:{'+' if sign else ''}.{digits}f}".replace("-", "−") for end in (lower, upper)]
    return html.Span([shown, html.Br(), html.Small(f"{ends[0]} to {ends[1]}")])


def gate_table(found: Verdict | None) -> tuple[str, Any]:
    """What the gate says of the version, and every criterion."""
    if found is None:
        return "The gate asks for figures that this version lacks: train anew.", None
    rows = [
        {
            "state": state("Pass", "pass")
            if c.passed
            else state("Fail", "error")
            if any(o.startswith(f"{c.name}:") for o in found.objections)
            else state("Note", "warn"),
            "criterion": CRITERIA.get(c.name, text.label(c.name)),
            "found": c.observed,
            "expected": c.expected,
        }
        for c in found.criteria
    ]
    columns = [
        Column("State", "state"),
        Column("Criterion", "criterion"),
        Column("Found", "found"),
        Column("Expected", "expected"),
    ]
    failed = len(found.objections)
    words = "Nothing speaks against promotion." if not failed else f"{failed} of {len(rows)} keep it out."
    return f"{words} A note keeps no version out. Judged by the settings in force now.", table(columns, rows)


def comparison(
    challenger: str | None,
    champion: str | None,
    measured: Performance | None,
    other: dict[str, tuple[float, float | None, float | None]],
    gate: Verdict | None,
    refused: str = "",
) -> tuple[str, Any]:
    """The challenger beside the champion on the same rows: figures, difference with interval, the gate's verdict."""
    if champion is None:
        return "No version has been promoted yet.", None
    if challenger is None or measured is None:
        return f"Version {champion} is the newest: no challenger stands against it.", None
    if "auc_difference" not in other:
        return f"Version {challenger} could not be compared with the champion.", None
    data_set = measured.data_sets[0]
    rows = []
    for name, label, better in (("auc", "AUC", "higher"), ("ks", "KS", "higher"), ("brier", "Brier score", "lower"),
                                ("ece", "Calibration error", "lower")):  # fmt: skip
        own = measured.metric(data_set, name)
        if name not in other or own[0] is None:
            continue
        rows.append(
            {
                "metric": [label, html.Br(), html.Small(f"{better} is better")],
                "challenger": interval(own[0], own[1], own[2]),
                "champion": interval(*other[name]),
                "difference": interval(*other["auc_difference"], sign=True)
                if name == "auc"
                else interval(own[0] - other[name][0], None, None, sign=True),
            }
        )
    columns = [
        Column(f"On {text.label(data_set).lower()}", "metric"),
        Column(f"Challenger v{challenger}", "challenger", right=True),
        Column(f"Champion v{champion}", "champion", right=True),
        Column("Difference", "difference", right=True),
    ]
    low, high = other["auc_difference"][1:]
    words = "no telling apart"
    if low is not None and high is not None:
        words = "better" if low > 0 else "worse" if high < 0 else words
    against = list(gate.objections) if gate else []
    said = html.Div(
        [
            html.P(
                [
                    state("Kept out", "error") if against else state("Passes", "pass"),
                    " The gate: " + ("" if against else "nothing against promotion."),
                ]
            ),
            html.Ul([html.Li(reason) for reason in against]) if against else None,
            html.P(f"Decided then: {refused}") if refused else None,
        ],
        className="verdict",
    )
    note = f"By AUC the challenger is {'' if words.startswith('no') else 'significantly '}{words}"
    note = "By AUC the two cannot be told apart." if words.startswith("no") else f"{note} (95 %)."
    return note, html.Div([table(columns, rows), said])


def timeline(taken: pl.DataFrame) -> tuple[str, Any]:
    """Every decision on a version, the newest first."""
    if taken.height == 0:
        return "No decision has been taken yet.", None
    tones = {"promoted": "pass", "refused": "error", "rolled_back": "warn"}
    items = []
    for row in reversed(taken.tail(40).to_dicts()):
        action = row["action"]
        mark = (
            state(text.label(action), tones[action]) if action in tones else html.Span("Registered", className="state")
        )
        items.append(
            html.Li(
                [
                    html.Div(
                        [html.B(f"v{row['model_version']}"), mark, html.Span(f"by {row['decided_by']}")],
                        className="event",
                    ),
                    html.Div(
                        [text.moment(row["decided_at"]), " · ", row["reasons"] or text.NONE], className="event-more"
                    ),
                ]
            )
        )
    reigns = taken["champion_version"][-1]
    return (f"Version {reigns} is in force." if reigns else "No version is in force."), html.Ol(
        items, className="timeline"
    )


def fairness_table(frame: pl.DataFrame, gap: float) -> tuple[str, Any]:
    """One row per protected attribute and group."""
    if frame.height == 0:
        return "No protected group was large enough to be measured.", None
    rows, before, noted = [], "", 0
    for group in frame.iter_rows(named=True):
        verdict = _judged(group, gap)
        noted += verdict[1] != "pass"
        subject = group["subject"]
        rows.append(
            {
                "attribute": html.B(text.label(subject)) if subject != before else "",
                "group": text.label(str(group["item"])) if not str(group["item"])[:1].isdigit() else group["item"],
                "n": text.count(group.get("n")),
                "approved": _share(group, "approval_rate"),
                "impact": _ratio(group, "adverse_impact_ratio"),
                "equal": _points(group, "equal_opportunity_difference"),
                "pd": text.percent(group.get("mean_pd"), 1),
                "observed": _share(group, "observed_rate"),
                "state": state(*verdict),
            }
        )
        before = subject
    columns = [
        Column("Attribute", "attribute"),
        Column("Group", "group"),
        Column("Loans", "n", right=True),
        Column("Approved", "approved", right=True),
        Column("Impact ratio", "impact", right=True),
        Column("Equal opportunity", "equal", right=True),
        Column("Predicted", "pd", right=True),
        Column("Observed", "observed", right=True),
        Column("State", "state"),
    ]
    words = "Every group passes." if not noted else f"{noted} of {len(rows)} groups carry a remark."
    return (
        f"{words} Impact ratio: approvals over those of the reference group; below 0.80 it needs a reason in risk. "
        "Equal opportunity: how much more often its good loans are approved. Small figures are 95 % intervals.",
        table(columns, rows),
    )


def _judged(group: dict[str, Any], gap: float) -> tuple[str, str]:
    if group.get("too_small"):
        return "Too small to judge", "warn"
    if group.get("below_four_fifths") and not group.get("explained_by_risk"):
        return "Below four fifths", "error"
    upper = group.get("upper_equal_opportunity_difference")
    if upper is not None and upper < -gap:
        return "Good loans refused more", "error"
    if group.get("holds") == 0:
        return "PD off", "warn"
    if group.get("below_four_fifths"):
        return "Explained by risk", "warn"
    return ("Reference", "pass") if group.get("is_reference") else ("Pass", "pass")


def _bounds(group: dict[str, Any], name: str) -> tuple[float | None, float | None, float | None]:
    return group.get(name), group.get(f"lower_{name}"), group.get(f"upper_{name}")


def _share(group: dict[str, Any], name: str) -> Any:
    value, low, high = _bounds(group, name)
    shown = text.percent(value)
    return (
        shown if low is None or high is None else [shown, html.Br(), html.Small(f"{low * 100:.1f} to {high * 100:.1f}")]
    )


def _ratio(group: dict[str, Any], name: str) -> Any:
    value, low, high = _bounds(group, name)
    return text.NONE if value is None else interval(value, low, high, digits=2)


def _points(group: dict[str, Any], name: str) -> Any:
    value, low, high = _bounds(group, name)
    if value is None:
        return text.NONE
    shown = f"{value * 100:+.1f}{text.SPACE}pp".replace("-", "−")
    if low is None or high is None:
        return shown
    return [shown, html.Br(), html.Small(f"{low * 100:+.1f} to {high * 100:+.1f}".replace("-", "−"))]


def benchmark_table(found: list[dict[str, Any]]) -> tuple[str, Any]:
    """Other models on the same rows."""
    if not found:
        return "No benchmark was trained.", None
    rows = [
        {
            "name": [
                BENCHMARKS.get(entry["name"], text.label(entry["name"])),
                html.Br(),
                html.Small("beside one member"),
            ]
            if entry["name"] in SINGLE
            else BENCHMARKS.get(entry["name"], text.label(entry["name"])),
            "features": text.count(entry["features"][0]) if "features" in entry else text.NONE,
            "auc": interval(*entry["auc"], digits=3) if "auc" in entry else text.NONE,
            "change": interval(*entry["auc_change"], digits=4, sign=True) if "auc_change" in entry else text.NONE,
            "ks": interval(*entry["ks"], digits=3) if "ks" in entry else text.NONE,
            "brier": interval(*entry["brier"]) if "brier" in entry else text.NONE,
            "ece": interval(*entry["ece"]) if "ece" in entry else text.NONE,
            "cost": text.percent(entry["expected_cost"][0], 2) if "expected_cost" in entry else text.NONE,
        }
        for entry in found
    ]
    columns = [
        Column("Model", "name"),
        Column("Features", "features", right=True),
        Column("AUC", "auc", right=True),
        Column("AUC beside", "change", right=True),
        Column("KS", "ks", right=True),
        Column("Brier", "brier", right=True),
        Column("ECE", "ece", right=True),
        Column("Cost", "cost", right=True),
    ]
    return "On the same rows; the cost is that of approving by the PD, as a share of the amount.", table(columns, rows)


def tracking_link(settings: Settings) -> html.P:
    """Where the runs are tracked: a link to an MLflow server, or how to look into the store."""
    address = settings.mlflow.public_url or settings.mlflow_uri
    if urlsplit(address).scheme in ("http", "https"):
        host = urlsplit(address).hostname or ""
        return html.P(
            [
                "Runs and registry: ",
                html.A(f"MLflow on {host}", href=_plain(address), target="_blank", rel="noopener noreferrer"),
            ],
            className="link-line",
        )
    local = address.startswith("sqlite:")
    command = "mlflow ui --backend-store-uri sqlite:///<home>/mlflow/mlflow.db" if local else "credit-risk serve mlflow"
    return html.P(["Runs and registry: ", html.Code(command)], className="link-line")


def _plain(address: str) -> str:
    """The address without a user and password that it may carry."""
    parts = urlsplit(address)
    return parts._replace(netloc=parts.netloc.rsplit("@", 1)[-1]).geturl()
