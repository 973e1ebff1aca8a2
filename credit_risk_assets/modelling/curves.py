"""Points of the curves that show how a model ranks and how its probabilities compare with what happened."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from credit_risk_assets.credit.rating import score_points
from credit_risk_assets.modelling.figures import Figure
from credit_risk_assets.modelling.groups import Judged, tested_rows
from credit_risk_assets.modelling.intervals import jeffreys_interval
from credit_risk_assets.modelling.metrics import Ranked, ranked

if TYPE_CHECKING:
    from credit_risk_assets.modelling.train import TrainingResult

CURVE = "curve"
POINTS = 100
DECILES = 10
CALIBRATION_BINS = 20
CALIBRATION_BIN_LOANS = 100
"""Fewer bins where a bin would hold fewer loans than this, but never fewer than ten."""

Floats = NDArray[np.float64]


def curve_figures(result: TrainingResult) -> list[Figure]:
    """The curves on the test rows; `position` is the place on the x-axis, the value the height there.

    Two points may share a position where a curve is upright; by position and value they are in the curve's order.

    - `roc`: true_positive_rate over the false-positive rate
    - `ks` (items bad and good): cumulative_share of each over score points, from the riskiest on
    - `precision_recall`: precision over recall
    - `gain` and `lift`: share of all defaults found (capture), and rate over average, among the riskiest share
      of loans, by tenths
    - `calibration`: observed_rate with its Jeffreys interval over the mean PD, and `n`, of 10 to 20 bins of equal
      count
    """
    rows = tested_rows(result)
    order = ranked(rows.label, rows.predicted)
    return [*_ranking(order), *_deciles(order), *_calibration(rows)]


def _line(subject: str, item: str, metric: str, places: Floats, heights: Floats) -> list[Figure]:
    return [
        Figure(CURVE, subject, item, metric, float(height), position=float(place))
        for place, height in zip(places, heights, strict=True)
    ]


def _ranking(rows: Ranked) -> list[Figure]:
    bads = np.concatenate(([0.0], np.cumsum(rows.bad)[rows.ends]))
    alls = np.concatenate(([0.0], rows.ends + 1.0))
    true, false = bads / bads[-1], (alls - bads) / (alls[-1] - bads[-1])
    # evenly along the curve, so that its steep beginning is as fine as its flat end
    chosen = np.unique(np.searchsorted(true + false, np.linspace(0, 2, POINTS)).clip(0, len(true) - 1))
    points = score_points(np.concatenate(([rows.pd[0]], rows.pd[rows.ends])))[chosen]
    figures = _line("roc", "", "true_positive_rate", false[chosen], true[chosen])
    figures += _line("ks", "bad", "cumulative_share", points, true[chosen])
    figures += _line("ks", "good", "cumulative_share", points, false[chosen])
    # the first place that reaches each recall; before the first loan there is no precision
    reached = np.unique(np.searchsorted(true, np.linspace(0, 1, POINTS + 1)[1:]).clip(1, len(true) - 1))
    return figures + _line("precision_recall", "", "precision", true[reached], bads[reached] / alls[reached])


def _deciles(rows: Ranked) -> list[Figure]:
    shares = np.arange(1, DECILES + 1) / DECILES
    bads = np.concatenate(([0.0], np.cumsum(rows.bad)[rows.ends]))
    alls = np.concatenate(([0.0], rows.ends + 1.0))
    capture = np.interp(shares * alls[-1], alls, bads) / bads[-1]
    figures = _line("gain", "", "capture", np.concatenate(([0.0], shares)), np.concatenate(([0.0], capture)))
    return figures + _line("lift", "", "lift", shares, capture / shares)


def _calibration(rows: Judged) -> list[Figure]:
    bins = int(np.clip(len(rows) // CALIBRATION_BIN_LOANS, DECILES, CALIBRATION_BINS))
    order = np.lexsort((rows.label, rows.predicted))
    figures = []
    for place, inside in enumerate(np.array_split(order, bins)):
        if not len(inside):
            continue
        size, defaults = len(inside), int(rows.label[inside].sum())
        mean_pd = float(rows.predicted[inside].mean())
        low, high = jeffreys_interval(defaults, size)
        item = f"bin {place + 1:02d}"
        figures.append(Figure(CURVE, "calibration", item, "observed_rate", defaults / size, low, high, mean_pd))
        figures.append(Figure(CURVE, "calibration", item, "n", float(size), position=mean_pd))
    return figures
