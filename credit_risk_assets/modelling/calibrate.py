"""Turns margins into probabilities that mean what they say.

Weighted classes and early stopping leave margins that rank well and overstate the risk. The calibrator is fitted
on rows that trained neither the trees nor the line nor the number of trees; it weighs the two against each other
(Platt's logistic curve over both margins), and may bend the curve by isotonic regression.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
PD_FLOOR = 1e-5
"""No loan is without risk, and no performing loan is certain to default."""


@dataclass(frozen=True)
class Calibrator:
    """Weights of the trees' and the line's margin, and the curve from their sum to a probability.

    `knots` are (log-odds, rate) of an isotonic curve, straight between them; empty for a logistic one.
    """

    tree_weight: float
    linear_weight: float
    intercept: float
    knots: tuple[tuple[float, float], ...] = ()

    def log_odds(self, trees: NDArray[np.floating], line: NDArray[np.floating]) -> Floats:
        """Weighted sum of the margins."""
        found: Floats = self.tree_weight * np.asarray(trees, dtype=float) + self.linear_weight * line + self.intercept
        return found

    def probability(self, trees: NDArray[np.floating], line: NDArray[np.floating]) -> Floats:
        """The probability of each row; never falling in either margin."""
        return self.curve(self.log_odds(trees, line))

    def curve(self, odds: Floats) -> Floats:
        """The probability that belongs to weighted log-odds."""
        if self.knots:
            places, rates = np.array(self.knots).T
            return np.clip(np.interp(odds, places, rates), PD_FLOOR, 1 - PD_FLOOR)
        return np.clip(1.0 / (1.0 + np.exp(-np.clip(odds, -50, 50))), PD_FLOOR, 1 - PD_FLOOR)


def _weights(margins: Floats, label: NDArray[np.int64]) -> tuple[float, float, float]:
    """Logistic weights, none below 0: a margin that ranks the wrong way round counts for nothing."""
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    used = np.array([True, True])
    while used.any():
        # practically no penalty: the curve must meet the observed rate
        with threadpool_limits(limits=1, user_api="blas"):
            line = LogisticRegression(C=1e6, tol=1e-8, max_iter=500, solver="newton-cholesky")
            line.fit(margins * used, label)
        weights = line.coef_[0] * used
        if (weights >= 0).all():
            return float(weights[0]), float(weights[1]), float(line.intercept_[0])
        used &= weights >= 0
    rate = float(label.mean())
    return 1e-3, 0.0, float(np.log(rate / (1 - rate)))


def fit_calibrator(
    method: Literal["platt", "isotonic"],
    trees: NDArray[np.floating],
    line: NDArray[np.floating],
    label: NDArray[np.int64],
) -> Calibrator:
    """Fit on both margins and the outcomes (0 or 1) of the calibration rows; both outcomes must occur."""
    margins = np.column_stack((np.asarray(trees, dtype=float), np.asarray(line, dtype=float)))
    calibrator = Calibrator(*_weights(margins, label))
    if method == "platt":
        return calibrator
    from sklearn.isotonic import IsotonicRegression

    odds = calibrator.log_odds(margins[:, 0], margins[:, 1])
    curve = IsotonicRegression(out_of_bounds="clip").fit(odds, label)
    knots = tuple(zip(curve.X_thresholds_.tolist(), curve.y_thresholds_.tolist(), strict=True))
    return Calibrator(calibrator.tree_weight, calibrator.linear_weight, calibrator.intercept, knots)
