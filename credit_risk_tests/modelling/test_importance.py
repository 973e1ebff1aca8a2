"""Importance, by segment too, and partial dependence."""

from __future__ import annotations

import numpy as np
import pytest

from credit_risk_assets.config.settings import ModelSettings
from credit_risk_assets.config.tables import RISK_RATINGS
from credit_risk_assets.credit.features import BY_NAME
from credit_risk_assets.modelling.figures import Figure
from credit_risk_assets.modelling.importance import importance_figures
from credit_risk_assets.modelling.train import TrainingResult, business_directions


@pytest.fixture(scope="module")
def figures(trained: TrainingResult, model_settings: ModelSettings) -> list[Figure]:
    return importance_figures(trained, model_settings)


def test_every_feature_has_its_rank_and_none_is_protected(figures: list[Figure], trained: TrainingResult) -> None:
    overall = [f for f in figures if f.item == "all" and f.metric == "mean_absolute_shap"]
    assert [f.position for f in overall] == list(range(1, len(trained.model.columns) + 1))
    assert [f.value for f in overall] == sorted((f.value for f in overall), reverse=True)
    assert {f.subject for f in overall} == set(trained.model.columns)
    assert not [f for f in figures if BY_NAME[f.subject].protected]
    gains = [f.value for f in figures if f.metric == "gain_share"]
    assert sum(gains) == pytest.approx(1)
    strongest = [f.subject for f in overall[:8]]
    assert "credit_score" in strongest


def test_importance_is_the_mean_of_exact_contributions(
    figures: list[Figure], trained: TrainingResult, model_settings: ModelSettings
) -> None:
    """Of other rows the means differ by chance alone."""
    rows = trained.encoders.transform(trained.tested.head(300))
    exact = np.abs(trained.model.contributions(rows, exact=True)).mean(axis=0)
    found = {f.subject: f.value for f in figures if f.metric == "mean_absolute_shap"}
    ours = np.array([found[name] for name in trained.model.columns])
    assert np.corrcoef(exact, ours)[0, 1] > 0.97
    assert importance_figures(trained, model_settings) == figures


def test_segments_name_their_ten_strongest_features(figures: list[Figure]) -> None:
    segments: dict[str, list[Figure]] = {}
    for figure in figures:
        if figure.metric == "mean_absolute_contribution":
            segments.setdefault(figure.item, []).append(figure)
    assert {f"risk_rating: {rating}" for rating in RISK_RATINGS} <= set(segments)
    assert "loan_purpose: auto" in segments
    for found in segments.values():
        assert [f.position for f in found] == list(range(1, 11))
        assert [f.value for f in found] == sorted((f.value for f in found), reverse=True)


def test_partial_dependence_goes_the_way_the_business_expects(figures: list[Figure], trained: TrainingResult) -> None:
    directions = business_directions(trained.model.columns)
    curves: dict[str, list[Figure]] = {}
    for figure in figures:
        if figure.analysis == "dependence":
            curves.setdefault(figure.subject, []).append(figure)
    assert len(curves) == 12
    held = 0
    for name, points in curves.items():
        assert len(points) <= 12
        places = [point.position for point in points if point.position is not None]
        assert places == sorted(set(places))
        assert all(0 < point.value < 1 for point in points)
        if direction := directions.get(name):
            heights = np.array([point.value for point in points])
            assert (direction * np.diff(heights) >= -1e-9).all(), name
            assert abs(heights[-1] - heights[0]) > 1e-4
            held += 1
    assert held >= 6
    assert not any(point.item for name, points in curves.items() if BY_NAME[name].type != "string" for point in points)
