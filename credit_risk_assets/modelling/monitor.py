"""Drift of scores and features between two samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from credit_risk_assets.modelling.bins import BINS, counts_between, quantile_edges
from credit_risk_assets.modelling.errors import ModelDataError

_HALF = 0.5


@dataclass(frozen=True)
class Drift:
    """Population stability of one variable between a reference and a recent sample.

    `expected` is the mean PSI where nothing has drifted and `critical` what it passes in 5 % of such cases; both
    depend on the sample sizes, unlike the customary 0.10 and 0.25.
    """

    psi: float
    expected: float
    critical: float
    bins: int

    @property
    def drifted(self) -> bool:
        """Whether chance alone would hardly show this much."""
        return self.psi > self.critical


def stability_index(reference: Sequence[float], recent: Sequence[float]) -> float:
    """PSI = sum (a - b) ln(a / b) over the shares a and b of the same bins.

    An empty bin counts half a row, so that the index stays finite.
    """
    first, second = np.asarray(reference, dtype=float), np.asarray(recent, dtype=float)
    if len(first) != len(second) or first.sum() <= 0 or second.sum() <= 0:
        raise ModelDataError(f"PSI: {len(first)} and {len(second)} bins; both samples need rows in the same bins")
    first, second = np.maximum(first, _HALF), np.maximum(second, _HALF)
    a, b = first / first.sum(), second / second.sum()
    return float(np.sum((a - b) * np.log(a / b)))


def critical_value(bins: int, first_rows: int, second_rows: int, level: float = 0.95) -> tuple[float, float]:
    """Mean of the PSI without drift, (B - 1)(1/N + 1/M), and its quantile at `level` (chi-square, B - 1 degrees)."""
    scale = 1 / first_rows + 1 / second_rows
    return (bins - 1) * scale, float(chi2.ppf(level, bins - 1)) * scale


def edges_of(reference: NDArray[np.floating], bins: int = BINS) -> NDArray[np.float64]:
    """The rising values that part the reference into bins `(a b]` of about equal count (see `quantile_edges`)."""
    edges = quantile_edges(reference, bins)
    if not len(edges):
        raise ModelDataError("PSI: a sample holds no values")
    return edges


def drift(reference: NDArray[np.floating], recent: NDArray[np.floating], bins: int = BINS) -> Drift:
    """PSI of a number over equal-count bins of the reference; gaps are a bin of their own."""
    edges = edges_of(reference, bins)
    return drift_of_counts(counts_between(reference, edges), counts_between(recent, edges))


def drift_of_groups(reference: NDArray[np.object_], recent: NDArray[np.object_]) -> Drift:
    """PSI (a feature's: CSI) of a word over its values in either sample; a gap is a value of its own, such as None."""
    both = np.concatenate((reference, recent)).astype(str)
    names, places = np.unique(both, return_inverse=True)
    first = np.bincount(places[: len(reference)], minlength=len(names))
    return drift_of_counts(first, np.bincount(places[len(reference) :], minlength=len(names)))


def drift_of_counts(reference: Sequence[int] | NDArray[np.int64], recent: Sequence[int] | NDArray[np.int64]) -> Drift:
    """PSI between two samples counted in the same bins; bins that both leave empty do not count."""
    first, second = np.asarray(reference), np.asarray(recent)
    rows, recent_rows = int(first.sum()), int(second.sum())
    if not rows or not recent_rows:
        raise ModelDataError("PSI: a sample holds no values")
    used = (first + second) > 0
    bins = int(used.sum())
    expected, critical = critical_value(max(bins, 2), rows, recent_rows)
    return Drift(stability_index(first[used].tolist(), second[used].tolist()), expected, critical, bins)
