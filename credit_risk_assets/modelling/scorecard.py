"""A scorecard as a credit officer would build it, by optbinning: the benchmark that a model has to beat."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from credit_risk_assets.credit.rating import ANCHOR_ODDS, POINTS_AT_ANCHOR, POINTS_TO_DOUBLE_ODDS
from credit_risk_assets.modelling.figures import Figure

SCORECARD_ROWS = 20_000
"""Optimal binning takes its time: it sees this many development rows at most, chosen by chance."""
SCORECARD_FEATURES = 20
"""A scorecard of more attributes than a person can read is none."""
SCORECARD = "scorecard"
_TRENDS = {1: "ascending", -1: "descending", 0: "auto"}


@dataclass(frozen=True)
class FittedScorecard:
    """The benchmark's PD of each test row, and its points table as figures."""

    predicted: NDArray[np.float64]
    points: list[Figure]
    features: int


def fit_scorecard(
    development: pl.DataFrame,
    label: NDArray[np.int64],
    tested: pl.DataFrame,
    names: Sequence[str],
    *,
    text: Sequence[str],
    directions: dict[str, int],
    seed: int,
) -> FittedScorecard:
    """Bin the features `names`, fit weights of evidence by logistic regression and scale them to points.

    600 points at 30 good to 1 bad, 20 points double the odds. Rates rise or fall over a feature's bins as
    `directions` says, and a feature whose coefficient would reward risk is left at none. The figures hold
    `points`, `woe` (ln of the good over the bad share), `default_rate` and `n` of each bin of each feature.
    """
    if len(label) > SCORECARD_ROWS:
        chosen = np.sort(np.random.default_rng(seed).choice(len(label), SCORECARD_ROWS, replace=False))
        development, label = development[chosen.tolist()], label[chosen]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        from optbinning import BinningProcess, Scorecard

        binning = BinningProcess(
            list(names),
            categorical_variables=[name for name in names if name in text],
            binning_fit_params={
                name: {"monotonic_trend": _TRENDS[directions.get(name, 0)]} for name in names if name not in text
            },
        )
        scorecard = Scorecard(
            binning,
            _signed_regression(),
            scaling_method="pdo_odds",
            scaling_method_params={
                "pdo": POINTS_TO_DOUBLE_ODDS,
                "odds": ANCHOR_ODDS,
                "scorecard_points": POINTS_AT_ANCHOR,
            },
        )
        scorecard.fit(development.select(names).to_pandas(), label)
        predicted = scorecard.predict_proba(tested.select(names).to_pandas())[:, 1]
        table = scorecard.table(style="detailed")
    return FittedScorecard(np.asarray(predicted, dtype=float), _points(table), int(table["Variable"].nunique()))


def _signed_regression() -> Any:
    """A logistic regression without coefficients above 0: more evidence of good never raises the PD."""
    from sklearn.linear_model import LogisticRegression

    class SignedRegression(LogisticRegression):
        def fit(self, X: Any, y: Any, sample_weight: Any = None) -> SignedRegression:
            values = np.asarray(X, dtype=float)
            allowed = np.ones(values.shape[1], dtype=bool)
            while True:
                super().fit(values * allowed, y, sample_weight)
                slopes: NDArray[np.float64] = self.coef_[0]
                against = (slopes > 0) & allowed
                if not against.any():
                    self.coef_: NDArray[np.float64] = (slopes * allowed)[np.newaxis]
                    return self
                allowed &= ~against

    return SignedRegression(max_iter=500)


def _points(table: Any) -> list[Figure]:
    figures = []
    places: dict[str, int] = {}
    for row in table.to_dict("records"):
        name, loans = str(row["Variable"]), float(row["Count"])
        known = row["Bin"]
        item = str(known) if isinstance(known, str) else ", ".join(str(word) for word in known)
        if not loans:  # optbinning lists a bin for special values and one for gaps, whether or not there are any
            continue
        place = places[name] = places.get(name, -1) + 1
        for metric, column in (("points", "Points"), ("woe", "WoE"), ("default_rate", "Event rate"), ("n", "Count")):
            figures.append(Figure(SCORECARD, name, item, metric, float(row[column]), position=float(place)))
    return figures
