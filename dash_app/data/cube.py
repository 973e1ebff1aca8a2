"""The portfolio cube in memory: every card and chart of the portfolio page is a sum over it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date

import polars as pl

from credit_risk_assets.config.tables import DPD_BUCKETS, PORTFOLIO_CUBE
from dash_app.data.codes import Codes
from dash_app.data.filters import ORIGINATION, UNKNOWN, Filters
from dash_app.data.lake import Snapshot
from dash_app.data.rated import FLOW, KEYS, STOCK, rated_segments


@dataclass(frozen=True)
class Tape:
    """One month of the cube."""

    month: str
    as_of: date


@dataclass(frozen=True)
class Cube:
    """The cube of one table version, its tapes in order of time.

    `frame` holds codes (see `codes`) and `tape`, the place of the tape. The model's ratings are no part of it:
    they describe the newest tape only, and are summed over the loans when they are asked for.
    """

    frame: pl.DataFrame
    codes: Codes
    tapes: tuple[Tape, ...]
    snapshot: Snapshot

    @property
    def regions(self) -> tuple[str, ...]:
        """The regions that occur, in alphabetical order."""
        return self.codes.words["region"]

    @property
    def quarters(self) -> tuple[str, ...]:
        """The origination quarters that occur, in order of time."""
        return tuple(quarter for quarter in self.codes.words[ORIGINATION] if quarter != UNKNOWN)

    def tape(self, month: str) -> Tape:
        """The tape of a month; the newest where the month is '' or not in the cube."""
        return next((tape for tape in self.tapes if tape.month == month), self.tapes[-1])

    def before(self, tape: Tape) -> Tape | None:
        """The tape that came before."""
        place = self.tapes.index(tape)
        return self.tapes[place - 1] if place else None

    def shown(self, filters: Filters) -> tuple[Tape, ...]:
        """The tapes of the view, in order of time: from its first month to its last, which is always one of them.

        A rating describes the newest tape only, so that a view of ratings has no other.
        """
        last = self.tape(filters.as_of)
        if filters.values("rating"):
            return (last,)
        return tuple(t for t in self.tapes if t == last or filters.as_of_from <= t.month <= last.month)

    def _source(self, filters: Filters) -> tuple[pl.DataFrame, Codes]:
        if not filters.values("rating"):
            return self.frame, self.codes
        rated = rated_segments(self.snapshot)
        if rated is None:  # without scores no loan has a rating
            return self.frame, Codes({**self.codes.words, "risk_rating": ()})
        newest = pl.lit(len(self.tapes) - 1, pl.UInt32).alias("tape")
        return rated.frame.with_columns(newest), rated.codes

    def series(self, filters: Filters) -> pl.DataFrame:
        """Sums per tape up to the chosen month, in order of time, for all tapes before it too.

        The stock measures cover the statuses chosen (on book by default); the flow measures of the observed
        default rate cover every status, because the status of today is the outcome that they count.
        """
        frame, codes = self._source(filters)
        last = self.tapes.index(self.tape(filters.as_of))
        segment = codes.segment(filters)
        window = frame.lazy().filter(pl.col("tape") <= last)
        if segment is not None:
            window = window.filter(segment)
        wanted = codes.status(filters)
        sums = window.group_by("tape").agg(
            *[pl.col(name).filter(wanted).sum() for name in STOCK],
            *[pl.col(name).sum() for name in FLOW],
            loans_30=pl.col("loans").filter(wanted & codes.is_in("dpd_bucket", DPD_BUCKETS[2:])).sum(),
            loans_90=pl.col("loans").filter(wanted & codes.is_in("dpd_bucket", DPD_BUCKETS[4:])).sum(),
        )
        tapes = pl.LazyFrame(
            {"tape": list(range(last + 1)), "as_of_date": [t.as_of for t in self.tapes[: last + 1]]},
            schema={"tape": pl.UInt32, "as_of_date": pl.Date},
        )
        joined = tapes.join(sums, on="tape", how="left").sort("tape")
        return joined.with_columns(pl.col(*STOCK, *FLOW, "loans_30", "loans_90").fill_null(0)).collect()

    def by(self, filters: Filters, *columns: str, all_tapes: bool = False) -> pl.DataFrame:
        """Stock sums per value of the columns at the chosen month, or (`as_of_month`) at every tape of the view."""
        frame, codes = self._source(filters)
        last = self.tapes.index(self.tape(filters.as_of))
        first = self.tapes.index(self.shown(filters)[0]) if all_tapes else last
        keys = [*columns, "tape"] if all_tapes else list(columns)
        sums = (
            frame.lazy()
            .filter(pl.col("tape").is_between(first, last), codes.predicate(filters))
            .group_by(keys)
            .agg(pl.col(*STOCK).sum())
            .with_columns(codes.decoded(*columns))
            .collect()
        )
        if not all_tapes:
            return sums
        months = pl.Series([t.month for t in self.tapes], dtype=pl.String)
        return sums.with_columns(as_of_month=months.gather(sums["tape"])).drop("tape")


def read_cube(snapshot: Snapshot) -> Cube:
    """The cube at the snapshot's version, kept in memory while that version stands.

    Null segments become 'unknown'. Raises `LakeError` where the table cannot be read.
    """

    def load() -> Cube:
        frame = snapshot.collect(PORTFOLIO_CUBE, snapshot.scan(PORTFOLIO_CUBE))
        codes = Codes.of({key: frame[key].cast(pl.String).unique() for key in KEYS})
        months = frame.group_by("as_of_month").agg(pl.col("as_of_date").max()).sort("as_of_month")
        tapes = tuple(Tape(month, as_of) for month, as_of in months.iter_rows())
        place = pl.col("as_of_month").cast(pl.Enum([t.month for t in tapes])).to_physical().cast(pl.UInt32)
        coded = frame.select(
            place.alias("tape"), *[codes.encoded(key) for key in KEYS], *[pl.col(name) for name in (*STOCK, *FLOW)]
        )
        return Cube(coded, codes, tapes, snapshot)

    known = snapshot.cached("cube", load, PORTFOLIO_CUBE)
    return replace(known, snapshot=snapshot)
