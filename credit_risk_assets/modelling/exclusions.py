"""Whom a training looked at and whom it left out, as figures of gold/model_validation."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from credit_risk_assets.modelling.figures import Figure
from credit_risk_assets.modelling.sample import OBSERVATION_DATE, PERFORMING_SQL

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from credit_risk_assets.modelling.train import TrainingResult

SAMPLE = "sample"
INTAKE = "intake"
COUNTS = ("tape_loans", "closed", "in_default", "without_outcome", "not_drawn", "n", "defaults", "customers")


def loans_at(history: DataFrame, dates: Iterable[dt.date]) -> DataFrame:
    """Per observation date: `tape_loans`, those `closed` (paid off), and those `performing`."""
    from pyspark.sql import functions as F

    listed = ", ".join(f"date'{day}'" for day in sorted(dates))
    return (
        history.where(f"as_of_date in ({listed})")
        .selectExpr(
            "as_of_date",
            "case when loan_status = 'paid_off' then 1 else 0 end as _closed",
            f"case when {PERFORMING_SQL} then 1 else 0 end as _performing",
        )
        .groupBy("as_of_date")
        .agg(
            F.count("as_of_date").alias("tape_loans"),
            F.sum("_closed").alias("closed"),
            F.sum("_performing").alias("performing"),
        )
    )


def sample_figures(
    result: TrainingResult,
    population: Iterable[Mapping[str, Any]] = (),
    intake: Iterable[Mapping[str, Any]] = (),
) -> list[Figure]:
    """The loans of each observation date (subject) and what they served for (item): development or the test.

    `n`, `defaults` and `customers` are those of the sample. With `population` (rows of `loans_at`) come `tape_loans`
    and who of them was left out: `closed`, `in_default` (at the observation date already, or written off) and
    `without_outcome` (performing, and not on the tape twelve months on), and `not_drawn` where the rows also tell how
    many loans were `observed`, of which training reads a part (see `sample.drawn_sql`). With `intake` (rows of the
    ingestion log) come the `files` taken and their rows `rows_read` and `rows_rejected`, subject `intake`.
    """
    known = {row["as_of_date"]: row for row in population}
    figures: list[Figure] = []
    parts = (
        ("development", result.development, result.development_label),
        (result.test_set, result.tested, result.label),
    )
    for item, frame, label in parts:
        dates = frame[OBSERVATION_DATE].cast(pl.Date)
        for day in sorted(dates.unique().to_list()):
            inside = (dates == day).to_numpy()
            counts = {
                "n": int(inside.sum()),
                "defaults": int(np.sum(label[inside])),
                "customers": frame["customer_id"].filter(pl.Series(inside)).n_unique(),
            }
            if day in known:
                counts |= _left_out(known[day], int((dates == day).sum()), result, day)
            figures += [Figure(SAMPLE, str(day), item, name, float(counts[name])) for name in COUNTS if name in counts]
    files = list(intake)
    if files:
        totals = {
            "files": len(files),
            "rows_read": sum(row["rows_read"] or 0 for row in files),
            "rows_rejected": sum(row["rows_rejected"] or 0 for row in files),
        }
        figures += [Figure(SAMPLE, INTAKE, "", name, float(value)) for name, value in totals.items()]
    return figures


def _left_out(row: Mapping[str, Any], found: int, result: TrainingResult, day: dt.date) -> dict[str, int]:
    if result.test_set != "out_of_time":  # one date serves for both parts
        found = sum(
            int((part[OBSERVATION_DATE].cast(pl.Date) == day).sum()) for part in (result.development, result.tested)
        )
    loans, closed, performing = int(row["tape_loans"]), int(row["closed"]), int(row["performing"])
    observed = found if row.get("observed") is None else int(row["observed"])
    return {
        "tape_loans": loans,
        "closed": closed,
        "in_default": loans - closed - performing,
        "without_outcome": performing - observed,
        "not_drawn": observed - found,
    }
