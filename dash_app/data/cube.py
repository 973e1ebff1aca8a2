"""The portfolio cube in memory: every card and chart of the portfolio page is a sum over it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import polars as pl

from credit_risk_assets.config.tables import (
    DPD_BUCKETS,
    PORTFOLIO_CUBE,
    RISK_CATEGORIES,
    SCORE_BANDS,
)
from credit_risk_assets.tape.contract import LOAN_PURPOSES, LOAN_STATUSES
from dash_app.data.filters import ORIGINATION, UNKNOWN, Filters
from dash_app.data.lake import Snapshot

KEYS = ("risk_category", "loan_purpose", "loan_status", "score_band", "dpd_bucket", ORIGINATION, "region")
STOCK = (
    "loans",
    "balance",
    "loan_amount",
    "dpd_days",
    "expected_loss",
    "interest_balance",
    "high_risk_loans",
    "default_balance",
)
FLOW = ("observed_start_loans", "observed_defaults")
ORDER = {
    "risk_category": RISK_CATEGORIES,
    "loan_purpose": LOAN_PURPOSES,
    "loan_status": LOAN_STATUSES,
    "score_band": SCORE_BANDS,
    "dpd_bucket": DPD_BUCKETS,
}


@dataclass(frozen=True)
class Tape:
    """One month of the cube."""

    month: str
    as_of: date


@dataclass(frozen=True)
class Cube:
    """The cube of one table version, its tapes in order of time."""

    frame: pl.DataFrame
    tapes: tuple[Tape, ...]

    @property
    def regions(self) -> tuple[str, ...]:
        """The regions that occur, in alphabetical order."""
        return tuple(sorted(self.frame["region"].cast(pl.String).unique()))

    @property
    def quarters(self) -> tuple[str, ...]:
        """The origination quarters that occur, in order of time."""
        return tuple(sorted(q for q in self.frame[ORIGINATION].cast(pl.String).unique() if q != UNKNOWN))

    def tape(self, month: str) -> Tape:
        """The tape of a month; the newest where the month is '' or not in the cube."""
        return next((tape for tape in self.tapes if tape.month == month), self.tapes[-1])

    def before(self, tape: Tape) -> Tape | None:
        """The tape that came before."""
        place = self.tapes.index(tape)
        return self.tapes[place - 1] if place else None

    def series(self, filters: Filters) -> pl.DataFrame:
        """Sums per tape up to the chosen month, in order of time.

        The stock measures cover the statuses chosen (on book by default); the flow measures of the observed
        default rate cover every status, because the status of today is the outcome that they count.
        """
        last = self.tape(filters.as_of).month
        window = self.frame.lazy().filter(pl.col("as_of_month") <= last, filters.segment())
        wanted = pl.col("loan_status").cast(pl.String).is_in(list(filters.statuses))
        late = pl.col("dpd_bucket").cast(pl.String)
        sums = window.group_by("as_of_month").agg(
            *[pl.col(name).filter(wanted).sum() for name in STOCK],
            *[pl.col(name).sum() for name in FLOW],
            loans_30=pl.col("loans").filter(wanted & late.is_in(DPD_BUCKETS[2:])).sum(),
            loans_90=pl.col("loans").filter(wanted & late.is_in(DPD_BUCKETS[4:])).sum(),
        )
        tapes = pl.LazyFrame(
            {"as_of_month": [t.month for t in self.tapes], "as_of_date": [t.as_of for t in self.tapes]},
            schema={"as_of_month": pl.String, "as_of_date": pl.Date},
        ).filter(pl.col("as_of_month") <= last)
        joined = tapes.join(sums, on="as_of_month", how="left").sort("as_of_month")
        return joined.with_columns(pl.col(*STOCK, *FLOW, "loans_30", "loans_90").fill_null(0)).collect()

    def by(self, filters: Filters, *columns: str, all_tapes: bool = False) -> pl.DataFrame:
        """Stock sums per value of the columns at the chosen month, or at every tape up to it."""
        last = self.tape(filters.as_of).month
        when = pl.col("as_of_month") <= last if all_tapes else pl.col("as_of_month") == last
        keys = [*columns, "as_of_month"] if all_tapes else list(columns)
        return (
            self.frame.lazy()
            .filter(when, filters.predicate())
            .group_by(keys)
            .agg(pl.col(*STOCK).sum())
            .with_columns(pl.col(*columns).cast(pl.String))
            .collect()
        )


def read_cube(snapshot: Snapshot) -> Cube:
    """The cube at the snapshot's version, kept in memory while that version stands.

    Null segments become 'unknown'. Raises `LakeError` where the table cannot be read.
    """

    def load() -> Cube:
        frame = snapshot.frame(PORTFOLIO_CUBE)
        frame = frame.with_columns(
            [pl.col(key).cast(pl.String).fill_null(UNKNOWN).cast(pl.Categorical) for key in KEYS]
        )
        tapes = frame.group_by("as_of_month").agg(pl.col("as_of_date").max()).sort("as_of_month")
        return Cube(frame, tuple(Tape(month, as_of) for month, as_of in tapes.iter_rows()))

    return snapshot.cached("cube", load, PORTFOLIO_CUBE)
