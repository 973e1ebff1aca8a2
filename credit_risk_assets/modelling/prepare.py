"""Loans as they come (typed in, read from a file, with gaps) made into typed tape rows with features.

A row that breaks the tape's contract is not repaired: it comes back with the reason.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
from numpy.typing import NDArray

from credit_risk_assets.credit.features import BY_NAME, add_features
from credit_risk_assets.modelling.errors import ModelDataError
from credit_risk_assets.tape import contract

_TYPES: dict[str, Any] = {"string": pl.String, "date": pl.Date, "double": pl.Float64, "int": pl.Int32}
NEEDED = ("loan_purpose", "loan_amount", "interest_rate", "term_months")
"""What no loan can be scored without."""
ROW = "_row"
REASON = "_reason"


def _typed(values: pd.Series, column: contract.Column) -> tuple[pl.Series, NDArray[np.bool_] | None]:
    """The column in its contract type, and which given values could not be read (None where all could)."""
    if column.type == "string":
        texts = [str(value).strip() if isinstance(value, str) or pd.notna(value) else None for value in values]
        return pl.Series(column.name, [text or None for text in texts], dtype=pl.String), None
    if column.type == "date":
        if values.dtype.kind == "M":
            return pl.Series(column.name, values.to_numpy()).cast(pl.Date), None
        found = pl.Series(column.name, [_date(value) for value in values], dtype=pl.Date)
        bad = values.notna().to_numpy() & found.is_null().to_numpy()
        return found, bad if bad.any() else None
    if values.dtype.kind in "fiu" and isinstance(values.dtype, np.dtype):
        numbers = values.to_numpy(dtype=float)
        bad = np.isinf(numbers)
    elif pd.api.types.is_numeric_dtype(values):
        numbers = values.to_numpy(dtype=float, na_value=np.nan)
        bad = np.isinf(numbers)
    else:
        numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=float, na_value=np.nan)
        blank = values.map(lambda value: isinstance(value, str) and not value.strip()).to_numpy(dtype=bool)
        bad = ~np.isfinite(numbers) & values.notna().to_numpy() & ~blank
    if column.type == "int":
        bad |= np.isfinite(numbers) & ((numbers != np.floor(numbers)) | (np.abs(numbers) > 2**31 - 1))
    if bad.any():
        numbers = np.where(bad, np.nan, numbers)
    found = pl.Series(column.name, numbers, nan_to_null=True)
    return found if column.type == "double" else found.cast(pl.Int32), bad if bad.any() else None


def _date(value: Any) -> dt.date | None:
    if isinstance(value, dt.datetime):
        return None if pd.isna(value) else value.date()
    if isinstance(value, dt.date):
        return value
    try:
        return dt.date.fromisoformat(str(value).strip()[:10])
    except ValueError:
        return None


def _outside(column: contract.Column, name: str) -> pl.Expr | None:
    """The complaint about a value outside the contract; null where it fits."""
    value = pl.col(name)
    if column.values:
        allowed = ", ".join(column.values)
        return pl.when(~value.is_in(list(column.values))).then(pl.format(f"{name} '{{}}' is none of {allowed}", value))
    complaints = []
    if column.minimum is not None:
        low = f"{column.minimum:g}"
        broken = value <= column.minimum if column.above else value < column.minimum
        word = "not above" if column.above else "below"
        complaints.append(pl.when(broken).then(pl.format(f"{name} {{}} is {word} {low}", value)))
    if column.maximum is not None:
        complaints.append(
            pl.when(value > column.maximum).then(pl.format(f"{name} {{}} is above {column.maximum:g}", value))
        )
    return pl.coalesce(complaints) if complaints else None


_COMPLAINT = pl.coalesce(
    *(pl.when(pl.col(name).is_null()).then(pl.lit(f"{name} is missing")) for name in NEEDED),
    *(
        complaint
        for column in contract.COLUMNS
        if column.name != "default_flag" and (complaint := _outside(column, column.name)) is not None
    ),
    pl.when(pl.col("origination_date") > pl.col("as_of_date")).then(
        pl.format("origination_date {} is after as_of_date {}", "origination_date", "as_of_date")
    ),
    pl.when(~pl.col("payment_history_profile").str.contains(f"^[{contract.PROFILE_CODES}]{{0,84}}$")).then(
        pl.format(
            "payment_history_profile '{}' holds other codes than " + contract.PROFILE_CODES, "payment_history_profile"
        )
    ),
    pl.when(pl.col("loan_status") == "paid_off").then(pl.lit("loan_status paid_off: nothing can default")),
)
"""What is wrong with a typed row, the first complaint; null where nothing is."""


def _installment() -> pl.Expr:
    """The annuity payment to the cent, as silver computes it where a tape has none."""
    rate, months, amount = pl.col("interest_rate") / 1200, pl.col("term_months"), pl.col("loan_amount")
    annuity = amount * rate / (1 - (1 + rate).pow(-months))
    return pl.when(rate == 0).then(amount / months).otherwise(annuity).round(2, mode="half_away_from_zero")


_NEW_LOAN = (
    pl.coalesce("as_of_date", "origination_date", pl.lit(dt.date(2000, 1, 31))).alias("as_of_date"),
    pl.coalesce("origination_date", "as_of_date", pl.lit(dt.date(2000, 1, 31))).alias("origination_date"),
    pl.col("loan_status").fill_null("current"),
    pl.col("current_dpd").fill_null(0),
    pl.coalesce("outstanding_balance", "loan_amount").alias("outstanding_balance"),
    pl.coalesce("installment", _installment()).alias("installment"),
)
"""What goes without saying for an application: nothing repaid, nothing overdue, the whole amount owed.

