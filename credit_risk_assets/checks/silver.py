"""Checks of silver: one row a loan, every loan of bronze, states that make sense."""

from __future__ import annotations

from pyspark.sql import functions as F

from credit_risk_assets.checks.framework import (
    Check,
    Finding,
    broken_rule,
    check_of,
    count_where,
    counted,
    example_loans,
    layer_checks,
    tied,
)
from credit_risk_assets.config.settings import Settings
from credit_risk_assets.config.tables import LOAN_HISTORY, LOAN_TAPE, LOANS, RISK_CATEGORIES
from credit_risk_assets.credit.portfolio import ON_BOOK_SQL
from credit_risk_assets.resources.lakehouse import Lakehouse
from credit_risk_assets.resources.platform import Platform

LOAN_ONCE = check_of(LOANS, "one_row_per_loan", "A loan stands once.")
LOANS_COMPLETE = check_of(LOANS, "every_loan_of_bronze", "Silver holds each loan that bronze holds.")
LATEST_WINS = check_of(LOANS, "latest_state", "Each loan stands at its newest as-of date.")
FEATURES_PRESENT = check_of(
    LOANS, "risk_features_present", "Every loan has a risk score, a category, an LGD and an expected loss."
)
STATUS_FITS_DPD = check_of(
    LOANS, "status_fits_dpd", "Current loans are below 30 DPD, delinquent ones are past due, default is 90+.", "WARN"
)
PROFILE_FITS_DPD = check_of(LOANS, "profile_fits_dpd", "The newest profile code agrees with the days past due.", "WARN")
BALANCE_FITS_AMOUNT = check_of(
    LOANS, "balance_fits_amount", "No balance exceeds the amount lent by more than a tenth.", "WARN"
)
NONE_VANISHED = check_of(
    LOANS, "none_vanished", "Each loan on book stands on the newest full tape; a vanished one keeps its state.", "WARN"
)
HISTORY_ONCE = check_of(LOAN_HISTORY, "one_row_per_loan_and_date", "A loan stands once per as-of date.")
HISTORY_COMPLETE = check_of(LOAN_HISTORY, "every_state_of_bronze", "Each loan and date of bronze is here.")
VOLUME_STEADY = check_of(
    LOAN_HISTORY, "volume_steady", "The newest full tape has about as many loans as the one before.", "WARN"
)

LOAN_CHECKS: tuple[Check, ...] = (
    LOAN_ONCE,
    LOANS_COMPLETE,
    LATEST_WINS,
    FEATURES_PRESENT,
    STATUS_FITS_DPD,
    PROFILE_FITS_DPD,
    BALANCE_FITS_AMOUNT,
    NONE_VANISHED,
)
HISTORY_CHECKS: tuple[Check, ...] = (HISTORY_ONCE, HISTORY_COMPLETE, VOLUME_STEADY)

_CATEGORIES = ", ".join(repr(name) for name in RISK_CATEGORIES)
_FIRST_CODE = "substring(payment_history_profile, 1, 1)"
_ROW_RULES = {
    "features": (
        f"risk_category is null or risk_category not in ({_CATEGORIES}) or risk_score is null "
        "or risk_score not between 0 and 100 or not coalesce(lgd_estimate between 0 and 1, false) "
        f"or expected_loss_proxy is null or ({ON_BOOK_SQL} and lgd_estimate <= 0)"
    ),
    "status": (
        "(loan_status = 'current' and current_dpd >= 30) "
        "or (loan_status = 'delinquent' and current_dpd = 0) "
        "or (loan_status = 'default' and current_dpd < 90)"
    ),
    "profile": (
        f"{ON_BOOK_SQL} and payment_history_profile is not null and ("
        f"({_FIRST_CODE} = '0' and current_dpd >= 30) or ({_FIRST_CODE} = '1' and current_dpd not between 30 and 59) "
        f"or ({_FIRST_CODE} = '2' and current_dpd not between 60 and 89) "
        f"or ({_FIRST_CODE} in ('3', '4', '5', '6') and current_dpd < 90))"
    ),
    "balance": "outstanding_balance > 1.1D * loan_amount",
}


