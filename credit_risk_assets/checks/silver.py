"""Checks of silver/loans: one row a loan, every loan of bronze, states that make sense."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from credit_risk_assets.checks import contract_rules, history
from credit_risk_assets.checks.framework import (
    Check,
    CheckedTable,
    Finding,
    counted,
    error_of,
    layer_checks,
    tied,
    warn_of,
)
from credit_risk_assets.checks.rules import RowRule, aggregates, example_rows, rule_counts, rule_findings
from credit_risk_assets.config.settings import Settings
from credit_risk_assets.config.tables import LOAN_TAPE, LOANS, RISK_CATEGORIES
from credit_risk_assets.credit.portfolio import ON_BOOK_SQL
from credit_risk_assets.modelling.bins import count_where
from credit_risk_assets.resources.lakehouse import Lakehouse
from credit_risk_assets.resources.platform import Platform

REBUILD = "Restore the table to the version before the run and refresh again."
AS_DELIVERED = "Silver holds the values as delivered: ask who made the tape, and land a corrected one of the same date."

LOAN_ONCE = error_of(LOANS, "one_row_per_loan", "A loan stands once.", REBUILD)
LOANS_COMPLETE = error_of(LOANS, "every_loan_of_bronze", "Silver holds each loan that bronze holds.", REBUILD)
LATEST_WINS = error_of(LOANS, "latest_state", "Each loan stands at its newest as-of date.", REBUILD)
LOANS_PSEUDONYMS = error_of(
    LOANS,
    "customers_pseudonymised",
    "Every customer id is a keyed hash of 64 hexadecimal digits.",
    "Treat it as a data breach: restore the table and vacuum it.",
)
FEATURES_PRESENT = error_of(
    LOANS,
    "risk_features_present",
    "Every loan has a risk score, a category, an LGD and an expected loss.",
    "A feature cannot be computed from what the tape holds: the column that the details name says which.",
)
STATUS_FITS_DPD = warn_of(
    LOANS,
    "status_fits_dpd",
    "Current loans are below 30 DPD, delinquent ones are past due, default is 90+.",
    AS_DELIVERED,
)
PROFILE_FITS_DPD = warn_of(
    LOANS, "profile_fits_dpd", "The newest profile code agrees with the days past due.", AS_DELIVERED
)
BALANCE_FITS_AMOUNT = warn_of(
    LOANS, "balance_fits_amount", "No balance exceeds the amount lent by more than a tenth.", AS_DELIVERED
)
BALANCE_FITS_SCHEDULE = warn_of(
    LOANS,
    "balance_fits_schedule",
    "No loan owes more than its stated installment leaves after the months paid, or than was charged off.",
    AS_DELIVERED,
)
PAID_OFF_WITHOUT_BALANCE = warn_of(
    LOANS, "closed_without_balance", "A loan that is paid off owes nothing.", AS_DELIVERED
)
DEFAULT_DATE_IN_ORDER = warn_of(
    LOANS, "default_date_in_order", "A default is declared after origination and by the as-of date.", AS_DELIVERED
)
RATIOS_NOT_PERCENT = warn_of(
    LOANS, "ratios_not_percent", "Utilisation is a ratio: none is above 2, that is 200 %.", AS_DELIVERED
)
NONE_VANISHED = warn_of(
    LOANS,
    "none_vanished",
    "Each loan on book stands on the newest full tape.",
    "A vanished loan keeps its last state and stays in the key figures: ask whether it was closed or left out.",
)

CHECKS: tuple[Check, ...] = (
    LOAN_ONCE,
    LOANS_COMPLETE,
    LATEST_WINS,
    LOANS_PSEUDONYMS,
    FEATURES_PRESENT,
    STATUS_FITS_DPD,
    PROFILE_FITS_DPD,
    BALANCE_FITS_AMOUNT,
    BALANCE_FITS_SCHEDULE,
    PAID_OFF_WITHOUT_BALANCE,
    DEFAULT_DATE_IN_ORDER,
    RATIOS_NOT_PERCENT,
    NONE_VANISHED,
)

MOST_UTILIZATION = 2
"""Real books reach 1.8; a ratio in percent stays below it only where less than 2 % of a line is used."""
_CATEGORIES = ", ".join(repr(name) for name in RISK_CATEGORIES)
_FIRST_CODE = "substring(payment_history_profile, 1, 1)"
_PAID_MONTHS = "greatest(months_on_book - ceil(current_dpd / 30D) - 1, 0)"
_GROWTH = f"power(1 + interest_rate / 1200, {_PAID_MONTHS})"
_SCHEDULED = (
    "case when interest_rate > 0 "
    f"then loan_amount * {_GROWTH} - installment * ({_GROWTH} - 1) / (interest_rate / 1200) "
    f"else loan_amount - installment * {_PAID_MONTHS} end"
)
"""What A·(1+r)^k − P·((1+r)^k − 1)/r leaves of the amount A after k instalments P, r monthly; k leaves out the
instalments missed and one that is not due yet. It holds for interest-only loans, whose P is A·r."""
_MORE_THAN_SCHEDULED = f"outstanding_balance > 1.05D * greatest({_SCHEDULED}, 0D) + installment"
_MORE_THAN_CHARGED_OFF = "outstanding_balance + coalesce(recoveries, 0D) > 1.01D * charge_off_amount"

ROW_RULES: tuple[RowRule, ...] = (
    *contract_rules.pseudonymised(LOANS_PSEUDONYMS),
    RowRule(FEATURES_PRESENT, ("risk_score",), "not coalesce(risk_score between 0 and 100, false)", "0 to 100"),
    RowRule(
        FEATURES_PRESENT,
        ("risk_category",),
        f"not coalesce(risk_category in ({_CATEGORIES}), false)",
        f"one of {', '.join(RISK_CATEGORIES)}",
    ),
    RowRule(FEATURES_PRESENT, ("lgd_estimate",), "not coalesce(lgd_estimate between 0 and 1, false)", "0 to 1"),
    RowRule(
        FEATURES_PRESENT,
        ("loan_status", "lgd_estimate"),
        f"{ON_BOOK_SQL} and lgd_estimate <= 0",
        "an LGD above 0 on book",
    ),
    RowRule(FEATURES_PRESENT, ("expected_loss_proxy",), "expected_loss_proxy is null", "an expected loss"),
    RowRule(
        STATUS_FITS_DPD,
        ("loan_status", "current_dpd"),
        "loan_status = 'current' and current_dpd >= 30",
        "below 30 DPD where current",
    ),
    RowRule(
        STATUS_FITS_DPD,
        ("loan_status", "current_dpd"),
        "loan_status = 'delinquent' and current_dpd = 0",
        "past due where delinquent",
    ),
    RowRule(
        STATUS_FITS_DPD,
        ("loan_status", "current_dpd"),
        "loan_status = 'default' and current_dpd < 90",
        "90 DPD or more where in default",
    ),
    *[
        RowRule(
            PROFILE_FITS_DPD,
            ("payment_history_profile", "current_dpd"),
            f"{ON_BOOK_SQL} and {_FIRST_CODE} {codes} and not ({days})",
            f"{text} where the newest code {codes.replace('in (', 'is one of (').replace('=', 'is')}",
        )
        for codes, days, text in (
            ("= '0'", "current_dpd < 30", "0 to 29 DPD"),
            ("= '1'", "current_dpd between 30 and 59", "30 to 59 DPD"),
            ("= '2'", "current_dpd between 60 and 89", "60 to 89 DPD"),
            ("in ('3', '4', '5', '6')", "current_dpd >= 90", "90 DPD or more"),
        )
    ],
    RowRule(
        BALANCE_FITS_AMOUNT,
        ("outstanding_balance", "loan_amount"),
        "outstanding_balance > 1.1D * loan_amount",
        "a balance up to 110 % of the amount",
    ),
    RowRule(
        BALANCE_FITS_SCHEDULE,
        ("outstanding_balance", "loan_amount", "installment", "months_on_book", "current_dpd"),
        f"{ON_BOOK_SQL} and {_MORE_THAN_SCHEDULED}",
        "at most 105 % of the scheduled balance and an instalment, on book",
    ),
    RowRule(
        BALANCE_FITS_SCHEDULE,
        ("outstanding_balance", "recoveries", "charge_off_amount"),
        f"loan_status = 'charged_off' and {_MORE_THAN_CHARGED_OFF}",
        "balance and recoveries up to the amount charged off",
    ),
    RowRule(
        PAID_OFF_WITHOUT_BALANCE,
        ("loan_status", "outstanding_balance"),
        "loan_status = 'paid_off' and outstanding_balance >= 0.01D",
        "no balance once paid off",
    ),
    RowRule(
        DEFAULT_DATE_IN_ORDER,
        ("default_date", "origination_date"),
        "default_date < origination_date",
        "default after origination",
    ),
    RowRule(DEFAULT_DATE_IN_ORDER, ("default_date",), "default_date > as_of_date", "default by the as-of date"),
    RowRule(
        RATIOS_NOT_PERCENT,
        ("credit_utilization",),
        f"credit_utilization > {MOST_UTILIZATION}",
        f"at most {MOST_UTILIZATION}",
    ),
)
_STALE = "newest is not null and (as_of_date is null or as_of_date <> newest)"


def beside_bronze(lakehouse: Lakehouse, loans: DataFrame, key: str) -> DataFrame:
    """Loans by a key, as `loan_id`: the `newest` date of bronze, that of silver, and how many `times` silver has them.

    The two tables are counted together: a join would hold both sides' loans at once.
    """
    delivered = lakehouse.read(LOAN_TAPE).selectExpr(
        f"{key} as loan_id", "as_of_date as newest", "cast(null as date) as as_of_date", "0 as time"
    )
    states = loans.selectExpr(f"{key} as loan_id", "cast(null as date) as newest", "as_of_date", "1 as time")
    return (
        delivered.unionByName(states)
        .groupBy("loan_id")
        .agg(F.max("newest").alias("newest"), F.max("as_of_date").alias("as_of_date"), F.sum("time").alias("times"))
    )


def _compared(beside: DataFrame) -> dict[str, int]:
    figures = {
        "bronze": count_where("newest is not null"),
        "more": "coalesce(sum(greatest(times - 1, 0)), 0)",
        "stale": count_where(_STALE),
    }
    return aggregates(beside, figures).row(0, named=True)


def loan_findings(lakehouse: Lakehouse) -> list[Finding]:
    """The findings of the loans: one pass over their rows, one over their keys and bronze's."""
    loans = lakehouse.read(LOANS)
    newest = history.newest_full_tape(lakehouse)
    gone = f"{ON_BOOK_SQL} and as_of_date < date'{newest}'" if newest else "false"
    counts = aggregates(
        loans, {"on_book": count_where(ON_BOOK_SQL), "gone": count_where(gone), **rule_counts(ROW_RULES)}
    )
    rows = int(counts["rows"][0])
    # Numbers are compared sooner than texts. Where not all is well, or two loans share a number, their ids are.
    compared = beside_bronze(lakehouse, loans, "xxhash64(loan_id)")
    sums = _compared(compared)
    if sums != {"rows": rows, "bronze": rows, "more": 0, "stale": 0}:
        compared = beside_bronze(lakehouse, loans, "loan_id")
        sums = _compared(compared)
    more, missed = int(sums["more"]), int(counts["gone"][0])
    return [
        counted(
            LOAN_ONCE,
            more,
            rows,
            "one row per loan",
            examples=example_rows(lakehouse, compared.where("times > 1"), ["times"]) if more else (),
        ),
        tied(LOANS_COMPLETE, rows, sums["bronze"], "distinct loans in bronze"),
        counted(
            LATEST_WINS,
            int(sums["stale"]),
            int(sums["bronze"]),
            "the newest as-of date",
            examples=example_rows(lakehouse, compared.where(_STALE), ["newest"]) if sums["stale"] else (),
        ),
        *rule_findings(lakehouse, loans, ROW_RULES, counts),
        counted(
            NONE_VANISHED,
            missed,
            int(counts["on_book"][0]),
            "every loan on book on the newest full tape or later" if newest else "a full tape to compare with",
            examples=example_rows(lakehouse, loans.where(gone), ["loan_status"]) if missed else (),
        ),
    ]


def _measure_history(platform: Platform) -> list[Finding]:
    return history.history_findings(platform.lakehouse, platform.settings)


def _measure_loans(platform: Platform) -> list[Finding]:
    return loan_findings(platform.lakehouse)


def silver_findings(lakehouse: Lakehouse, settings: Settings) -> list[Finding]:
    """The findings of both silver tables."""
    return [*history.history_findings(lakehouse, settings), *loan_findings(lakehouse)]


HISTORY_TABLE = CheckedTable(history.LOAN_HISTORY.path, history.CHECKS, _measure_history)
LOANS_TABLE = CheckedTable(LOANS.path, CHECKS, _measure_loans)
history_checks = layer_checks("loan_history_checks", (HISTORY_TABLE,))
loan_checks = layer_checks("loan_checks", (LOANS_TABLE,))