Without dates the loan is new; which day it is does not matter, because only the time between dates does.
"""


def prepare(loans: pd.DataFrame, features: Sequence[str] = ()) -> pl.DataFrame:
    """Typed tape rows with features, in the order given; `_reason` says why a row cannot be scored, else null.

    Optional columns may be missing. Features that `loans` brings are used only where the tape columns they are
    computed from are missing; `features` names the ones needed, by default all. Raises `ModelDataError` where a
    column that no loan can be scored without is missing altogether.
    """
    absent = [name for name in NEEDED if name not in loans.columns]
    if absent:
        raise ModelDataError(f"loans to score: the columns {', '.join(absent)} are missing; every loan needs them")
    columns: list[pl.Series] = []
    unread: list[pl.Series] = []
    for column in contract.COLUMNS:
        if column.name in loans.columns:
            found, bad = _typed(loans[column.name], column)
            columns.append(found)
            if bad is not None:
                kind = {"date": "date (YYYY-MM-DD)", "int": "whole number"}.get(column.type, "number")
                texts = [
                    f"{column.name} '{value}' is no {kind}" if wrong else None
                    for value, wrong in zip(loans[column.name], bad, strict=True)
                ]
                unread.append(pl.Series(f"_unread_{column.name}", texts, dtype=pl.String))
        else:
            columns.append(pl.Series(column.name, [None] * len(loans), dtype=_TYPES[column.type]))
    tape = pl.DataFrame(columns)
    complaint = pl.coalesce(*(pl.lit(series) for series in unread), _COMPLAINT)
    wanted = features or tuple(BY_NAME)
    tape = add_features(tape.with_columns_seq(complaint.alias(REASON), *_NEW_LOAN), wanted)
    given = [name for name in wanted if name in loans.columns and name not in contract.BY_NAME]
    fills = []
    for name in given:
        feature = contract.Column(name, BY_NAME[name].type, "")
        values, _ = _typed(loans[name], feature)
        fills.append(pl.coalesce(pl.col(name), pl.lit(values)).alias(name))
    return tape.with_columns(fills) if fills else tape
