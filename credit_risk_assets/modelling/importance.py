"""What the model goes by: importance of each feature, for all and by segment, and its effect on the PD."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from credit_risk_assets.config.tables import RISK_RATINGS
from credit_risk_assets.credit.rating import risk_rating
from credit_risk_assets.modelling.figures import Figure
from credit_risk_assets.modelling.groups import group_names, parted, tested_rows

if TYPE_CHECKING:
    from credit_risk_assets.config.settings import ModelSettings
    from credit_risk_assets.modelling.model import DefaultModel
    from credit_risk_assets.modelling.train import TrainingResult

IMPORTANCE = "importance"
DEPENDENCE = "dependence"
ALL = "all"
EXACT_ROWS = 300
"""Exact SHAP values of several hundred trees take 1 to 4 ms a row."""
APPROXIMATE_ROWS = 4_000
SEGMENT_ROWS = 30
"""Segments with fewer sampled rows are left out."""
SEGMENT_FEATURES = 10
DEPENDENT_FEATURES = 12
GRID = 12
DEPENDENCE_ROWS = 200

Matrix = NDArray[np.float32]


def importance_figures(result: TrainingResult, settings: ModelSettings) -> list[Figure]:
    """Importance of the features on a sample of the test rows, and partial dependence of the strongest.

    Of all rows, per feature: `mean_absolute_shap` on the log-odds (exact SHAP values of the trees, Lundberg et al.
    2020, plus the line's share; `EXACT_ROWS` rows) and `gain_share`, its share in the gain of all splits; `position`
    is the rank. By `risk_rating` and `loan_purpose` (analysis importance, subject the feature, item such as
    "loan_purpose: auto"): `mean_absolute_contribution` of the ten strongest, by approximate contributions as the
    portfolio's reason codes use them. Partial dependence (analysis dependence, subject the feature): `mean_pd` over the
    sampled rows where the feature alone is set to the place on its axis, for the twelve strongest features at up to
    twelve quantiles, or at each category (item the category).
    """
    rows = tested_rows(result)
    model = result.model
    rng = np.random.default_rng(settings.seed)
    chosen = np.sort(rng.permutation(len(rows))[:APPROXIMATE_ROWS])
    frame = rows.frame[chosen.tolist()]
    matrix = result.encoders.transform(frame)
    few = rng.permutation(len(chosen))[:EXACT_ROWS]
    shap = np.abs(model.contributions(matrix[few], exact=True)).mean(axis=0)
    figures = _overall(model, shap)
    contributions = np.abs(model.contributions(matrix))
    ratings = risk_rating(rows.predicted[chosen], settings.rating_pd_bounds)
    figures += _segments(model, contributions, "risk_rating", ratings, RISK_RATINGS)
    if "loan_purpose" in frame.columns:
        figures += _segments(model, contributions, "loan_purpose", group_names(frame["loan_purpose"]))
    strongest = [int(place) for place in np.argsort(-shap, kind="stable")[:DEPENDENT_FEATURES]]
    sample = matrix[rng.permutation(len(matrix))[:DEPENDENCE_ROWS]]
    for place in strongest:
        figures += _dependence(model, result.encoders.categories.get(model.columns[place]), matrix, sample, place)
    return figures


def _overall(model: DefaultModel, shap: NDArray[np.floating]) -> list[Figure]:
    gains = model.importance()
    figures = []
    for rank, place in enumerate(np.argsort(-shap, kind="stable")):
        name = model.columns[place]
        figures += [
            Figure(IMPORTANCE, name, ALL, "mean_absolute_shap", float(shap[place]), position=rank + 1.0),
            Figure(IMPORTANCE, name, ALL, "gain_share", gains.get(name, 0.0), position=rank + 1.0),
        ]
    return figures


def _segments(
    model: DefaultModel,
    contributions: NDArray[np.floating],
    dimension: str,
    names: NDArray[np.object_],
    order: tuple[str, ...] = (),
) -> list[Figure]:
    figures = []
    for segment, inside in parted(names, order):
        if int(inside.sum()) < SEGMENT_ROWS:
            continue
        mean = contributions[inside].mean(axis=0)
        for rank, place in enumerate(np.argsort(-mean, kind="stable")[:SEGMENT_FEATURES]):
            figures.append(
                Figure(
                    IMPORTANCE,
                    model.columns[place],
                    f"{dimension}: {segment}",
                    "mean_absolute_contribution",
                    float(mean[place]),
                    position=rank + 1.0,
                )
            )
    return figures


def _dependence(
    model: DefaultModel,
    categories: dict[str | None, float] | None,
    matrix: Matrix,
    sample: Matrix,
    place: int,
) -> list[Figure]:
    if categories is not None:
        items = {str(word): rate for word, rate in categories.items() if word is not None}
        points = [(item, float(rank), rate) for rank, (item, rate) in enumerate(sorted(items.items()))][:GRID]
    else:
        known = matrix[~np.isnan(matrix[:, place]), place]
        if not len(known):
            return []
        values = np.unique(np.quantile(known, np.linspace(0.01, 0.99, GRID), method="nearest"))
        points = [("", float(value), float(value)) for value in values]
    moved = np.repeat(sample[np.newaxis], len(points), axis=0)
    moved[:, :, place] = np.array([value for _, _, value in points], dtype=np.float32)[:, np.newaxis]
    pds = model.probability(moved.reshape(-1, sample.shape[1])).reshape(len(points), -1).mean(axis=1)
    return [
        Figure(DEPENDENCE, model.columns[place], item, "mean_pd", float(pd), position=position)
        for (item, position, _), pd in zip(points, pds, strict=True)
    ]
