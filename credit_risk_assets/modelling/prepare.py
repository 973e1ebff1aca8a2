"""Loans as they come (typed in, read from a file, with gaps) made into typed tape rows with features.

A row that breaks the tape's contract is not repaired: it comes back with the reason.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
from numpy.typing import NDArray

from credit_risk_assets.credit.features import BY_NAME, add_features
from credit_risk_assets.modelling.complaints import NEEDED, broken, category, complaint_of
from credit_risk_assets.modelling.errors import ModelDataError
from credit_risk_assets.tape import contract
from credit_risk_assets.tape.rows import parse_value

_TYPES: dict[str, Any] = {"string": pl.String, "date": pl.Date, "double": pl.Float64, "int": pl.Int32}
_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}.*)?$", re.ASCII)
_SHOWN = 80
REASON = "_reason"
NO_DAY = dt.date(2000, 1, 31)
"""The day of a loan without dates: a new one. Which day it is does not matter: only the time between dates does."""


def _read(values: pd.Series | pl.Series, column: contract.Column) -> tuple[pl.Series, NDArray[np.bool_] | None]:
    """The column in its contract type, and which given values could not be read (None where all could)."""
    if isinstance(values, pd.Series):
        return _typed(values, column)
    found = values.to_frame().select(parse_value(column.name, column)).to_series()
    bad = (values.is_not_null() & found.is_null()).to_numpy()
    return found, bad if bad.any() else None


def _typed(values: pd.Series, column: contract.Column) -> tuple[pl.Series, NDArray[np.bool_] | None]:
    if column.type == "string":
        texts = [str(value).strip() if isinstance(value, str) or pd.notna(value) else None for value in values]
        if column.values:
            texts = [category(text) if text else None for text in texts]
        return pl.Series(column.name, [text or None for text in texts], dtype=pl.String), None
    if column.type == "date":
        if values.dtype.kind == "M" and isinstance(values.dtype, np.dtype):
            return pl.Series(column.name, values.to_numpy()).cast(pl.Date), None
        found = pl.Series(column.name, [read_date(value) for value in values], dtype=pl.Date)
        bad = values.notna().to_numpy() & ~_blank(values) & found.is_null().to_numpy()
        return found, bad if bad.any() else None
    if values.dtype.kind in "fiu" and isinstance(values.dtype, np.dtype):
        numbers = values.to_numpy(dtype=float)
        bad = np.isinf(numbers)
    elif pd.api.types.is_numeric_dtype(values):
        numbers = values.to_numpy(dtype=float, na_value=np.nan)
        bad = np.isinf(numbers)
    else:
        numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=float, na_value=np.nan)
        bad = ~np.isfinite(numbers) & values.notna().to_numpy() & ~_blank(values)
    if column.type == "int":
        bad |= np.isfinite(numbers) & ((numbers != np.floor(numbers)) | (np.abs(numbers) > 2**31 - 1))
    if bad.any():
        numbers = np.where(bad, np.nan, numbers)
    found = pl.Series(column.name, numbers, nan_to_null=True)
    return found if column.type == "double" else found.cast(pl.Int32), bad if bad.any() else None


def _blank(values: pd.Series) -> NDArray[np.bool_]:
    return np.array([isinstance(value, str) and not value.strip() for value in values], dtype=bool)


def read_date(value: Any) -> dt.date | None:
    """A date, or the date of a time; None where there is none."""
    if isinstance(value, dt.datetime):
        return None if pd.isna(value) else value.date()
    if isinstance(value, dt.date):
        return value
    text = str(value).strip()
    if not _ISO_DATE.match(text):
        return None
    try:
        return dt.date.fromisoformat(text[:10])
    except ValueError:
        return None


def annuity(amount: float, rate: float, months: int) -> float:
    """The monthly payment to the cent, as silver computes it where a tape has none; `rate` in percent a year."""
    monthly = rate / 1200
    growth = (1 + monthly) ** -months
    exact = amount / months if growth == 1 else amount * monthly / (1 - growth)
    cents = exact * 100
    whole = math.floor(cents)
    return (whole + (cents - whole >= 0.5)) / 100


def _installments(tape: pl.DataFrame) -> pl.Series:
    """The payments given, else the annuity: value by value, so that a loan has the same one alone and in a batch."""
    given = tape["installment"]
    missing = tape.select(pl.col("installment").is_null() & pl.col(REASON).is_null()).to_series()
    if not missing.any():
        return given
    terms = tape.filter(missing).select("loan_amount", "interest_rate", "term_months").iter_rows()
    return given.scatter(missing.arg_true(), [annuity(*row) for row in terms])


_NEW_LOAN = (
    pl.coalesce("as_of_date", "origination_date", pl.lit(NO_DAY)).alias("as_of_date"),
    pl.coalesce("origination_date", "as_of_date", pl.lit(NO_DAY)).alias("origination_date"),
    pl.col("loan_status").fill_null("current"),
    pl.col("current_dpd").fill_null(0),
    pl.coalesce("outstanding_balance", "loan_amount").alias("outstanding_balance"),
)
"""What goes without saying for an application: nothing repaid, nothing overdue, the whole amount owed."""


def check_columns(columns: Iterable[Any]) -> None:
    """Raise `ModelDataError` where a column that no loan can be scored without is missing, or one comes twice."""
    names = [str(name) for name in columns]
    absent = [name for name in NEEDED if name not in names]
    if absent:
        raise ModelDataError(f"loans to score: the columns {', '.join(absent)} are missing; every loan needs them")
    if len(set(names)) < len(names):
        twice = ", ".join(sorted({name for name in names if names.count(name) > 1}))
        raise ModelDataError(f"loans to score: the columns {twice} come more than once; each name may come once")


def _complaints(tape: pl.DataFrame, unread: dict[int, str], today: dt.date) -> pl.Series:
    """The complaint about each row, null where there is none; texts are made for the rows alone that need one."""
    texts = dict(unread)
    places = tape.select(broken(today)).to_series().arg_true()
    for place, loan in zip(places.to_list(), tape[places].iter_rows(named=True), strict=True):
        texts.setdefault(place, complaint_of(loan, today) or "")
    complaints = pl.Series(REASON, [None], dtype=pl.String).new_from_index(0, len(tape))
    return complaints.scatter(list(texts), list(texts.values())) if texts else complaints


def prepare(
    loans: pd.DataFrame | pl.DataFrame, features: Sequence[str] = (), today: dt.date | None = None
) -> pl.DataFrame:
    """Typed tape rows with features, in the order given; `_reason` says why a row cannot be scored, else null.

    A polars table holds text alone, as `tape.readers` reads files; a pandas one whatever its caller has.
    Optional columns may be missing. Features that `loans` brings are used only where the tape columns they are
    computed from are missing; `features` names the ones needed, by default all. No as-of date may lie after
    `today` (UTC's by default). Raises `ModelDataError` where a column that no loan can be scored without is missing
    altogether.
    """
    check_columns(loans.columns)
    columns: list[pl.Series] = []
    unread: dict[int, str] = {}
    for column in contract.COLUMNS:
        if column.name not in loans.columns:
            columns.append(pl.Series(column.name, [None] * len(loans), dtype=_TYPES[column.type]))
            continue
        given = loans[column.name]
        found, bad = _read(given, column)
        columns.append(found)
        if bad is not None:
            kind = {"date": "date (YYYY-MM-DD)", "int": "whole number"}.get(column.type, "number")
            for place in np.flatnonzero(bad).tolist():
                value = given.iloc[place] if isinstance(given, pd.Series) else given[place]
                unread.setdefault(place, f"{column.name} '{str(value)[:_SHOWN]}' is no {kind}")
    tape = pl.DataFrame(columns)
    complaints = _complaints(tape, unread, today or dt.datetime.now(dt.UTC).date())
    wanted = features or tuple(BY_NAME)
    tape = tape.with_columns_seq(complaints, *_NEW_LOAN)
    tape = add_features(tape.with_columns(_installments(tape)), wanted)
    helping = [name for name in wanted if name in loans.columns and name not in contract.BY_NAME]
    fills = []
    for name in helping:
        values, _ = _read(loans[name], contract.Column(name, BY_NAME[name].type, ""))
        fills.append(pl.coalesce(pl.col(name), pl.lit(values)).alias(name))
    return tape.with_columns(fills) if fills else tape
