"""Rule-based risk score and category, and what a probability of default becomes: rating and score points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from credit_risk_assets.config.tables import RISK_CATEGORIES, RISK_RATINGS
from credit_risk_assets.credit.delinquency import in_default_sql

POINTS_AT_ANCHOR = 600.0
ANCHOR_ODDS = 30.0
POINTS_TO_DOUBLE_ODDS = 20.0
PD_CLIP = 1e-4
"""Points stop where the PD is this near to 0 or 1: beyond it, odds tell nothing more."""

RISK_SCORE_BOUNDS = (20, 40, 60)
"""Risk scores at which the next category of `RISK_CATEGORIES` begins."""

# What each weak point adds to the rule-based risk score. A missing value adds the points of an average loan:
# neither a reward for keeping silent nor a punishment.
RISK_SCORE_RULES: dict[str, str] = {
    "bureau score": "case when credit_score is null then 10 when credit_score < 560 then 26 "
    "when credit_score < 600 then 20 when credit_score < 640 then 14 when credit_score < 680 then 9 "
    "when credit_score < 720 then 4 when credit_score < 760 then 2 else 0 end",
    "days past due": "case when current_dpd >= 60 then 50 when current_dpd >= 30 then 36 "
    "when current_dpd >= 15 then 12 when current_dpd >= 1 then 8 else 0 end",
    "worst month of the year": "case when max_dpd_code_12m >= 3 then 16 when max_dpd_code_12m = 2 then 13 "
    "when max_dpd_code_12m = 1 then 8 else 0 end",
    "repeated lateness": "case when late_months_12m >= 3 then 6 when late_months_12m = 2 then 3 else 0 end",
    "utilisation": "case when credit_utilization is null then 3 when credit_utilization >= 0.9D then 9 "
    "when credit_utilization >= 0.7D then 6 when credit_utilization >= 0.5D then 3 else 0 end",
    "debt burden": "case when debt_to_income is null then 2 when debt_to_income >= 0.5D then 8 "
    "when debt_to_income >= 0.4D then 5 when debt_to_income >= 0.3D then 2 else 0 end",
    "collateral": "case when loan_to_value is null then 1 when loan_to_value >= 1.1D then 4 "
    "when loan_to_value >= 0.95D then 2 else 0 end",
    "inquiries": "case when inquiries_6m >= 4 then 4 when inquiries_6m >= 2 then 2 else 0 end",
    "thin file": "case when credit_history_months < 24 then 3 else 0 end",
}

# PD of the rule-based score at its knots, linear between them: a prudent rule of thumb that works before any
# model exists and where none can be trained.
PD_PROXY_KNOTS: tuple[tuple[int, float], ...] = (
    (0, 0.005),
    (10, 0.02),
    (20, 0.06),
    (30, 0.13),
    (40, 0.23),
    (60, 0.50),
    (80, 0.75),
    (100, 1.0),
)


def risk_score_sql() -> str:
    """The rule-based risk score: 0 (safest) to 100 (in default), from the points of `RISK_SCORE_RULES`."""
    points = " + ".join(f"({rule})" for rule in RISK_SCORE_RULES.values())
    return f"case when {in_default_sql()} then 100 else least(99, {points}) end"


def risk_category_sql(score: str = "risk_score") -> str:
    """The category of a rule-based risk score."""
    cases = " ".join(
        f"when {score} < {bound} then '{label}'"
        for bound, label in zip(RISK_SCORE_BOUNDS, RISK_CATEGORIES, strict=False)
    )
    return f"case {cases} else '{RISK_CATEGORIES[-1]}' end"


def pd_proxy_sql(score: str = "risk_score") -> str:
    """Twelve-month PD by rule of thumb: linear between the knots of `PD_PROXY_KNOTS`."""
    cases = []
    for (low, pd_low), (high, pd_high) in pairwise(PD_PROXY_KNOTS):
        slope = f"{pd_low}D + ({score} - {low}) * {pd_high - pd_low:.6g}D / {high - low}D"
        cases.append(f"when {score} < {high} then {slope}")
    return f"case {' '.join(cases)} else {PD_PROXY_KNOTS[-1][1]}D end"


def rating_sql(pd_column: str, bounds: Sequence[float]) -> str:
    """The rating of a PD column; a PD on a bound has the worse rating."""
    cases = " ".join(
        f"when {pd_column} < {bound}D then '{label}'" for bound, label in zip(bounds, RISK_RATINGS, strict=False)
    )
    return f"case when {pd_column} is null then null {cases} else '{RISK_RATINGS[-1]}' end"


def risk_rating(pd_12m: Any, bounds: Sequence[float]) -> NDArray[np.object_]:
    """The rating (`RISK_RATINGS`) of each PD; None where the PD is missing.

    `bounds` are the four rising PDs at which the next rating begins (settings.model.rating_pd_bounds).
    """
    pds = np.atleast_1d(np.asarray(pd_12m, dtype=float))
    labels = np.array(RISK_RATINGS, dtype=object)[np.searchsorted(np.asarray(bounds), pds, side="right")]
    labels[np.isnan(pds)] = None
    return labels


def score_points(pd_12m: Any) -> NDArray[np.float64]:
    """Score points of each PD: 600 at 30 good to 1 bad, 20 points double the odds; NaN for a missing PD."""
    pds = np.clip(np.atleast_1d(np.asarray(pd_12m, dtype=float)), PD_CLIP, 1 - PD_CLIP)
    factor = POINTS_TO_DOUBLE_ODDS / math.log(2)
    points: NDArray[np.float64] = POINTS_AT_ANCHOR + factor * (np.log((1 - pds) / pds) - math.log(ANCHOR_ODDS))
    return points
