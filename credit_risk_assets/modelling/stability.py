"""Whether the test rows look like the development rows: PSI of the score, CSI of every feature."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from credit_risk_assets.config.tables import RISK_RATINGS
from credit_risk_assets.credit.rating import risk_rating, score_points
from credit_risk_assets.modelling.bins import counts_between
from credit_risk_assets.modelling.figures import Figure
from credit_risk_assets.modelling.frames import is_text, numbers
from credit_risk_assets.modelling.groups import group_names, held_out_rows, tested_rows
from credit_risk_assets.modelling.monitor import Drift, drift, drift_of_groups, edges_of

if TYPE_CHECKING:
    from credit_risk_assets.config.settings import ModelSettings
    from credit_risk_assets.modelling.train import TrainingResult

STABILITY = "stability"
SCORE = "score_points"
GRADE = "risk_rating"


def stability_figures(result: TrainingResult, settings: ModelSettings) -> list[Figure]:
    """PSI of the score and of the rating grades, and CSI of each feature of the model, development against test.

    Development scores are those of the members that had left the row out, as a test row's score is. Each comes with
    its critical value for the sample sizes and its expected value under no drift (see `monitor.Drift`); both assume
    independent samples, and a loan seen at two dates is in both. The score's bins follow with their shares.
    """
    older, rows = held_out_rows(result), tested_rows(result)
    before, after = score_points(older.predicted), score_points(rows.predicted)
    grades = [risk_rating(found.predicted, settings.rating_pd_bounds) for found in (older, rows)]
    figures = _figures(SCORE, drift(before, after)) + _figures(GRADE, drift_of_groups(*grades))
    for name in result.model.columns:
        reference, recent = result.development[name], result.tested[name]
        if is_text(reference):
            figures += _figures(name, drift_of_groups(group_names(reference), group_names(recent)))
        elif reference.is_null().all() or not len(recent):
            continue
        else:
            figures += _figures(name, drift(numbers(reference), numbers(recent)))
    figures += _shares(before, after)
    for place, grade in enumerate(RISK_RATINGS):
        for metric, found in (("development_share", grades[0]), ("test_share", grades[1])):
            share = float(np.mean(found == grade))
            figures.append(Figure(STABILITY, GRADE, grade, metric, share, position=float(place)))
    return figures


def _figures(subject: str, found: Drift) -> list[Figure]:
    return [
        Figure(STABILITY, subject, "", "psi", found.psi),
        Figure(STABILITY, subject, "", "psi_critical", found.critical),
        Figure(STABILITY, subject, "", "psi_expected", found.expected),
        Figure(STABILITY, subject, "", "bins", float(found.bins)),
        Figure(STABILITY, subject, "", "drifted", float(found.drifted)),
    ]


def _shares(before: np.ndarray, after: np.ndarray) -> list[Figure]:
    edges = edges_of(before)
    figures = []
    for metric, values in (("development_share", before), ("test_share", after)):
        for place, count in enumerate(counts_between(values, edges)[:-1]):
            low = f"{edges[place - 1]:.0f}" if place else ""
            high = f"{edges[place]:.0f}" if place < len(edges) else ""
            item = f"{low} to {high}" if low and high else f"up to {high}" if high else f"above {low}"
            figures.append(Figure(STABILITY, SCORE, item, metric, float(count) / len(values), position=float(place)))
    return figures
