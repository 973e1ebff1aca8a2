"""Turns the trees' margins into probabilities that mean what they say.

Weighted classes and early stopping leave margins that rank well and overstate the risk. The calibrator is
fitted on rows that trained neither the trees nor their number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
PD_FLOOR = 1e-5
"""No loan is without risk, and no performing loan is certain to default."""


class Calibrator(Protocol):
    """From margins (log-odds) to probabilities, never falling."""

    def probability(self, margin: NDArray[np.floating]) -> Floats:
        """The probability of each margin."""
        ...


@dataclass(frozen=True)
class Platt:
    """A logistic curve on the margin."""

    slope: float
    intercept: float

    def probability(self, margin: NDArray[np.floating]) -> Floats:
        """The probability of each margin."""
        odds = self.slope * np.asarray(margin, dtype=float) + self.intercept
        return np.clip(1.0 / (1.0 + np.exp(-odds)), PD_FLOOR, 1 - PD_FLOOR)


@dataclass(frozen=True)
class Isotonic:
    """A rising curve through the observed rates, straight between its knots."""

    margins: Floats
    rates: Floats

    def probability(self, margin: NDArray[np.floating]) -> Floats:
        """The probability of each margin."""
        rates = np.interp(np.asarray(margin, dtype=float), self.margins, self.rates)
        return np.clip(rates, PD_FLOOR, 1 - PD_FLOOR)


def fit_calibrator(
    method: Literal["platt", "isotonic"], margin: NDArray[np.floating], label: NDArray[np.int64]
) -> Calibrator:
    """Fit on margins and outcomes (0 or 1) of the calibration rows; both outcomes must occur."""
    margins = np.asarray(margin, dtype=float)
    if method == "isotonic":
        from sklearn.isotonic import IsotonicRegression

        curve = IsotonicRegression(out_of_bounds="clip").fit(margins, label)
        return Isotonic(np.asarray(curve.X_thresholds_), np.asarray(curve.y_thresholds_))
    from sklearn.linear_model import LogisticRegression

    # practically no penalty: the curve must meet the observed rate
    line = LogisticRegression(C=1e6, solver="lbfgs", tol=1e-8).fit(margins.reshape(-1, 1), label)
    # a margin that ranks the wrong way round must not be turned about in silence
    return Platt(max(float(line.coef_[0, 0]), 1e-3), float(line.intercept_[0]))
