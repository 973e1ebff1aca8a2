"""How the model does in each part of the portfolio: by segment, by vintage, over time and by rating grade."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import stats

from credit_risk_assets.config.tables import RISK_CATEGORIES, RISK_RATINGS
from credit_risk_assets.credit.rating import risk_rating
from credit_risk_assets.modelling.figures import Figure
from credit_risk_assets.modelling.groups import (
    Judged,
    group_auc,
    group_names,
    held_out_rows,
    parted,
    tested_rows,
)
from credit_risk_assets.modelling.intervals import jeffreys_interval
from credit_risk_assets.modelling.sample import OBSERVATION_DATE

if TYPE_CHECKING:
    from credit_risk_assets.config.settings import ModelSettings
    from credit_risk_assets.modelling.train import TrainingResult

SEGMENT = "segment"
RATING = "rating"
DIMENSIONS = ("loan_purpose", "score_band", "risk_category", "dpd_bucket")
VINTAGE = "origination_year"
ALL = "all"
SCALE = "master_scale"
_ORDERS = {"risk_category": RISK_CATEGORIES}


def segment_figures(result: TrainingResult) -> list[Figure]:
    """Figures of all test rows and of each segment; over time with the older dates as held out in development.

    Dimensions are `loan_purpose`, `score_band`, `risk_category`, `dpd_bucket`, `origination_year` (the vintage),
    `observation_date`, and `all`. `position` numbers a dimension's groups in their order.
    """
    rows = tested_rows(result)
    used = (*DIMENSIONS, "origination_quarter", OBSERVATION_DATE)
    rows = replace(rows, frame=rows.frame.select(name for name in used if name in rows.frame.columns)).by_risk()
    figures = _measured(ALL, "", rows.label, rows.predicted)
    for subject in DIMENSIONS:
        if subject in rows.frame.columns:
            figures += _by(subject, rows, rows.frame[subject])
    if "origination_quarter" in rows.frame.columns:
        figures += _by(VINTAGE, rows, rows.frame["origination_quarter"].cast(pl.String).str.slice(0, 4))
    return figures + _over_time(result, rows)


def _over_time(result: TrainingResult, rows: Judged) -> list[Figure]:
    older = held_out_rows(result)
    dates = older.frame[OBSERVATION_DATE].cast(pl.Date)
    # with one date alone its own development rows stay out: the test rows speak for it
    older = older.where((dates != result.test_date).to_numpy())
    both = Judged(
        pl.concat([older.frame.select(OBSERVATION_DATE), rows.frame.select(OBSERVATION_DATE)]),
        np.concatenate((older.label, rows.label)),
        np.concatenate((older.predicted, rows.predicted)),
    )
    return _by(OBSERVATION_DATE, both, both.frame[OBSERVATION_DATE].cast(pl.Date))


def _by(subject: str, rows: Judged, column: pl.Series) -> list[Figure]:
    figures = []
    for place, (name, inside) in enumerate(parted(group_names(column), _ORDERS.get(subject, ()))):
        figures += _measured(subject, name, rows.label[inside], rows.predicted[inside], float(place))
    return figures


def _measured(
    subject: str,
    item: str,
    label: NDArray[np.int64],
    predicted: NDArray[np.float64],
    position: float | None = None,
) -> list[Figure]:
    size, defaults = len(label), int(label.sum())
    observed, mean_pd = defaults / size, float(predicted.mean())
    low, high = jeffreys_interval(defaults, size)

    def figure(metric: str, value: float, lower: float | None = None, upper: float | None = None) -> Figure:
        return Figure(SEGMENT, subject, item, metric, value, lower, upper, position)

    figures = [
        figure("n", float(size)),
        figure("defaults", float(defaults)),
        figure("observed_rate", observed, low, high),
        figure("mean_pd", mean_pd),
        figure("brier", float(np.mean((predicted - label) ** 2))),
        figure("calibration_gap", mean_pd - observed, mean_pd - high, mean_pd - low),
    ]
    if defaults:
        figures.append(figure("pd_to_observed", mean_pd / observed, mean_pd / high, mean_pd / low))
    auc = group_auc(label, predicted)
    if auc is not None:
        figures.append(figure("auc", auc.value, auc.lower, auc.upper))
    return figures


def rating_figures(result: TrainingResult, settings: ModelSettings) -> list[Figure]:
    """The master scale on the test rows: each grade's PD bounds, loans, mean PD and observed rate.

    `holds` is 1 where the mean PD lies inside the Jeffreys interval of the observed rate; `above_previous_p` is the
    p-value of Fisher's exact test that the grade defaults no more often than the better one beside it. Of the whole
    scale: `monotone` (1 where observed rates rise strictly over the grades that hold loans), `grades_outside` and
    `concentration` (Herfindahl-Hirschman index, the sum of squared shares of loans).
    """
    rows = tested_rows(result)
    ratings = risk_rating(rows.predicted, settings.rating_pd_bounds)
    bounds = (0.0, *settings.rating_pd_bounds, 1.0)
    figures: list[Figure] = []
    counts: list[tuple[int, int]] = []
    outside = 0
    for place, rating in enumerate(RISK_RATINGS):

        def figure(metric: str, value: float, lower: float | None = None, upper: float | None = None) -> Figure:
            return Figure(RATING, SCALE, rating, metric, value, lower, upper, float(place))  # noqa: B023

        inside = ratings == rating
        size, defaults = int(inside.sum()), int(rows.label[inside].sum())
        figures += [
            figure("pd_from", bounds[place]),
            figure("pd_below", bounds[place + 1]),
            figure("n", float(size)),
            figure("share", size / len(rows)),
        ]
        if not size:
            continue
        mean_pd = float(rows.predicted[inside].mean())
        low, high = jeffreys_interval(defaults, size)
        figures += [
            figure("defaults", float(defaults)),
            figure("mean_pd", mean_pd),
            figure("observed_rate", defaults / size, low, high),
            figure("holds", float(low <= mean_pd <= high)),
        ]
        outside += not low <= mean_pd <= high
        if counts:
            before_defaults, before = counts[-1]
            table = [[defaults, size - defaults], [before_defaults, before - before_defaults]]
            p_value = float(stats.fisher_exact(table, alternative="greater").pvalue)
            figures.append(figure("above_previous_p", p_value))
        counts.append((defaults, size))
    rates = [defaults / size for defaults, size in counts]
    shares = [size / len(rows) for _, size in counts]
    return [
        *figures,
        Figure(RATING, SCALE, "", "monotone", float(all(low < high for low, high in pairwise(rates)))),
        Figure(RATING, SCALE, "", "grades_outside", float(outside)),
        Figure(RATING, SCALE, "", "concentration", sum(share**2 for share in shares)),
    ]