def history_findings(lakehouse: Lakehouse, settings: Settings) -> list[Finding]:
    """The findings of the loan history: one pass over its keys, one over bronze's."""
    keys = lakehouse.read(LOAN_HISTORY).agg(F.count(F.lit(1)), F.countDistinct("loan_id", "as_of_date")).collect()[0]
    bronze = lakehouse.read(LOAN_TAPE).agg(F.countDistinct("loan_id", "as_of_date")).collect()[0]
    return [
        counted(HISTORY_ONCE, keys[0] - keys[1], keys[0], "one row per loan and date"),
        tied(HISTORY_COMPLETE, keys[0], bronze[0], "distinct loans and dates in bronze"),
        _volume(lakehouse, settings),
    ]


def loan_findings(lakehouse: Lakehouse) -> list[Finding]:
    """The findings of the loans: one pass over their rows, one over bronze's keys."""
    loans = lakehouse.read(LOANS)
    sums = loans.agg(
        F.count(F.lit(1)).alias("rows"),
        F.countDistinct("loan_id").alias("loans"),
        *[F.expr(count_where(condition)).alias(name) for name, condition in _ROW_RULES.items()],
    ).collect()[0]
    bronze_newest = lakehouse.read(LOAN_TAPE).groupBy("loan_id").agg(F.max("as_of_date").alias("newest"))
    compared = (
        bronze_newest.join(loans.select("loan_id", "as_of_date"), "loan_id", "left")
        .agg(
            F.count(F.lit(1)).alias("loans"),
            F.expr(count_where("as_of_date is null or as_of_date <> newest")).alias("stale"),
        )
        .collect()[0]
    )

    def row_rule(check: Check, rule: str, what: str) -> Finding:
        return broken_rule(check, loans, _ROW_RULES[rule], sums[rule], sums["rows"], what)

    return [
        counted(LOAN_ONCE, sums["rows"] - sums["loans"], sums["rows"], "one row per loan"),
        tied(LOANS_COMPLETE, sums["rows"], compared["loans"], "distinct loans in bronze"),
        counted(LATEST_WINS, compared["stale"], compared["loans"], "the newest as-of date"),
        row_rule(FEATURES_PRESENT, "features", "risk score 0-100, a category, LGD above 0, an expected loss"),
        row_rule(STATUS_FITS_DPD, "status", "a status that fits the days past due"),
        row_rule(PROFILE_FITS_DPD, "profile", "a newest code that fits the days past due"),
        row_rule(BALANCE_FITS_AMOUNT, "balance", "a balance up to 110 % of the amount"),
        _vanished(lakehouse),
    ]


def _full_tapes(lakehouse: Lakehouse) -> list[tuple[object, int]]:
    rows = lakehouse.read(LOAN_HISTORY).where("tape_kind = 'full'").groupBy("as_of_date").count().orderBy("as_of_date")
    return [(row[0], row[1]) for row in rows.collect()]


def _vanished(lakehouse: Lakehouse) -> Finding:
    tapes = _full_tapes(lakehouse)
    what = "every loan on book on the newest full tape or later"
    if not tapes:
        return Finding(NONE_VANISHED, True, "no full tape yet", what)
    loans = lakehouse.read(LOANS).where(ON_BOOK_SQL)
    gone = loans.where(f"as_of_date < date'{tapes[-1][0]}'")
    failed = gone.count()
    return counted(NONE_VANISHED, failed, loans.count(), what, example_loans(gone) if failed else [])


def _volume(lakehouse: Lakehouse, settings: Settings) -> Finding:
    tapes, limit = _full_tapes(lakehouse), settings.quality.max_volume_change_share
    if len(tapes) < 2:
        return Finding(VOLUME_STEADY, True, "one full tape only", f"a change of at most {limit:.0%}")
    before, now = tapes[-2][1], tapes[-1][1]
    change = now / before - 1
    return Finding(
        VOLUME_STEADY,
        abs(change) <= limit,
        f"{now:,} loans, {change:+.1%} against the tape before",
        f"a change of at most {limit:.0%}",
        0,
        now,
    )


def _measure_history(platform: Platform) -> list[Finding]:
    return history_findings(platform.lakehouse, platform.settings)


def _measure_loans(platform: Platform) -> list[Finding]:
    return loan_findings(platform.lakehouse)


history_checks = layer_checks("loan_history_checks", HISTORY_CHECKS, _measure_history)
loan_checks = layer_checks("loan_checks", LOAN_CHECKS, _measure_loans)
