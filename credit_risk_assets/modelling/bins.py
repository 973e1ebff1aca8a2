"""Bins of a column as Spark SQL conditions: counted in one pass over a table, whichever engine counts."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 10
_BESIDE = 1e-9
"""How far, in parts of the value, the edge beside a value of its own bin lies."""
WORDS = 20
"""Categories with a bin of their own, the most frequent ones; all others share one."""


def count_where(condition: str) -> str:
    """Spark SQL that counts the rows a condition holds for; a null condition counts none."""
    return f"count(case when {condition} then 1 end)"


@dataclass(frozen=True)
class Binned:
    """A column in bins, each a Spark SQL condition; a gap falls in none of them."""

    column: str
    conditions: tuple[str, ...]

    @property
    def figures(self) -> dict[str, str]:
        """The aggregates that count each bin, in the order of the conditions."""
        return {
            f"bin_{self.column}_{number}": count_where(condition) for number, condition in enumerate(self.conditions)
        }

    @property
    def filled(self) -> dict[str, str]:
        """The aggregate that counts the rows that hold a value."""
        return {f"filled_{self.column}": f"count({self.column})"}


def edge_bins(column: str, edges: Sequence[float]) -> Binned:
    """Bins `(... a], (a b], ... (z ...)`; the edges rise."""
    texts = [f"{float(edge)!r}D" for edge in edges]
    first, last = f"{column} <= {texts[0]}", f"{column} > {texts[-1]}"
    between = [f"{column} > {a} and {column} <= {b}" for a, b in itertools.pairwise(texts)]
    return Binned(column, (first, *between, last))


def word_bins(column: str, words: Sequence[str], *, others: bool = False) -> Binned:
    """A bin for each word and, with `others`, one for all that are none of them."""
    texts = ["'" + word.replace("\\", "\\\\").replace("'", "\\'") + "'" for word in words]
    conditions = [f"{column} = {text}" for text in texts]
    if others:
        conditions.append(f"{column} not in ({', '.join(texts)})" if texts else f"{column} is not null")
    return Binned(column, tuple(conditions))


def quantile_edges(values: NDArray[np.floating], bins: int = BINS) -> NDArray[np.float64]:
    """Rising edges of about equal-count bins `(a b]` of the values, most edges being values themselves.

    A value that holds a bin's share or more by itself has a bin of its own, so that a move to either side is seen.
    Empty where no value is known.
    """
    known, counts = np.unique(values[~np.isnan(values)].astype(float), return_counts=True)
    if not len(known):
        return np.empty(0)
    reached = np.cumsum(counts)
    places = np.searchsorted(reached, np.arange(1, bins) / bins * reached[-1], side="left")
    heavy = known[counts >= reached[-1] / bins]
    below = heavy - np.maximum(np.abs(heavy), 1.0) * _BESIDE
    return np.unique(np.concatenate((known[places], heavy, below)))


def counts_between(values: NDArray[np.floating], edges: NDArray[np.floating]) -> NDArray[np.int64]:
    """Rows in each bin `(a b]` of the edges, the open ones too, and last the gaps."""
    places = np.searchsorted(edges, values, side="left")
    places[np.isnan(values)] = len(edges) + 1
    return np.bincount(places, minlength=len(edges) + 2).astype(np.int64)


def frequent_words(words: Iterable[str | None], limit: int = WORDS) -> list[str]:
    """The most frequent words, gaps aside, in order of the alphabet."""
    counts: dict[str, int] = {}
    for word in words:
        if word is not None:
            counts[word] = counts.get(word, 0) + 1
    return sorted(sorted(counts, key=lambda word: (-counts[word], word))[:limit])
