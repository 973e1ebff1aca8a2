"""How far the loans have moved away from those a model was developed on: PSI of score, features and segments."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import polars as pl

from credit_risk_assets.config.tables import RISK_CATEGORIES, SCORE_BANDS
from credit_risk_assets.modelling.bins import Binned, edge_bins, frequent_words, quantile_edges, word_bins
from credit_risk_assets.modelling.monitor import Drift, drift, drift_of_counts
from credit_risk_assets.modelling.realised import PERIOD, RATING, rating_counts
from credit_risk_assets.tape.contract import LOAN_PURPOSES

REFERENCE_ROWS = 20_000
"""Rows of the reference that the bins' edges are read from; every row is then counted between them."""
FEATURE, SCORE, SEGMENT = "feature", "score", "segment"
SCORE_NAME = "pd_12m"
SEGMENT_BINS: tuple[Binned, ...] = (
    word_bins("loan_purpose", LOAN_PURPOSES, others=True),
    word_bins("score_band", SCORE_BANDS, others=True),
    word_bins("risk_category", RISK_CATEGORIES, others=True),
)


def reference_bins(reference: pl.DataFrame, columns: Sequence[str], words: Collection[str]) -> list[Binned]:
    """Bins of each column from a sample of the reference: of about equal count for a number, a word each for words."""
    found = []
    for name in columns:
        if name in words:
            found.append(word_bins(name, frequent_words(reference[name].cast(pl.String).to_list()), others=True))
            continue
        edges = quantile_edges(reference[name].cast(pl.Float64).to_numpy())
        found.append(edge_bins(name, edges.tolist()) if len(edges) else Binned(name, (f"{name} is not null",)))
    return found


def segment_bins(bins: Sequence[Binned]) -> list[Binned]:
    """Bins of the segments; one that is a feature too is counted as such."""
    known = {binned.column: binned for binned in bins}
    return [known.get(binned.column, binned) for binned in SEGMENT_BINS]


def bin_figures(bins: Sequence[Binned]) -> dict[str, str]:
    """The aggregates that count every bin and every gap of the columns, in one pass over a table."""
    return {name: sql for binned in bins for name, sql in {**binned.figures, **binned.filled}.items()}


def bin_counts(counts: Mapping[str, Any], binned: Binned) -> list[int]:
    """Rows in each bin of a column, the gaps last, from the aggregates of `bin_figures` and `rows`."""
    filled = [int(counts[name]) for name in binned.figures]
    return [*filled, int(counts["rows"]) - sum(int(counts[name]) for name in binned.filled)]


def _summed(counts: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    return {name: sum(int(one[name]) for one in counts) for name in counts[0] if name != PERIOD}


def drift_rows(
    counts: Mapping[dt.date, Mapping[str, Any]],
    bins: Sequence[Binned],
    segments: Sequence[Binned],
    rated: pl.DataFrame,
    reference_dates: Sequence[dt.date],
    limit: float,
) -> list[dict[str, Any]]:
    """One row per column and period after the reference: how far it has moved, and what chance alone would show.

    `counts` holds the aggregates of `bin_figures` of both kinds of bins by date, `rated` the same loans as
    `realised.with_ratings` gives them. A column has `drifted` where its PSI passes `limit` and the critical value.
    """
    before = [counts[date] for date in reference_dates if date in counts]
    later = sorted(date for date in counts if date > max(reference_dates))
    if not before:
        return []
    then = _summed(before)
    old = rated.filter(pl.col(PERIOD).is_in(list(reference_dates)))
    rows = []
    for date in later:
        new = rated.filter(pl.col(PERIOD) == date)
        found: list[tuple[str, str, Drift, float, float]] = [
            (SCORE, SCORE_NAME, drift(old["pd"].to_numpy(), new["pd"].to_numpy()), 0.0, 0.0),
            (SEGMENT, RATING, drift_of_counts(rating_counts(old[RATING]), rating_counts(new[RATING])), 0.0, 0.0),
        ]
        for kind, group in ((FEATURE, bins), (SEGMENT, segments)):
            for binned in group:
                first, second = bin_counts(then, binned), bin_counts(counts[date], binned)
                gaps = (first[-1] / sum(first), second[-1] / sum(second))
                found.append((kind, binned.column, drift_of_counts(first, second), *gaps))
        rows += [
            {
                "period": date,
                "kind": kind,
                "feature": name,
                "reference_rows": then["rows"],
                "rows": int(counts[date]["rows"]),
                "psi": moved.psi,
                "expected": moved.expected,
                "critical": moved.critical,
                "bins": moved.bins,
                "gaps_then": gaps_then,
                "gaps_now": gaps_now,
                "drifted": moved.psi > max(limit, moved.critical),
            }
            for kind, name, moved, gaps_then, gaps_now in found
        ]
    return rows
