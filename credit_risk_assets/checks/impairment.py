"""Checks of the expected credit loss: one row for every loan on book, of its present state, within its bounds."""

from __future__ import annotations

from itertools import pairwise

import polars as pl
from pyspark.sql import functions as F

from credit_risk_assets.checks.framework import (
    Check,
    CheckedTable,
    Finding,
    error_of,
    layer_checks,
    tied,
    warn_of,
)
from credit_risk_assets.checks.rules import RowRule, aggregates, rule_counts, rule_findings
from credit_risk_assets.config.tables import EXPECTED_CREDIT_LOSS, LOAN_SCORES, LOANS
from credit_risk_assets.credit.delinquency import in_default_sql
from credit_risk_assets.credit.impairment import BACKSTOP_DPD
from credit_risk_assets.credit.portfolio import ON_BOOK_SQL
from credit_risk_assets.resources.lakehouse import Lakehouse
from credit_risk_assets.resources.platform import Platform

MONEY_TOLERANCE = 1e-9
RECOMPUTE = "Drop the table and refresh again: it is computed from silver, the scores and the settings of `ecl`."

ECL_ONCE = error_of(
    EXPECTED_CREDIT_LOSS, "one_row_per_loan_on_book", "Each loan on book has exactly one expected loss.", RECOMPUTE
)
ECL_CURRENT = error_of(
    EXPECTED_CREDIT_LOSS,
    "made_from_present_state",
    "Date, exposure and LGD are those of silver now, the PD that of the loan's score.",
    RECOMPUTE,
)
EXPOSURE_TIES = error_of(
    EXPECTED_CREDIT_LOSS, "exposure_ties", "The stages' exposure sums to silver's balance on book.", RECOMPUTE
)
STAGES_FIT = error_of(
    EXPECTED_CREDIT_LOSS,
    "stages_fit_state",
    "Loans in default, and they alone, are in stage 3; 30 days past due is stage 2 at least; a stage has its reason.",
    RECOMPUTE,
)
LOSS_RANGE = error_of(
    EXPECTED_CREDIT_LOSS,
    "losses_in_range",
    "0 <= twelve-month loss <= lifetime loss <= exposure, and 0 < twelve-month PD <= lifetime PD <= 1.",
    RECOMPUTE,
)
LOSS_OF_STAGE = error_of(
    EXPECTED_CREDIT_LOSS,
    "loss_fits_stage",
    "The allowance is the twelve-month loss in stage 1 and the lifetime loss in stages 2 and 3.",
    RECOMPUTE,
)
COVERAGE_RISES = warn_of(
    EXPECTED_CREDIT_LOSS,
    "coverage_rises",
    "Allowance over exposure rises from stage to stage.",
    "Look at the PDs and LGDs of the stages, and at the scenarios and thresholds of the settings `ecl`.",
)
ECL_CHECKS: tuple[Check, ...] = (
    ECL_ONCE,
    ECL_CURRENT,
    EXPOSURE_TIES,
    STAGES_FIT,
    LOSS_RANGE,
    LOSS_OF_STAGE,
    COVERAGE_RISES,
)

