"""The tape contract as an application must keep it: what is wrong with a loan that cannot be scored."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import polars as pl

from credit_risk_assets.tape import contract
from credit_risk_assets.tape.rows import EARLIEST_DATE

NEEDED = ("loan_purpose", "loan_amount", "interest_rate", "term_months")
"""What no loan can be scored without."""
RULED = tuple(column for column in contract.COLUMNS if column.name != "default_flag")
_MAX_MONTHS = contract.PROFILE_MAX_MONTHS
_PROFILE = f"^[{contract.PROFILE_CODES}]{{0,{_MAX_MONTHS}}}$"
_LIMITS = tuple(
    (column.name, column.minimum, column.maximum, column.above) for column in RULED if column.minimum is not None
)
_CHOICES = tuple((column.name, column.values) for column in RULED if column.values)
_DATES = tuple(column.name for column in RULED if column.type == "date")
_CODES = frozenset(contract.PROFILE_CODES)


def category(text: str) -> str:
    """A word of a fixed list as the lake writes it: lower case, underscores for blanks and hyphens."""
    return re.sub(r"[\s\-]+", "_", text.lower())


def complaint_of(loan: Mapping[str, Any], today: dt.date) -> str | None:
    """What is wrong with one loan's typed values, the first complaint; None where nothing is."""
    for name in NEEDED:
        if loan[name] is None:
            return f"{name} is missing"
    for name, choices in _CHOICES:
        value = loan[name]
        if value is not None and value not in choices:
            return f"{name} '{value}' is none of {', '.join(choices)}"
    for name, minimum, maximum, above in _LIMITS:
        value = loan[name]
        if value is None:
            continue
        if value < minimum or (above and value <= minimum):
            return f"{name} {value:.15g} is {'not above' if above else 'below'} {minimum:g}"
        if maximum is not None and value > maximum:
            return f"{name} {value:.15g} is above {maximum:g}"
    return _of_dates(loan, today) or _of_history(loan)


def _of_dates(loan: Mapping[str, Any], today: dt.date) -> str | None:
    for name in _DATES:
        if loan[name] is not None and loan[name] < EARLIEST_DATE:
            return f"{name} {loan[name]} is before {EARLIEST_DATE}"
    origination, as_of, maturity = loan["origination_date"], loan["as_of_date"], loan["maturity_date"]
    if origination is not None and as_of is not None and origination > as_of:
        return f"origination_date {origination} is after as_of_date {as_of}"
    if as_of is not None and as_of > today:
        return f"as_of_date {as_of} is after today ({today}, UTC)"
    if origination is not None and maturity is not None and maturity <= origination:
        return f"maturity_date {maturity} is not after origination_date {origination}"
    return None


def _of_history(loan: Mapping[str, Any]) -> str | None:
    profile = loan["payment_history_profile"]
    if profile is not None and not _CODES.issuperset(profile):
        return f"payment_history_profile '{profile[:_MAX_MONTHS]}' holds other codes than {contract.PROFILE_CODES}"
    if profile is not None and len(profile) > _MAX_MONTHS:
        return f"payment_history_profile has {len(profile)} months, more than {_MAX_MONTHS}"
    return "loan_status paid_off: nothing can default" if loan["loan_status"] == "paid_off" else None


@lru_cache(maxsize=2)
def broken(today: dt.date) -> pl.Expr:
    """Whether `complaint_of` finds something wrong with a typed row of a table."""
    origination, as_of = pl.col("origination_date"), pl.col("as_of_date")
    profile = pl.col("payment_history_profile")
    found = [pl.col(name).is_null() for name in NEEDED]
    found += [~pl.col(name).is_in(list(choices)) for name, choices in _CHOICES]
    for name, minimum, maximum, above in _LIMITS:
        found.append(pl.col(name) <= minimum if above else pl.col(name) < minimum)
        if maximum is not None:
            found.append(pl.col(name) > maximum)
    found += [pl.col(name) < EARLIEST_DATE for name in _DATES]
    found += [origination > as_of, as_of > today, pl.col("maturity_date") <= origination]
    found += [~profile.str.contains(_PROFILE), pl.col("loan_status") == "paid_off"]
    return pl.any_horizontal(condition.fill_null(value=False) for condition in found)
