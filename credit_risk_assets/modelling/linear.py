"""The linear part of the model: a ridge logistic regression beside the trees.

Trees need many defaults to find a plain slope; a line finds it in a few dozen. How much each of the two counts is
learnt on the calibration rows (see `calibrate`): with few defaults mostly the line, with many mostly the trees.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
TAIL = 0.01
"""Values beyond these quantiles are drawn in, so that a sentinel such as 9999 does not bend the line."""
RIDGE = 0.02
MISSING_SHARE = 0.005
"""A column with more gaps than this has a coefficient for being missing."""
FITTED_ROWS = 200_000
STATISTICS_ROWS = 200_000
BLOCK_ROWS = 8_192


@dataclass(frozen=True)
class Scale:
    """How a column is made ready for a line: gaps to the median, tails drawn in, mean 0 and spread 1."""

    median: Floats
    low: Floats
    high: Floats
    mean: Floats
    spread: Floats
    gap_mean: Floats
    gaps_counted: NDArray[np.bool_]

    def ready(self, matrix: NDArray[np.float32]) -> tuple[Floats, Floats]:
        """Scaled values (rows x columns) and centred gaps (rows x columns that count them)."""
        gaps = np.isnan(matrix)
        values = np.clip(np.where(gaps, self.median, matrix), self.low, self.high)
        counted = self.gaps_counted
        return (values - self.mean) / self.spread, gaps[:, counted] - self.gap_mean[counted]


@dataclass(frozen=True)
class LinearPart:
    """A line over scaled columns and their gaps."""

    scale: Scale
    slopes: Floats
    gap_slopes: Floats
    intercept: float

    def margin(self, matrix: NDArray[np.float32]) -> Floats:
        """Log-odds of each row; in blocks, whose double-precision copies stay in the processor's cache."""
        if len(matrix) > BLOCK_ROWS:
            return np.concatenate([self.margin(matrix[i : i + BLOCK_ROWS]) for i in range(0, len(matrix), BLOCK_ROWS)])
        values, gaps = self.scale.ready(matrix)
        found = np.full(len(matrix), self.intercept)
        # column by column: a matrix product rounds differently with the number of rows, and a loan must have the
        # same probability alone and in any batch
        for place, slope in enumerate(self.slopes):
            found += values[:, place] * slope
        for place, slope in enumerate(self.gap_slopes):
            found += gaps[:, place] * slope
        return found

    def contributions(self, matrix: NDArray[np.float32]) -> Floats:
        """What each column adds to each row's log-odds, against the average row."""
        values, gaps = self.scale.ready(matrix)
        found: Floats = values * self.slopes
        found[:, self.scale.gaps_counted] += gaps * self.gap_slopes
        return found


def fit_scale(matrix: NDArray[np.float32], seed: int) -> Scale:
    """Medians, tails, means and spreads of the columns; outcomes play no part."""
    if len(matrix) > STATISTICS_ROWS:
        matrix = matrix[np.random.default_rng(seed).choice(len(matrix), STATISTICS_ROWS, replace=False)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a column of gaps has no median
        low, median, high = np.nanquantile(matrix.astype(float), (TAIL, 0.5, 1 - TAIL), axis=0)
    empty = np.isnan(median)
    low, median, high = (np.where(empty, 0.0, bound) for bound in (low, median, high))
    gaps = np.isnan(matrix)
    values = np.clip(np.where(gaps, median, matrix), low, high)
    spread = values.std(axis=0)
    return Scale(
        median=median,
        low=low,
        high=high,
        mean=values.mean(axis=0),
        spread=np.where(spread > 1e-12, spread, 1.0),
        gap_mean=gaps.mean(axis=0),
        gaps_counted=(gaps.mean(axis=0) > MISSING_SHARE) & ~empty,
    )


def fit_linear(
    scale: Scale,
    matrix: NDArray[np.float32],
    label: NDArray[np.int64],
    seed: int,
    directions: tuple[int, ...] | None = None,
    rows: NDArray[np.intp] | None = None,
) -> LinearPart:
    """Fit the line on the rows named, by default all.

    Where `directions` asks for a sign, a slope of the other sign is set to 0 and the rest refitted.
    """
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    chosen = np.arange(len(label)) if rows is None else rows
    if len(chosen) > FITTED_ROWS:
        chosen = chosen[np.random.default_rng(seed).choice(len(chosen), FITTED_ROWS, replace=False)]
    matrix, label = matrix[chosen], label[chosen]
    values, gaps = scale.ready(matrix)
    wanted = np.array(directions if directions is not None else np.zeros(values.shape[1]), dtype=int)
    allowed = np.ones(values.shape[1], dtype=bool)
    while True:
        ready = np.hstack((values * allowed, gaps))
        # BLAS threads that wait for each other cost more than they save on so few columns
        with threadpool_limits(limits=1, user_api="blas"):
            line = LogisticRegression(C=RIDGE, solver="newton-cholesky", max_iter=50).fit(ready, label)
        slopes = line.coef_[0, : values.shape[1]] * allowed
        against = slopes * wanted < 0
        if not against.any():
            return LinearPart(scale, slopes, line.coef_[0, values.shape[1] :], float(line.intercept_[0]))
        allowed &= ~against


def mean_of(parts: list[LinearPart]) -> LinearPart:
    """The line whose margin is the mean of the lines' margins; they share one scale."""
    return LinearPart(
        scale=parts[0].scale,
        slopes=np.mean([part.slopes for part in parts], axis=0),
        gap_slopes=np.mean([part.gap_slopes for part in parts], axis=0),
        intercept=float(np.mean([part.intercept for part in parts])),
    )