BOOK_RULES = [
    RowRule(
        ECL_ONCE,
        ("loan_status", "times"),
        "loan_status is null or times is null or times <> 1",
        "one row per loan on book, none for others",
    ),
    RowRule(ECL_CURRENT, ("as_of_date", "ecl_as_of"), "ecl_as_of <> as_of_date", "the loan's as-of date"),
    RowRule(
        ECL_CURRENT,
        ("ead", "exposure_at_default", "lgd", "lgd_estimate", "pd_12m", "score"),
        "not coalesce(ead = exposure_at_default and lgd = lgd_estimate and pd_12m = score, times is null)",
        "exposure and LGD of silver, PD of the score",
    ),
    RowRule(
        STAGES_FIT,
        ("stage", "loan_status", "current_dpd", "payment_history_profile"),
        f"(stage = 3) <> coalesce({in_default_sql()}, false)",
        "stage 3 for loans in default and no other",
    ),
    RowRule(
        STAGES_FIT,
        ("stage", "current_dpd"),
        f"current_dpd >= {BACKSTOP_DPD} and stage < 2",
        f"stage 2 or 3 from {BACKSTOP_DPD} days past due",
    ),
    RowRule(
        STAGES_FIT,
        ("stage", "significant_increase"),
        "stage not in (1, 2, 3) or (stage = 1) <> (significant_increase is null)",
        "a stage of 1 to 3, and a reason in stages 2 and 3 alone",
    ),
]
"""The rules of a loan on book with its expected loss and its score beside it."""
LOSS_RULES = [
    RowRule(
        LOSS_RANGE,
        ("ecl_12m", "ecl_lifetime", "ecl", "ead"),
        "not coalesce(ecl_12m >= 0 and ecl_12m <= ecl_lifetime and ecl_lifetime <= ead "
        "and ecl between 0 and ead, false)",
        "0 <= ecl_12m <= ecl_lifetime <= ead",
    ),
    RowRule(
        LOSS_RANGE,
        ("pd_12m", "pd_lifetime", "pd_initial", "lgd"),
        "not coalesce(pd_12m > 0 and pd_12m <= pd_lifetime + 1e-12D and pd_lifetime <= 1 "
        "and pd_initial between 0 and 1 and lgd between 0 and 1, false)",
        "0 < pd_12m <= pd_lifetime <= 1",
    ),
    RowRule(
        LOSS_OF_STAGE,
        ("stage", "ecl", "ecl_12m", "ecl_lifetime"),
        "not coalesce(ecl = case when stage = 1 then ecl_12m else ecl_lifetime end, false)",
        "ecl_12m in stage 1, else ecl_lifetime",
    ),
]
_MEASURED = ("stage", "significant_increase", "ead", "lgd", "pd_12m")


def ecl_findings(lakehouse: Lakehouse) -> list[Finding]:
    """The findings of the expected credit loss: one pass over it, one join with loans on book and scores."""
    book = lakehouse.read(LOANS).where(ON_BOOK_SQL)
    book = book.select(
        "loan_id",
        "as_of_date",
        "loan_status",
        "current_dpd",
        "payment_history_profile",
        "exposure_at_default",
        "lgd_estimate",
    )
    losses = lakehouse.read(EXPECTED_CREDIT_LOSS)
    made = losses.groupBy("loan_id").agg(
        F.count(F.lit(1)).alias("times"),
        F.min("as_of_date").alias("ecl_as_of"),
        *[F.min(name).alias(name) for name in _MEASURED],
    )
    scores = lakehouse.read(LOAN_SCORES).select("loan_id", F.col("pd_12m").alias("score"))
    joined = book.join(made, "loan_id", "full_outer").join(scores, "loan_id", "left")
    figures = {"balance": "coalesce(sum(exposure_at_default), 0D)"}
    ties = aggregates(joined, {**figures, **rule_counts(BOOK_RULES)})
    sums = {"exposure": "coalesce(sum(ead), 0D)", "allowance": "coalesce(sum(ecl), 0D)"}
    stages = aggregates(losses, {**sums, **rule_counts(LOSS_RULES)}, by=["stage"]).sort("stage")
    return [
        *rule_findings(lakehouse, joined, BOOK_RULES, ties),
        *rule_findings(lakehouse, losses, LOSS_RULES, stages),
        tied(
            EXPOSURE_TIES,
            float(stages["exposure"].sum()),
            float(ties["balance"][0]),
            "balance on book",
            tolerance=MONEY_TOLERANCE,
        ),
        _coverage(stages.filter(pl.col("exposure") > 0)),
    ]


def _coverage(stages: pl.DataFrame) -> Finding:
    shares = dict(zip(stages["stage"], stages["allowance"] / stages["exposure"], strict=True))
    rising = all(low < high for low, high in pairwise(shares.values()))
    return Finding(
        COVERAGE_RISES,
        rising,
        ", ".join(f"stage {stage} {share:.2%}" for stage, share in shares.items()) or "no loan on book",
        "an allowance that rises from stage to stage",
        details=stages.select("stage", "rows", pl.col("exposure", "allowance").round(2)).to_dicts(),
    )


def _measure_losses(platform: Platform) -> list[Finding]:
    return ecl_findings(platform.lakehouse)


ECL_TABLE = CheckedTable(EXPECTED_CREDIT_LOSS.path, ECL_CHECKS, _measure_losses)
ecl_checks = layer_checks("ecl_checks", (ECL_TABLE,))
