"""Canaries: quiet over an honest training, loud over each leak that is built in."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from credit_risk_assets.config.settings import ModelSettings
from credit_risk_assets.modelling import canary, train
from credit_risk_assets.modelling.canary import (
    canary_figures,
    canary_findings,
    permute_by_customer,
    permuted_labels,
    plant_canary,
    planted_column,
)
from credit_risk_assets.modelling.encode import fit_encoders
from credit_risk_assets.modelling.evaluate import delong_interval
from credit_risk_assets.modelling.train import TrainingResult
from credit_risk_tests.modelling.lookup import by_key


def test_an_honest_training_learns_nothing_from_labels_without_meaning(
    trained: TrainingResult, model_settings: ModelSettings
) -> None:
    figures = canary_figures(trained, model_settings)
    assert canary_findings(figures) == []
    found = by_key(figures)
    for place in ("out_of_time", "held_out"):
        bound = found["permuted_labels", place, "auc_distance_bound"].value
        assert 0.01 < bound < 0.10
        assert abs(found["permuted_labels", place, "auc"].value - 0.5) <= bound
    assert found["planted_column", "", "caught"].value == 1


def test_an_outcome_that_reaches_its_own_features_is_found(
    trained: TrainingResult, model_settings: ModelSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leaking(frame: Any, columns: Any, label: Any, folds: Any, text: Any = None) -> Any:
        encoders, matrix = fit_encoders(frame, columns, label, folds, text)
        matrix[:, 0] -= 60 * label  # a worse credit score
        return encoders, matrix

    monkeypatch.setattr(train, "fit_encoders", leaking)
    monkeypatch.setattr(canary, "fit_encoders", leaking)
    findings = canary_findings(permuted_labels(trained, model_settings))
    assert [finding for finding in findings if "held_out" in finding]
    assert all("\n" not in finding for finding in findings)


def test_test_rows_that_reach_the_training_are_found(
    trained: TrainingResult, model_settings: ModelSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = train.train_default_model

    def leaking(sample: pl.DataFrame, *args: Any, **changes: Any) -> Any:
        # a feature computed over the whole sample, as a careless target encoding would be
        return honest(sample.with_columns(pl.col("credit_score") - 60.0 * pl.col("default_12m")), *args, **changes)

    monkeypatch.setattr(canary, "train_default_model", leaking)
    findings = canary_findings(permuted_labels(trained, model_settings))
    assert [finding for finding in findings if "out_of_time" in finding]


def test_a_planted_column_is_found_and_a_blind_guard_is_named(
    trained: TrainingResult, model_settings: ModelSettings
) -> None:
    matrix = trained.encoders.transform(trained.tested)
    auc = delong_interval(trained.label, plant_canary(trained.label, model_settings)).value
    assert model_settings.maximum_single_feature_auc < auc < 0.995
    assert canary_findings(planted_column(matrix, trained.label, model_settings)) == []
    blind = model_settings.model_copy(update={"maximum_single_feature_auc": 1.0})
    findings = canary_findings(planted_column(matrix, trained.label, blind))
    assert len(findings) == 1
    assert "leak guard" in findings[0]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 1)), min_size=1, max_size=40), st.integers(0, 9))
def test_permuting_keeps_what_one_customer_has_in_common(rows: list[tuple[int, int]], seed: int) -> None:
    customers = np.array([f"c{number}" for number, _ in rows], dtype=object)
    label = np.array([outcome for _, outcome in rows], dtype=np.int64)
    dealt = permute_by_customer(label, customers, np.random.default_rng(seed))

    def vectors(outcomes: np.ndarray) -> Counter[tuple[int, ...]]:
        return Counter(tuple(outcomes[customers == name].tolist()) for name in set(customers))

    assert vectors(dealt) == vectors(label)


def test_permuting_parts_outcomes_from_rows() -> None:
    label = np.array([0, 1] * 500)
    customers = np.array([f"c{row}" for row in range(1_000)], dtype=object)
    dealt = permute_by_customer(label, customers, np.random.default_rng(0))
    assert abs(np.corrcoef(label, dealt)[0, 1]) < 0.1
