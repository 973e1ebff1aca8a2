"""Words and Markdown of the model document: names of figures, numbers as people read them, tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal

from credit_risk_assets.modelling.evaluate import Metric
from credit_risk_assets.modelling.figures import Figure

Format = Literal["number", "share", "count"]
FAILS = "**fails**"
"""A verdict against the version, never told by colour alone."""

GROUPINGS = ("loan_purpose", "score_band", "risk_category", "dpd_bucket", "origination_year", "observation_date")
BENCHMARK_NAMES = {
    "champion": "this version",
    "logistic_regression": "logistic regression",
    "scorecard": "scorecard",
    "champion_single_member": "this version, one member",
    "unconstrained": "without monotone constraints",
    "protected": "with the protected attributes",
}
_WORDS = {
    "dpd_bucket": "days past due",
    "score_band": "bureau score",
    "risk_category": "risk category",
    "origination_year": "originated in",
    "observation_date": "observed on",
    "loan_purpose": "purpose",
}

METRICS: dict[str, tuple[str, Format]] = {
    "n": ("loans", "count"),
    "observed_rate": ("observed default rate", "share"),
    "mean_pd": ("mean PD", "share"),
    "pd_to_observed": ("mean PD over observed rate", "number"),
    "auc": ("AUC", "number"),
    "gini": ("Gini", "number"),
    "ks": ("KS", "number"),
    "pr_auc": ("area under precision and recall", "number"),
    "capture_10": ("defaults found in the riskiest tenth", "share"),
    "lift_10": ("lift of the riskiest tenth", "number"),
    "brier": ("Brier score", "number"),
    "log_loss": ("log loss", "number"),
    "ece": ("expected calibration error (10 bins)", "number"),
    "calibration_slope": ("calibration slope", "number"),
    "calibration_intercept": ("calibration intercept", "number"),
    "hosmer_lemeshow": ("Hosmer-Lemeshow statistic", "number"),
    "hosmer_lemeshow_p": ("Hosmer-Lemeshow p-value", "number"),
    "spiegelhalter_z": ("Spiegelhalter z", "number"),
    "spiegelhalter_p": ("Spiegelhalter p-value", "number"),
    "grades_outside": ("ratings outside their interval", "count"),
    "expected_cost": ("expected cost a loan, share of the amount", "share"),
    "expected_cost_grant_all": ("the same where every loan is granted", "share"),
}
"""Metrics of the performance table: what they are called and how they are written."""


def number(value: float, kind: Format = "number") -> str:
    """A value as the document writes it: 0.8800, 10.65 % or 32,395."""
    if kind == "share":
        return f"{value:.2%}".replace("%", "\N{NO-BREAK SPACE}%")
    return f"{value:,.0f}" if kind == "count" else f"{value:.4f}"


def with_interval(found: Figure | Metric | None, kind: Format = "number") -> str:
    """A value with its 95 % interval where one is given; empty where there is no value."""
    if found is None:
        return ""
    if found.lower is None or found.upper is None:
        return number(found.value, kind)
    return f"{number(found.value, kind)} ({number(found.lower, kind)} to {number(found.upper, kind)})"


def change(found: Figure | None) -> str:
    """A difference with its sign, and its 95 % interval where one is given."""
    if found is None:
        return ""
    if found.lower is None or found.upper is None:
        return f"{found.value:+.4f}"
    return f"{found.value:+.4f} ({found.lower:+.4f} to {found.upper:+.4f})"


def in_words(name: str) -> str:
    """A column's or a group's name as people say it."""
    return _WORDS.get(name, name.replace("_", " "))


def plain(text: object) -> str:
    """Foreign text in Markdown, on one line and without any power: no link, picture, table or emphasis."""
    shown = re.sub(r"[ \t\r\n]+", " ", str(text)).strip()
    for mark in "\\|[]*`<>#!":
        shown = shown.replace(mark, f"\\{mark}")
    return shown


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; a sentence in its place where there is no row. Numbers are aligned to the right."""
    lines = [[str(cell) for cell in row] for row in rows]
    if not lines:
        return "Not measured for this version."
    marks = ["---"] + [
        "---:" if _is_number([line[place] for line in lines]) else "---" for place in range(1, len(header))
    ]
    shown = [f"| {' | '.join(line)} |" for line in [list(header), marks, *lines]]
    return "\n".join(shown)


def _is_number(cells: Sequence[str]) -> bool:
    known = [cell for cell in cells if cell]
    return bool(known) and all(cell[0] in "0123456789+-−" for cell in known)


def by_item(figures: Iterable[Figure]) -> dict[str, dict[str, Figure]]:
    """Figures by item, then by metric, in their order."""
    found: dict[str, dict[str, Figure]] = {}
    for figure in figures:
        found.setdefault(figure.item, {})[figure.metric] = figure
    return found
