"""What the delinquency page shows: cohorts, roll rates, buckets over months and rating migration, as observed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import polars as pl

from credit_risk_assets.config.tables import (
    MIGRATION_STATES,
    RATING_MIGRATION,
    ROLL_BUCKETS,
    ROLL_RATES,
    VINTAGE_CURVES,
    Table,
)
from dash_app.data.lake import Snapshot

CLOSED, UNSEEN = ROLL_BUCKETS[-2:]
OPEN_BUCKETS = ROLL_BUCKETS[:-2]
"""Buckets that a loan may roll from."""
ON_BOOK_BUCKETS = ROLL_BUCKETS[:-3]
"""Buckets of a loan on book; tapes keep what was charged off for a while, so it belongs in no share."""
MEASURES = {
    "ever_90": ("ever_90", "loans_observed"),
    "ever_60": ("ever_60", "loans_observed"),
    "ever_30": ("ever_30", "loans_observed"),
    "ever_90_amount": ("ever_90_amount", "amount_observed"),
}
"""What a vintage curve may count: numerator and denominator of its rate."""


def purposes(snapshot: Snapshot) -> list[str]:
    """The purposes that the tables know."""
    found: set[str] = set()
    for table in (VINTAGE_CURVES, ROLL_RATES, RATING_MIGRATION):
        if snapshot.has(table):
            found |= set(snapshot.frame(table)["loan_purpose"].unique().drop_nulls())
    return sorted(found)


def _of(snapshot: Snapshot, table: Table, chosen: Sequence[str]) -> pl.DataFrame:
    frame = snapshot.frame(table)
    return frame.filter(pl.col("loan_purpose").is_in(list(chosen))) if chosen else frame


def vintages(snapshot: Snapshot, measure: str, by: str, chosen: Sequence[str] = ()) -> pl.DataFrame:
    """One row per cohort (a quarter or a year of origination) and age, in order.

    `late` over `observed` is `rate`. A year's point is `mature` once every loan of the year has had the time to
    reach the age, and `complete` where that holds for every quarter of it. Quarters of a year that have no row at
    an age are younger than it.
    """
    if not snapshot.has(VINTAGE_CURVES):
        return pl.DataFrame()
    late, observed = MEASURES[measure]
    quarter = pl.col("origination_quarter")
    frame = _of(snapshot, VINTAGE_CURVES, chosen).with_columns(
        cohort=quarter if by == "quarter" else quarter.str.head(4)
    )
    quarters = frame.group_by("cohort").agg(quarters=quarter.n_unique())
    sums = frame.group_by("cohort", "months_on_book").agg(
        pl.col("loans", "loans_unseen").sum(),
        late=pl.col(late).sum(),
        observed=pl.col(observed).sum(),
        mature=pl.col("mature").all(),
        complete=pl.col("complete").all(),
        seen=quarter.n_unique(),
    )
    return (
        sums.join(quarters, on="cohort")
        .filter(pl.col("observed") > 0)
        .with_columns(
            mature=pl.col("mature") & (pl.col("seen") == pl.col("quarters")),
            rate=pl.col("late") / pl.col("observed"),
        )
        .drop("seen", "quarters")
        .sort("cohort", "months_on_book")
    )


@dataclass(frozen=True)
class RollMatrix:
    """How loans rolled within a month, summed over `months`; `counts[i][j]` is from row i to column j."""

    months: tuple[str, ...]
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]

    @property
    def rates(self) -> list[list[float | None]]:
        """Each row's shares; they sum to 1, or are None where no loan began in the bucket."""
        return [[n / sum(row) for n in row] if sum(row) else [None] * len(row) for row in self.counts]


def roll_matrix(snapshot: Snapshot, months: int, chosen: Sequence[str] = ()) -> RollMatrix | None:
    """The roll rates of the newest `months` months; None where the table is missing or tells of none.

    Rows are the buckets of loans on the tapes; what had closed, or was not observed, rolls nowhere. Buckets that no
    loan was in are left out.
    """
    if not snapshot.has(ROLL_RATES):
        return None
    frame = _of(snapshot, ROLL_RATES, chosen)
    newest = tuple(sorted(frame["month"].unique())[-months:])
    kept = frame.filter(pl.col("month").is_in(list(newest)), pl.col("from_bucket").is_in(list(OPEN_BUCKETS)))
    sums = {(a, b): int(n) for a, b, n in kept.group_by("from_bucket", "to_bucket").agg(pl.col("loans").sum()).rows()}
    if not sums:
        return None
    seen = {bucket for pair in sums for bucket in pair}
    rows, columns = (tuple(b for b in buckets if b in seen) for buckets in (OPEN_BUCKETS, ROLL_BUCKETS))
    counts = tuple(tuple(sums.get((a, b), 0) for b in columns) for a in rows)
    return RollMatrix(newest, rows, columns, counts)


def buckets_over_time(snapshot: Snapshot, chosen: Sequence[str] = ()) -> pl.DataFrame:
    """Loans by month and bucket at its end (`month`, `bucket`, `loans`, `share` of the loans on book)."""
    if not snapshot.has(ROLL_RATES):
        return pl.DataFrame()
    frame = _of(snapshot, ROLL_RATES, chosen).filter(pl.col("to_bucket").is_in(list(ON_BOOK_BUCKETS)))
    sums = frame.group_by("month", bucket="to_bucket").agg(pl.col("loans").sum())
    grid = sums.select("month").unique().join(pl.DataFrame({"bucket": ON_BOOK_BUCKETS}), how="cross")
    full = grid.join(sums, on=["month", "bucket"], how="left").with_columns(pl.col("loans").fill_null(0))
    place = pl.col("bucket").replace_strict(dict(zip(ON_BOOK_BUCKETS, range(len(ON_BOOK_BUCKETS)), strict=True)))
    return (
        full.with_columns(share=pl.col("loans") / pl.col("loans").sum().over("month"), place=place)
        .sort("month", "place")
        .drop("place")
    )


def tape_pairs(snapshot: Snapshot) -> list[tuple[date, date]]:
    """The pairs of consecutive full tapes that migration was counted between, oldest first."""
    if not snapshot.has(RATING_MIGRATION):
        return []
    return sorted(snapshot.frame(RATING_MIGRATION).select("from_date", "to_date").unique().rows())


def migration(snapshot: Snapshot, pair: tuple[date, date] | None, chosen: Sequence[str] = ()) -> pl.DataFrame:
    """Loans and balances by state on one tape and on the next, in the order of the states; empty without a pair."""
    if pair is None:
        return pl.DataFrame()
    frame = _of(snapshot, RATING_MIGRATION, chosen).filter(pl.col("from_date") == pair[0], pl.col("to_date") == pair[1])
    order = dict(zip(MIGRATION_STATES, range(len(MIGRATION_STATES)), strict=True))
    return (
        frame.group_by("from_state", "to_state")
        .agg(pl.col("loans", "from_balance", "to_balance").sum())
        .sort(pl.col("from_state").replace_strict(order), pl.col("to_state").replace_strict(order))
    )
