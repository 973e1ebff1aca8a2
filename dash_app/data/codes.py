"""Words as small numbers: the dimensions of cube and loan list are kept as codes, so that a filter compares bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import polars as pl

from credit_risk_assets.config.tables import DPD_BUCKETS, RISK_CATEGORIES, RISK_RATINGS, SCORE_BANDS
from credit_risk_assets.tape.contract import LOAN_PURPOSES, LOAN_STATUSES
from dash_app.data.filters import DIMENSIONS, ORIGINATION, UNKNOWN, Filters

CLOSED: Mapping[str, tuple[str, ...]] = {
    "risk_category": RISK_CATEGORIES,
    "loan_purpose": LOAN_PURPOSES,
    "loan_status": LOAN_STATUSES,
    "score_band": SCORE_BANDS,
    "dpd_bucket": DPD_BUCKETS,
    "risk_rating": RISK_RATINGS,
}
"""Columns whose words and their order are known beforehand."""


@dataclass(frozen=True)
class Codes:
    """The words of each coded column; a word's place is its code. A gap is the word 'unknown'."""

    words: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, found: Mapping[str, Iterable[str | None]]) -> Codes:
        """Codes for the words found in each column: those known beforehand first, the rest in alphabetical order."""
        words = {}
        for column, values in found.items():
            known = CLOSED.get(column, ())
            more = sorted({UNKNOWN if value is None else value for value in values} - set(known))
            words[column] = (*known, *more)
        return cls(words)

    def encoded(self, column: str) -> pl.Expr:
        """The column's words as codes."""
        text = pl.col(column).cast(pl.String).fill_null(UNKNOWN)
        codes = text.cast(pl.Enum(self.words[column])).to_physical()
        return codes.cast(pl.UInt8 if len(self.words[column]) <= 256 else pl.UInt32).alias(column)

    def decoded(self, *columns: str) -> list[pl.Expr]:
        """The columns' codes as words."""
        found = []
        for column in columns:
            words = pl.lit(pl.Series(self.words[column], dtype=pl.String))
            found.append(words.gather(pl.col(column).cast(pl.UInt32)).alias(column))
        return found

    def is_in(self, column: str, values: Iterable[str]) -> pl.Expr:
        """Whether the column is one of the words; words that do not occur match nothing."""
        wanted = set(values)
        places = [place for place, word in enumerate(self.words[column]) if word in wanted]
        if not places:
            return pl.lit(value=False)
        # few comparisons of bytes are faster than a look-up in a set
        return pl.any_horizontal([pl.col(column) == place for place in places])

    def segment(self, filters: Filters) -> pl.Expr | None:
        """The filters' predicate over everything but month and status; None where nothing is filtered."""
        parts = [
            self.is_in(dimension.column, filters.values(dimension.key))
            for dimension in DIMENSIONS
            if dimension.key != "status" and filters.values(dimension.key)
        ]
        if filters.since or filters.until:
            quarters = self.words[ORIGINATION]
            kept = [q for q in quarters if (not filters.since or q >= filters.since)]
            kept = [q for q in kept if not filters.until or q <= filters.until]
            places = [quarters.index(q) for q in kept]
            # the words are sorted, so that the quarters kept lie side by side
            parts.append(pl.col(ORIGINATION).is_between(places[0], places[-1]) if places else pl.lit(value=False))
        return pl.all_horizontal(parts) if parts else None

    def status(self, filters: Filters) -> pl.Expr:
        """The filters' predicate over the status: those chosen, else the ones on book."""
        return self.is_in("loan_status", filters.statuses)

    def predicate(self, filters: Filters) -> pl.Expr:
        """The filters' predicate over everything but the month."""
        segment = self.segment(filters)
        return self.status(filters) if segment is None else segment & self.status(filters)
