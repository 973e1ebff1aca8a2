"""Intervals of rates and of the ratio of two rates, at 95 %."""

from __future__ import annotations

import math

from scipy import stats

LEVEL = 0.95
_TAIL = (1 - LEVEL) / 2
_Z = float(stats.norm.ppf(1 - _TAIL))


def jeffreys_interval(hits: int, rows: int) -> tuple[float, float]:
    """Jeffreys interval of a rate, Beta(d + 1/2, n - d + 1/2) (Brown, Cai and DasGupta 2001); ends at 0 and 1."""
    low, high = stats.beta.ppf((_TAIL, 1 - _TAIL), hits + 0.5, rows - hits + 0.5)
    return (0.0 if hits == 0 else float(low)), (1.0 if hits == rows else float(high))


def ratio_interval(hits: int, rows: int, other_hits: int, other_rows: int) -> tuple[float, float] | None:
    """Interval of one rate over another by Katz's logarithms (1978); None where a rate is 0."""
    if not hits or not other_hits:
        return None
    first, second = hits / rows, other_hits / other_rows
    reach = _Z * math.sqrt((1 - first) / hits + (1 - second) / other_hits)
    ratio = first / second
    return ratio * math.exp(-reach), ratio * math.exp(reach)


def difference_interval(hits: int, rows: int, other_hits: int, other_rows: int) -> tuple[float, float]:
    """Interval of one rate minus another by Newcombe's hybrid score method (1998), from Wilson's intervals."""
    first, second = hits / rows, other_hits / other_rows
    low, high = _wilson(hits, rows)
    other_low, other_high = _wilson(other_hits, other_rows)
    below = math.hypot(first - low, other_high - second)
    above = math.hypot(high - first, second - other_low)
    return first - second - below, first - second + above


def _wilson(hits: int, rows: int) -> tuple[float, float]:
    rate, share = hits / rows, _Z**2 / rows
    middle = (rate + share / 2) / (1 + share)
    reach = _Z / (1 + share) * math.sqrt(rate * (1 - rate) / rows + share / (4 * rows))
    return middle - reach, middle + reach
