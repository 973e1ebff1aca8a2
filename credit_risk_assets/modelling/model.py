"""The default model: trees, line, calibrator and the threshold of a yes or no."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

from credit_risk_assets.modelling.calibrate import Calibrator
from credit_risk_assets.modelling.linear import LinearPart

Floats = NDArray[np.float64]
FEW_ROWS = 16


@dataclass(frozen=True)
class DefaultModel:
    """Predicts the probability of default within twelve months from an encoded matrix (see `Encoders`).

    `usual` is each column's median in training, the reference of reason codes; `threshold` is the probability
    from which on a default is predicted; `version` names the registered version, empty before registration.
    """

    booster: xgb.Booster
    line: LinearPart
    calibrator: Calibrator
    columns: tuple[str, ...]
    usual: Floats
    threshold: float
    rating_bounds: tuple[float, ...]
    version: str = ""
    facts: dict[str, str] = field(default_factory=dict)

    @cached_property
    def _one_thread(self) -> xgb.Booster:
        """The same trees for a few rows: threads that wait for each other cost more than they save."""
        booster = self.booster.copy()
        booster.set_param({"nthread": 1})
        return booster

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_one_thread"}

    def probability(self, matrix: NDArray[np.float32]) -> Floats:
        """Calibrated probability of default of each row."""
        if not len(matrix):
            return np.empty(0)
        booster = self._one_thread if len(matrix) <= FEW_ROWS else self.booster
        trees = booster.inplace_predict(matrix, predict_type="margin")
        return self.calibrator.probability(trees, self.line.margin(matrix))

    def contributions(self, matrix: NDArray[np.float32], *, exact: bool = False) -> NDArray[np.float32]:
        """What each column adds to each row's log-odds (rows x columns), without the constant.

        The trees' share is approximate (Saabas) by default: exact SHAP values take 200 times as long on a portfolio.
        """
        if not len(matrix):
            return np.empty((0, len(self.columns)), dtype=np.float32)
        few = len(matrix) <= FEW_ROWS
        booster, rows = (
            (self._one_thread, xgb.DMatrix(matrix, nthread=1)) if few else (self.booster, xgb.DMatrix(matrix))
        )
        values: NDArray[np.float32] = booster.predict(rows, pred_contribs=True, approx_contribs=not exact)
        weights = self.calibrator
        shares = weights.tree_weight * values[:, :-1] + weights.linear_weight * self.line.contributions(matrix)
        return shares.astype(np.float32)

    def importance(self) -> dict[str, float]:
        """Share of each column in the total gain of all splits of the trees, the largest first."""
        gain = self.booster.get_score(importance_type="total_gain")
        shares = {self.columns[int(key[1:])]: float(np.ravel(value)[0]) for key, value in gain.items()}
        total = sum(shares.values()) or 1.0
        return {name: share / total for name, share in sorted(shares.items(), key=lambda item: -item[1])}

    def named(self, version: str) -> DefaultModel:
        """The same model under a registered version."""
        return replace(self, version=version)


def monotone_directions(columns: Sequence[str], directions: dict[str, int]) -> tuple[int, ...]:
    """The constraint of each column for the trees: +1 never falling, -1 never rising, 0 free."""
    return tuple(directions.get(name, 0) for name in columns)
