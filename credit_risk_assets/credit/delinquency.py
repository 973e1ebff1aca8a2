"""Delinquency read from days past due and from the payment-history profile, as Spark SQL text.

A profile holds one Metro 2 code a month, the month that ends at as_of_date first: 0 is current (0-29 days
past due), 1 30-59, 2 60-89, 3 90-119, 4 120-149, 5 150-179, 6 180 and more, G H J K collections to
repossession, L charge-off; B (no history yet), D (no data) and E (zero balance) tell nothing about payment.
"""

from __future__ import annotations

from credit_risk_assets.config.tables import DPD_BUCKETS
from credit_risk_assets.tape.contract import DEFAULT_CODES

PROFILE = "payment_history_profile"
LATE_CODES = "123456GHJKL"
SERIOUS_CODES = "23456GHJKL"
UNTOLD_CODES = "BDE"
"""A profile holds these and told ones alone, which intake sees to."""
BUCKET_UPPER_DPD = (0, 29, 59, 89, 119, 179)
"""Last day past due of each bucket of `DPD_BUCKETS` but the open one."""


def window_sql(months: int, column: str = PROFILE, start: int = 1) -> str:
    """The codes of `months` months from position `start` on; empty where the tape has no profile."""
    return f"substring(coalesce({column}, ''), {start}, {months})"


def has_code_sql(codes: str, months: int, column: str = PROFILE, start: int = 1) -> str:
    """Whether one of the months carries one of the codes."""
    window = window_sql(months, column, start)
    return "(" + " or ".join(f"contains({window}, '{code}')" for code in codes) + ")"


def count_sql(codes: str, months: int, column: str = PROFILE, start: int = 1) -> str:
    """How many of the months carry one of the codes."""
    window = window_sql(months, column, start)
    return f"(length({window}) - length(translate({window}, '{codes}', '')))"


def rare_count_sql(codes: str, months: int, column: str = PROFILE, start: int = 1) -> str:
    """`count_sql` of codes that few profiles hold: to look for a code takes a tenth of the time of taking codes out.

    The text is long, and an engine compiles what it is given as often as it stands there: for a few uses.
    """
    found = has_code_sql(codes, months, column, start)
    return f"(case when {found} then {count_sql(codes, months, column, start)} else 0 end)"


def told_count_sql(months: int, column: str = PROFILE, start: int = 1) -> str:
    """How many of the months tell how the loan was paid."""
    return f"(length({window_sql(months, column, start)}) - {rare_count_sql(UNTOLD_CODES, months, column, start)})"


def late_count_sql(months: int, column: str = PROFILE, start: int = 1) -> str:
    """Months at 30 or more days past due (or worse) among the latest `months`."""
    return count_sql(LATE_CODES, months, column, start)


def on_time_share_sql(months: int, late_months: str, column: str = PROFILE) -> str:
    """Months paid on time over months with a payment status; null where none has one.

    `late_months` is how many of the months are late: what tells of payment and is not late is on time.
    """
    told = told_count_sql(months, column)
    return f"({told} - {late_months}) / nullif({told}, 0)"


def max_code_sql(months: int, column: str = PROFILE, start: int = 1) -> str:
    """The worst delinquency code, 0 to 6, among the months; collections and charge-off count as 6.

    Null where no month tells anything about payment.
    """
    worst = " ".join(f"when {has_code_sql(code, months, column, start)} then {code}" for code in "543210")
    return f"case when {has_code_sql('6GHJKL', months, column, start)} then 6 {worst} end"


def months_since_sql(codes: str = LATE_CODES, column: str = PROFILE) -> str:
    """Months from the latest month with one of the codes to as_of_date (0 = now); null where none has."""
    marked = f"translate(coalesce({column}, ''), '{codes}', '{'!' * len(codes)}')"
    return f"nullif(instr({marked}, '!'), 0) - 1"


def dpd_bucket_sql(column: str = "current_dpd") -> str:
    """The days-past-due bucket, labelled as in `config.tables.DPD_BUCKETS`."""
    cases = " ".join(
        f"when {column} <= {last} then '{label}'" for last, label in zip(BUCKET_UPPER_DPD, DPD_BUCKETS, strict=False)
    )
    return f"case when {column} is null then null {cases} else '{DPD_BUCKETS[-1]}' end"


def in_default_sql(column: str = PROFILE) -> str:
    """Whether the loan is in default at as_of_date: 90+ DPD, declared, charged off or coded so now."""
    return (
        f"(loan_status in ('default', 'charged_off') or current_dpd >= 90 or {count_sql(DEFAULT_CODES, 1, column)} > 0)"
    )


def defaulted_within_sql(months: int = 12, column: str = PROFILE) -> str:
    """Whether a profile shows a default in its latest `months`: on the tape `months` later, the outcome."""
    return f"{count_sql(DEFAULT_CODES, months, column)} > 0"
