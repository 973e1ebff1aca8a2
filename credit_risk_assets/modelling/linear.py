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
"""Values beyond these quantiles are drawn in, so that a few wild ones do not bend the line."""
SENTINEL_SHARE = 0.005
SENTINEL_DISTANCE = 4.0
"""Codes for a gap, such as -999 or 9999, are repeated by this share of the rows at least, lie so many interquartile
ranges off the middle half, and look like a code (see `_is_code`)."""
SENTINELS = 3
"""How many codes a column may have on either side."""
RIDGE = 0.1
MISSING_SHARE = 0.005
"""A column with more gaps than this has a coefficient for being missing."""
FITTED_ROWS = 100_000
"""Rows, chosen by chance, that the line is fitted on at most: its few slopes are known to a third digit from these."""
STATISTICS_ROWS = 100_000
"""Rows, chosen by chance, that medians, tails, means and spreads are taken from at most."""
BLOCK_ROWS = 8_192


@dataclass(frozen=True)
class Scale:
    """How a column is made ready for a line: gaps to the median, tails drawn in, mean 0 and spread 1.

    `sentinels` are the (column, value) pairs that stand for a gap.
    """

    median: Floats
    low: Floats
    high: Floats
    mean: Floats
    spread: Floats
    gap_mean: Floats
    gaps_counted: NDArray[np.bool_]
    sentinels: tuple[tuple[int, float], ...] = ()

    def ready(self, matrix: NDArray[np.float32]) -> tuple[Floats, Floats]:
        """Scaled values (rows x columns) and centred gaps (rows x columns that count them)."""
        gaps = _gaps(matrix, self.sentinels)
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
    sentinels = _sentinels(matrix)
    gaps = _gaps(matrix, sentinels)
    if sentinels:
        matrix = np.where(gaps, np.float32("nan"), matrix)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a column of gaps has no median
        low, median, high = np.nanquantile(matrix.astype(float), (TAIL, 0.5, 1 - TAIL), axis=0)
    empty = np.isnan(median)
    low, median, high = (np.where(empty, 0.0, bound) for bound in (low, median, high))
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
        sentinels=sentinels,
    )


def _gaps(matrix: NDArray[np.float32], sentinels: tuple[tuple[int, float], ...]) -> NDArray[np.bool_]:
    gaps = np.isnan(matrix)
    for place, value in sentinels:
        gaps[:, place] |= matrix[:, place] == np.float32(value)
    return gaps


def _sentinels(matrix: NDArray[np.float32]) -> tuple[tuple[int, float], ...]:
    found = []
    for place in range(matrix.shape[1]):
        known = np.sort(matrix[~np.isnan(matrix[:, place]), place].astype(float))
        for _ in range(2 * SENTINELS):
            value = _sentinel(known)
            if value is None:
                break
            found.append((place, value))
            known = known[known != value]
    return tuple(found)


def _sentinel(known: Floats) -> float | None:
    """The lowest or the highest of the rising values where it stands for a gap."""
    if not len(known) or known[0] == known[-1]:
        return None
    low, high = known[len(known) // 4], known[3 * len(known) // 4]
    enough = max(2.0, SENTINEL_SHARE * len(known))
    lowest, highest = float(known[0]), float(known[-1])
    repeated = np.searchsorted(known, lowest, "right")
    if repeated >= enough and _is_code(lowest):
        far = high > low and low - lowest > SENTINEL_DISTANCE * (high - low)
        # a whole number below nought among none but others above it
        if far or (lowest < 0 <= known[repeated]):
            return lowest
    repeated = len(known) - np.searchsorted(known, highest, "left")
    far = high > low and highest - high > SENTINEL_DISTANCE * (high - low)
    return highest if repeated >= enough and far and _is_code(highest) else None


def _is_code(value: float) -> bool:
    """Whether a number looks made up: -1, or 7s, 8s or 9s alone, such as -999, 88 or 99999999."""
    if value == -1:
        return True
    if value != round(value) or abs(value) >= 1e15:
        return False
    # float32 holds no more than seven digits: 99,999,999 arrives as 100,000,000
    digits = {str(abs(round(value))), str(abs(round(value)) - 1)} if abs(value) > 2**24 else {str(abs(round(value)))}
    return any(len(text) > 1 - (value < 0) and text[0] in "789" and len(set(text)) == 1 for text in digits)


def fit_linear(
    scale: Scale,
    matrix: NDArray[np.float32],
    label: NDArray[np.int64],
    seed: int,
    directions: tuple[int, ...] | None = None,
    rows: NDArray[np.intp] | None = None,
    near: LinearPart | None = None,
) -> LinearPart:
    """Fit the line on the rows named, by default all.

    Where `directions` asks for a sign, a slope of the other sign is set to 0 and the rest refitted. `near` is a line
    that the result will resemble, from which the search begins.
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
    slopes, gap_slopes, intercept = np.zeros(values.shape[1]), np.zeros(gaps.shape[1]), 0.0
    if near is not None:
        slopes, gap_slopes, intercept = near.slopes, near.gap_slopes, near.intercept
    line = LogisticRegression(C=RIDGE, solver="newton-cholesky", max_iter=50, warm_start=True)
    # BLAS threads that wait for each other cost more than they save on so few columns
    with threadpool_limits(limits=1, user_api="blas"):
        while True:
            # the search begins where the last one ended
            line.coef_ = np.concatenate((slopes[allowed], gap_slopes))[np.newaxis]
            line.intercept_ = np.array([intercept])
            line.fit(np.hstack((values[:, allowed], gaps)), label)
            used = int(allowed.sum())
            slopes = np.zeros(values.shape[1])
            slopes[allowed] = line.coef_[0, :used]
            gap_slopes, intercept = line.coef_[0, used:], float(line.intercept_[0])
            against = slopes * wanted < 0
            if not against.any():
                return LinearPart(scale, slopes, gap_slopes, intercept)
            allowed &= ~against


def mean_of(parts: list[LinearPart]) -> LinearPart:
    """The line whose margin is the mean of the lines' margins; they share one scale."""
    return LinearPart(
        scale=parts[0].scale,
        slopes=np.mean([part.slopes for part in parts], axis=0),
        gap_slopes=np.mean([part.gap_slopes for part in parts], axis=0),
        intercept=float(np.mean([part.intercept for part in parts])),
    )
