"""One way to read a column, whatever table it comes in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

Frame = pd.DataFrame | pl.DataFrame
"""A table held in memory; Arrow tables are read as polars without a copy."""


def as_frame(table: pd.DataFrame | pl.DataFrame | pa.Table) -> Frame:
    """The table as pandas or polars."""
    if isinstance(table, pa.Table):
        return pl.DataFrame(pl.from_arrow(table))
    return table


def is_text(column: Any) -> bool:
    """Whether a column holds words rather than numbers."""
    if isinstance(column, pl.Series):
        return column.dtype in (pl.String, pl.Categorical) or isinstance(column.dtype, pl.Enum)
    return bool(
        pd.api.types.is_object_dtype(column)
        or pd.api.types.is_string_dtype(column)
        or isinstance(column.dtype, pd.CategoricalDtype)
    )


def numbers(column: Any) -> NDArray[np.float32]:
    """A column as float32, gaps and infinities as NaN; dates as days since 1970."""
    if isinstance(column, pl.Series):
        if column.dtype.is_temporal():
            column = column.cast(pl.Date).cast(pl.Int32)
        values = column.cast(pl.Float32, strict=False).to_numpy()
    elif pd.api.types.is_datetime64_any_dtype(column):
        days = column.to_numpy(dtype="datetime64[s]").astype("float64") / 86_400
        values = np.where(column.isna(), np.nan, days).astype(np.float32)
    elif is_text(column):
        values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float32, na_value=np.nan)
    else:
        values = column.to_numpy(dtype=np.float32, na_value=np.nan)
    if not np.isfinite(values).all():
        values = np.where(np.isfinite(values), values, np.float32("nan"))
    return np.ascontiguousarray(values, dtype=np.float32)


def words(column: Any) -> NDArray[np.object_]:
    """A column as words; gaps and blanks as None."""
    if isinstance(column, pl.Series):
        text = column.cast(pl.String)
        known = text.to_frame().select(pl.when(pl.first().str.strip_chars() != "").then(pl.first()))
        return np.asarray(known.to_series().to_numpy(), dtype=object)
    return np.array([None if pd.isna(word) or not str(word).strip() else str(word) for word in column], dtype=object)
