"""Tape rows for tests: any mix of nulls, zeros, extremes and odd profiles that the contract allows."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
from hypothesis import strategies as st

from credit_risk_assets.tape import contract

POLARS_TYPES = {"string": pl.String, "date": pl.Date, "double": pl.Float64, "int": pl.Int32}
SCHEMA = {column.name: POLARS_TYPES[column.type] for column in contract.COLUMNS}

_MONEY = st.one_of(st.just(0.0), st.just(0.01), st.floats(0.01, 5e6, allow_nan=False), st.integers(1, 10**6).map(float))
_PROFILES = st.one_of(
    st.just(""),
    st.text(alphabet=contract.PROFILE_CODES, max_size=contract.PROFILE_MAX_MONTHS),
    st.text(alphabet="0001", min_size=1, max_size=contract.PROFILE_MAX_MONTHS),
    st.sampled_from(["0" * 84, "L" * 12, "B", "D0D0", "000000000000L", "00000000000L"]),
)
_DATES = st.dates(dt.date(1999, 1, 1), dt.date(2031, 12, 31))


def _values(column: contract.Column) -> st.SearchStrategy[object]:
    if column.type == "date":
        return _DATES
    if column.name == "payment_history_profile":
        return _PROFILES
    if column.type == "string":
        return st.sampled_from(column.values) if column.values else st.text(alphabet="abcé 'ÖX", max_size=8)
    if column.type == "int":
        return st.integers(int(column.minimum or 0), int(column.maximum or 400))
    if column.unit == "currency":
        return st.one_of(st.just(0.01), st.floats(0.01, 5e6)) if column.above else _MONEY
    return st.floats(column.minimum or 0, column.maximum or 1000, allow_nan=False)


def rows() -> st.SearchStrategy[dict[str, object]]:
    """One tape row; optional values may be missing."""
    return st.fixed_dictionaries(
        {
            column.name: _values(column) if column.required else st.one_of(st.none(), _values(column))
            for column in contract.COLUMNS
        }
    )


def tapes(max_rows: int = 30) -> st.SearchStrategy[pl.DataFrame]:
    """A typed tape of up to `max_rows` rows."""
    return st.lists(rows(), min_size=1, max_size=max_rows).map(lambda found: pl.DataFrame(found, schema=SCHEMA))


def random_tape(count: int, seed: int = 7) -> pl.DataFrame:
    """A big typed tape of independent values with gaps: for equality of engines, not for credit."""
    rng = np.random.default_rng(seed)
    data: dict[str, object] = {}
    for column in contract.COLUMNS:
        if column.type == "date":
            values: list[object] = [
                dt.date(2010, 1, 1) + dt.timedelta(days=int(day)) for day in rng.integers(0, 6000, count)
            ]
        elif column.name == "payment_history_profile":
            codes = np.array(list(contract.PROFILE_CODES))
            odds = np.where(codes == "0", 30, 1) / (29 + len(codes))
            values = ["".join(rng.choice(codes, length, p=odds)) for length in rng.integers(0, 85, count)]
        elif column.type == "string":
            choices = column.values or ("a", "b b", "é", "loan")
            values = [str(value) for value in rng.choice(choices, count)]
        elif column.type == "int":
            values = [int(v) for v in rng.integers(int(column.minimum or 0), int(column.maximum or 130) + 1, count)]
        elif column.unit == "currency":
            values = [float(v) for v in np.round(np.exp(rng.normal(9, 2, count)), 2)]
        else:
            low = column.minimum or 0
            values = [float(v) for v in rng.uniform(low, column.maximum or max(low + 1.0, 3.0), count)]
        if not column.required:
            values = [None if gap else value for gap, value in zip(rng.random(count) < 0.1, values, strict=True)]
        data[column.name] = values
    return pl.DataFrame(data, schema=SCHEMA)
