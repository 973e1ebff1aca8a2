"""A loan's payment history laid on the calendar and on its age, as Spark SQL text.

The code at position p of a profile is about the calendar month p - 1 months before as_of_date, in which the loan
was months_on_book - (p - 1) months old.
"""

from __future__ import annotations

from credit_risk_assets.credit.delinquency import PROFILE
from credit_risk_assets.tape.contract import PROFILE_CODES

STATE_CODE_SQL = """
case
  when loan_status = 'charged_off' then 'L'
  when loan_status = 'paid_off' then 'E'
  when current_dpd < 30 then case when loan_status = 'default' then '3' else '0' end
  when current_dpd < 60 then '1'
  when current_dpd < 90 then '2'
  when current_dpd < 120 then '3'
  when current_dpd < 150 then '4'
  when current_dpd < 180 then '5'
  else '6'
end
"""
"""The code of the present month by status and days past due: all that is known of a loan without a profile."""


def observed_profile_sql(column: str = PROFILE) -> str:
    """The codes of the months since origination, newest first; the present one alone where the tape has no profile."""
    return f"substring(coalesce(nullif({column}, ''), {STATE_CODE_SQL}), 1, months_on_book + 1)"


def oldest_position_sql(codes: str, profile: str) -> str:
    """Position of the oldest month with one of the codes, 1 for the present one; 0 where none has it."""
    others = "".join(code for code in PROFILE_CODES if code not in codes)
    return f"length(trim(trailing '{others}' from {profile}))"


def month_number_sql(day: str = "as_of_date") -> str:
    """Calendar months since year 0, so that months can be counted."""
    return f"(year({day}) * 12 + month({day}) - 1)"


def month_number(year: int, month: int) -> int:
    """The number that `month_number_sql` gives the month."""
    return year * 12 + month - 1


def month_label(number: int) -> str:
    """The month of a number, such as 2026-10."""
    return f"{number // 12:04d}-{number % 12 + 1:02d}"
