"""A few applications at a time, value by value: the checks, features and bits of a table, in a tenth of the time."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import pandas as pd

from credit_risk_assets.credit.features import add_loan_features
from credit_risk_assets.modelling.complaints import category, complaint_of
from credit_risk_assets.modelling.prepare import NO_DAY, REASON, annuity, read_date
from credit_risk_assets.tape import contract

FEW_LOANS = 16
"""Above this many rows the columns of a table cost less than the rows."""
_INT_MAX = 2**31 - 1


class _NotPlainError(Exception):
    """A value that the table's path must judge."""


def few_loans(
    loans: pd.DataFrame, features: Sequence[str], today: dt.date | None = None
) -> list[dict[str, Any]] | None:
    """Typed values and features of each loan, or None where `prepare` must do it.

    `_reason` says why a loan cannot be scored, else None. It takes plain values: numbers, text, dates and gaps.
    What cannot be read so, such as a number within a text, is left to `prepare`.
    """
    columns = [str(name) for name in loans.columns]
    if len(loans) > FEW_LOANS or any(name in features and name not in contract.BY_NAME for name in columns):
        return None
    day = today or dt.datetime.now(dt.UTC).date()
    try:
        return [_loan(dict(zip(columns, row, strict=True)), features, day) for row in loans.to_numpy(dtype=object)]
    except (_NotPlainError, ZeroDivisionError, OverflowError):
        return None


def _loan(given: dict[str, Any], features: Sequence[str], today: dt.date) -> dict[str, Any]:
    loan = {column.name: _plain(given.get(column.name), column) for column in contract.COLUMNS}
    loan[REASON] = complaint_of(loan, today)
    as_of, origination = loan["as_of_date"], loan["origination_date"]
    loan["as_of_date"] = as_of or origination or NO_DAY
    loan["origination_date"] = origination or as_of or NO_DAY
    loan["loan_status"] = loan["loan_status"] or "current"
    loan["current_dpd"] = loan["current_dpd"] or 0
    if loan["outstanding_balance"] is None:
        loan["outstanding_balance"] = loan["loan_amount"]
    if loan["installment"] is None and loan[REASON] is None:
        loan["installment"] = annuity(loan["loan_amount"], loan["interest_rate"], loan["term_months"])
    add_loan_features(loan, features)
    return loan


def _plain(value: Any, column: contract.Column) -> Any:
    if value is None or value is pd.NA or value is pd.NaT or value != value:
        return None
    if column.type == "string":
        if not isinstance(value, str):
            return _text(value, column)
        text = value.strip()
        return (category(text) if column.values else text) or None
    if column.type == "date":
        return _date(value)
    if not isinstance(value, int | float):
        raise _NotPlainError
    number = float(value)
    if number - number != 0:
        raise _NotPlainError
    if column.type == "double":
        return number
    if number != int(number) or abs(number) > _INT_MAX:
        raise _NotPlainError
    return int(number)


def _text(value: Any, column: contract.Column) -> str:
    # identifiers are often numbers, and nothing is computed from them
    if column.name in ("loan_id", "customer_id"):
        return str(value)
    raise _NotPlainError


def _date(value: Any) -> dt.date | None:
    if isinstance(value, dt.datetime) and value.tzinfo is not None:
        raise _NotPlainError
    if isinstance(value, str) and not value.strip():
        return None
    found = read_date(value)
    if found is None:
        raise _NotPlainError
    return found
