"""Credit family: what the bureau knows about the borrower at as_of_date."""

from __future__ import annotations

from credit_risk_assets.config.tables import SCORE_BANDS
from credit_risk_assets.credit.feature import Feature


def _score_band_sql() -> str:
    bands = [band for band in SCORE_BANDS if band != "unknown"]
    cases = " ".join(f"when credit_score < {int(band.split('-')[1]) + 1} then '{band}'" for band in bands[:-1])
    return f"case when credit_score is null then 'unknown' {cases} else '{bands[-1]}' end"


FEATURES: tuple[Feature, ...] = (
    Feature("credit_score", "credit", "Credit score", "Bureau score.", "credit_score", unit="points", direction=-1),
    Feature(
        "credit_history_months",
        "credit",
        "Length of credit history",
        "Months since the first credit line.",
        "credit_history_months",
        unit="months",
        direction=-1,
    ),
    Feature(
        "credit_utilization",
        "credit",
        "Use of revolving credit",
        "Revolving balance over limit.",
        "credit_utilization",
        unit="ratio",
        direction=1,
    ),
    Feature(
        "open_accounts",
        "credit",
        "Number of open credit lines",
        "Open credit lines.",
        "open_accounts",
        unit="count",
    ),
    Feature(
        "inquiries_6m",
        "credit",
        "Number of recent credit inquiries",
        "Inquiries in the last six months.",
        "inquiries_6m",
        unit="count",
        direction=1,
    ),
    Feature(
        "score_band",
        "credit",
        "Score band",
        "Band of the bureau score.",
        _score_band_sql(),
        type="string",
        in_model=False,
    ),
    Feature(
        "credit_history_years",
        "credit",
        "Length of credit history",
        "Credit history in years.",
        "credit_history_months / 12D",
        unit="years",
        direction=-1,
        in_model=False,
    ),
    Feature(
        "thin_file",
        "credit",
        "Thin credit file",
        "1 where the credit history is shorter than two years.",
        "case when credit_history_months is null then null when credit_history_months < 24 then 1 else 0 end",
        type="int",
        unit="flag",
        direction=1,
        in_model=False,
    ),
    Feature(
        "over_limit",
        "credit",
        "Revolving credit over its limit",
        "1 where utilisation passes 100 %.",
        "case when credit_utilization is null then null when credit_utilization > 1 then 1 else 0 end",
        type="int",
        unit="flag",
        direction=1,
        in_model=False,
    ),
    Feature(
        "inquiries_per_account",
        "credit",
        "Credit inquiries for each open line",
        "Recent inquiries over open lines plus one: hunger for credit beside what is there.",
        "inquiries_6m / (open_accounts + 1D)",
        unit="ratio",
        direction=1,
    ),
    Feature(
        "utilization_at_low_score",
        "credit",
        "Use of revolving credit at this credit score",
        "Utilisation weighted by the score's distance to 900: full lines hurt most at a low score.",
        "credit_utilization * (900D - credit_score) / 600D",
        unit="ratio",
        direction=1,
    ),
)
