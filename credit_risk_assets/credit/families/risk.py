"""Risk family: the rule-based score and what follows from it.

None of it enters the model: a rule made of other features explains nothing in a reason, and its exposure
parts say how much is at stake, not how likely a default is.
"""

from __future__ import annotations

from credit_risk_assets.credit.ecl import exposure_sql, lgd_sql
from credit_risk_assets.credit.feature import Feature
from credit_risk_assets.credit.rating import pd_proxy_sql, risk_category_sql, risk_score_sql

# Each signal is a sign of trouble while the loan can still be helped.
WARNING_SIGNALS = (
    "current_dpd >= 1 and current_dpd < 90",
    "late_months_3m > 0",
    "payment_trend > 0",
    "credit_utilization >= 0.9D",
    "inquiries_6m >= 4",
    "debt_to_income >= 0.5D",
)
_SIGNALS = " + ".join(f"(case when {signal} then 1 else 0 end)" for signal in WARNING_SIGNALS)

FEATURES: tuple[Feature, ...] = (
    Feature(
        "risk_score",
        "risk",
        "Rule-based risk score",
        "0 (safest) to 100 (in default), from documented points.",
        risk_score_sql(),
        unit="points",
        direction=1,
        in_model=False,
    ),
    Feature(
        "risk_category",
        "risk",
        "Risk category",
        "Low, Medium, High or Very High by the risk score.",
        risk_category_sql(),
        type="string",
        in_model=False,
    ),
    Feature(
        "pd_proxy",
        "risk",
        "PD proxy",
        "Twelve-month PD by rule of thumb from the risk score.",
        pd_proxy_sql(),
        unit="probability",
        direction=1,
        in_model=False,
    ),
    Feature(
        "lgd_estimate",
        "risk",
        "LGD estimate",
        "Share of the exposure lost at default, from collateral.",
        lgd_sql(),
        unit="fraction",
        direction=1,
        in_model=False,
    ),
    Feature(
        "exposure_at_default",
        "risk",
        "Exposure at default",
        "Balance on book; 0 once closed.",
        exposure_sql(),
        unit="currency",
        in_model=False,
    ),
    Feature(
        "expected_loss_proxy",
        "risk",
        "Expected-loss proxy",
        "PD proxy x LGD x exposure; 0 once closed.",
        "pd_proxy * lgd_estimate * exposure_at_default",
        unit="currency",
        direction=1,
        in_model=False,
    ),
    Feature(
        "early_warning_signals",
        "risk",
        "Early-warning signals",
        "How many of six warning signs a performing loan shows; 0 once closed or in default.",
        f"case when loan_status in ('current', 'delinquent') and current_dpd < 90 then {_SIGNALS} else 0 end",
        type="int",
        unit="count",
        direction=1,
        in_model=False,
    ),
    Feature(
        "early_warning",
        "risk",
        "Early warning",
        "1 where a performing loan shows two or more warning signs.",
        "case when early_warning_signals >= 2 then 1 else 0 end",
        type="int",
        unit="flag",
        direction=1,
        in_model=False,
    ),
)
