"""The development sample: what was known at an observation date, and what happened in the twelve months after.

Spark's DataFrame API and SQL text only, so that every engine builds the same sample.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import TYPE_CHECKING

from credit_risk_assets.credit.delinquency import defaulted_within_sql, in_default_sql

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

OUTCOME_MONTHS = 12
LABEL = "default_12m"
OBSERVATION_DATE = "observation_date"
PERFORMING_SQL = f"loan_status in ('current', 'delinquent') and not coalesce({in_default_sql()}, false)"
"""Loans that can still default: on book, below 90 DPD and not in default at the observation date."""


def observation_pairs(full_tape_dates: Iterable[dt.date]) -> list[tuple[dt.date, dt.date]]:
    """Each observation date with the tape twelve months later, where both exist, in order.

    Tapes belong together by calendar month; of two tapes in one month the later counts.
    """
    by_month = {(date.year, date.month): date for date in sorted(full_tape_dates)}
    return [
        (start, by_month[start.year + 1, start.month])
        for start in sorted(by_month.values())
        if (start.year + 1, start.month) in by_month
    ]


def _matched(history: DataFrame, full_tape_dates: Iterable[dt.date]) -> DataFrame | None:
    """Performing loans at each observation date, with `default_12m` null where the later tape lacks them."""
    parts: DataFrame | None = None
    for start, end in observation_pairs(full_tape_dates):
        later = history.where(f"as_of_date = date'{end}'").selectExpr(
            "loan_id as _later_loan_id",
            f"case when {defaulted_within_sql(OUTCOME_MONTHS)} then 1 else 0 end as {LABEL}",
        )
        observed = history.where(f"as_of_date = date'{start}' and {PERFORMING_SQL}")
        part = observed.join(later, observed["loan_id"] == later["_later_loan_id"], "left")
        parts = part if parts is None else parts.unionByName(part)
    return parts


def _empty(history: DataFrame) -> DataFrame:
    return history.where("false").selectExpr("*", "loan_id as _later_loan_id", f"cast(null as int) as {LABEL}")


def development_sample(history: DataFrame, full_tape_dates: Iterable[dt.date]) -> DataFrame:
    """One row per loan and observation date: all columns as known then, and `default_12m` (0 or 1).

    `history` is silver/loan_history. A loan defaults when the profile of the tape twelve months later shows 90+
    DPD, collections, repossession or charge-off in its latest twelve months; the status at the end is no guide,
    because many are cured or charged off by then. Columns that begin with `_` (provenance) are left out, and so
    are loans that the later tape does not name: `sample_counts` counts them. Without two full tapes twelve
    months apart the sample is empty.
    """
    matched = _matched(history, full_tape_dates)
    if matched is None:
        matched = _empty(history)
    kept = [name for name in history.columns if not name.startswith("_")]
    return matched.where(f"{LABEL} is not null").selectExpr(
        f"as_of_date as {OBSERVATION_DATE}", *[f"`{name}`" for name in kept], LABEL
    )


def sample_counts(history: DataFrame, full_tape_dates: Iterable[dt.date]) -> DataFrame:
    """Per observation date: `performing` loans, those `found` twelve months later, `lost` and `defaults`."""
    from pyspark.sql import functions as F

    matched = _matched(history, full_tape_dates)
    if matched is None:
        matched = _empty(history)
    return (
        matched.groupBy(F.col("as_of_date").alias(OBSERVATION_DATE))
        .agg(
            F.count("loan_id").alias("performing"),
            F.count(LABEL).alias("found"),
            F.coalesce(F.sum(LABEL), F.lit(0)).alias("defaults"),
        )
        .withColumn("lost", F.col("performing") - F.col("found"))
        .orderBy(OBSERVATION_DATE)
    )


def drawn_sql(rows: int, most: int) -> str:
    """SQL that draws about `most` of a sample's `rows` by whole customers, the same ones on every engine and each time.

    A pseudonym is the hexadecimal text of a keyed hash, so that its first digits are uniform and say nothing of the
    customer; comparing them as text draws a share. 'true' where every row may be used.
    """
    if rows <= most:
        return "true"
    return f"substring(customer_id, 1, 8) < '{int(most / rows * 16**8):08x}'"
