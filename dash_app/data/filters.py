"""One filter state for every page, read from the URL; `codes.Codes` applies it to the cube and to the loans alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qs, urlencode

import polars as pl

from credit_risk_assets.config.tables import DPD_BUCKETS, RISK_CATEGORIES, RISK_RATINGS, SCORE_BANDS
from credit_risk_assets.tape.contract import LOAN_PURPOSES, LOAN_STATUSES, ON_BOOK_STATUSES

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Dimension:
    """One thing a view can be filtered by: its key in the URL, its column and the values it may take.

    Empty `values` means that they are whatever the data holds.
    """

    key: str
    column: str
    label: str
    values: tuple[str, ...] = ()


DIMENSIONS: tuple[Dimension, ...] = (
    Dimension("risk", "risk_category", "Risk category", RISK_CATEGORIES),
    Dimension("rating", "risk_rating", "Model rating", RISK_RATINGS),
    Dimension("purpose", "loan_purpose", "Purpose", LOAN_PURPOSES),
    Dimension("status", "loan_status", "Status", LOAN_STATUSES),
    Dimension("score", "score_band", "Score band", SCORE_BANDS),
    Dimension("dpd", "dpd_bucket", "Days past due", DPD_BUCKETS),
    Dimension("region", "region", "Region"),
)
BY_KEY: Mapping[str, Dimension] = {dimension.key: dimension for dimension in DIMENSIONS}
ORIGINATION = "origination_quarter"


@dataclass(frozen=True)
class Filters:
    """Which loans a view shows.

    `as_of` is a month 'YYYY-MM' ('' is the newest) and `as_of_from` the month from which on earlier tapes are
    shown beside it ('' is the oldest); `chosen` holds the values per dimension (none: all; for the status none
    means on book), `since` and `until` bound the origination quarter. All bounds are inclusive.
    """

    as_of: str = ""
    chosen: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    since: str = ""
    until: str = ""
    as_of_from: str = ""

    @classmethod
    def from_query(cls, query: str) -> Filters:
        """Read a URL's query; what is no filter, or no value of one, is left out."""
        values = parse_qs(query.lstrip("?"), keep_blank_values=False)
        chosen: dict[str, tuple[str, ...]] = {}
        for dimension in DIMENSIONS:
            given = dict.fromkeys(values.get(dimension.key, ()))
            kept = tuple(value for value in given if not dimension.values or value in dimension.values)
            if kept:
                chosen[dimension.key] = kept
        bounds = [_one(values, name) for name in ("from", "to", "as_of_from")]
        return cls(_one(values, "as_of"), chosen, *bounds)

    def to_query(self) -> str:
        """The URL query that brings this view back, without the question mark; '' for the default view."""
        pairs = [(name, value) for name, value in (("as_of", self.as_of), ("as_of_from", self.as_of_from)) if value]
        pairs += [(d.key, value) for d in DIMENSIONS for value in self.values(d.key)]
        pairs += [(name, value) for name, value in (("from", self.since), ("to", self.until)) if value]
        return urlencode(pairs)

    def values(self, key: str) -> tuple[str, ...]:
        """The values chosen for a dimension; () means that it is not filtered."""
        return tuple(self.chosen.get(key, ()))

    @property
    def statuses(self) -> tuple[str, ...]:
        """The statuses that count: those chosen, else the ones on book."""
        return self.values("status") or ON_BOOK_STATUSES

    @property
    def is_default(self) -> bool:
        """Whether nothing is filtered but the as-of month."""
        return not self.chosen and not self.since and not self.until

    def with_values(self, key: str, values: Iterable[str]) -> Filters:
        """The same view with other values of one dimension."""
        return replace(self, chosen={**self.chosen, key: tuple(values)})

    def partitions(self) -> pl.Expr | None:
        """The part of the view that lets silver/loans skip whole files; None where there is none."""
        parts = [
            pl.col(BY_KEY[key].column).is_in(list(self.values(key))) for key in ("risk", "purpose") if self.values(key)
        ]
        return pl.all_horizontal(parts) if parts else None


def _one(values: Mapping[str, list[str]], name: str) -> str:
    text = values.get(name, [""])[0]
    return text if len(text) <= 10 and all(part.isalnum() for part in text.split("-")) and text else ""
