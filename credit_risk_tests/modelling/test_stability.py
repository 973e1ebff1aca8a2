"""Stability of the score and of the features between development and test."""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from credit_risk_assets.config.settings import ModelSettings
from credit_risk_assets.modelling.errors import ModelDataError
from credit_risk_assets.modelling.monitor import drift, drift_of_groups
from credit_risk_assets.modelling.stability import stability_figures
from credit_risk_assets.modelling.train import TrainingResult
from credit_risk_tests.modelling.lookup import assert_same, by_key, shuffled, values

WORDS = st.lists(st.sampled_from(["auto", "home", "other", None]), min_size=1, max_size=40)


def test_csi_of_known_shares() -> None:
    before = np.array(["a"] * 500 + ["b"] * 500, dtype=object)
    after = np.array(["a"] * 600 + ["b"] * 400, dtype=object)
    found = drift_of_groups(before, after)
    assert found.psi == pytest.approx(0.1 * np.log(0.6 / 0.4))
    assert found.expected == pytest.approx(1 / 1_000 + 1 / 1_000)
    assert found.bins == 2
    assert found.drifted
    assert drift_of_groups(before, before).psi == 0
    with pytest.raises(ModelDataError, match="no values"):
        drift_of_groups(before, after[:0])


@settings(max_examples=50, deadline=None)
@given(WORDS, WORDS, st.integers(0, 99))
def test_csi_is_never_negative_and_knows_no_order(first: list[str], second: list[str], seed: int) -> None:
    one, two = np.array(first, dtype=object), np.array(second, dtype=object)
    found = drift_of_groups(one, two)
    assert found.psi >= 0
    assert drift_of_groups(two, one).psi == pytest.approx(found.psi)
    rng = np.random.default_rng(seed)
    assert drift_of_groups(rng.permutation(one), rng.permutation(two)).psi == pytest.approx(found.psi)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-9, 9), min_size=1, max_size=60), st.lists(st.floats(-9, 9), min_size=1, max_size=60))
def test_psi_is_never_negative(first: list[float], second: list[float]) -> None:
    assert drift(np.array(first), np.array(second)).psi >= 0


def test_every_feature_and_the_score_are_watched(trained: TrainingResult, model_settings: ModelSettings) -> None:
    figures = stability_figures(trained, model_settings)
    found = by_key(figures)
    for subject in ("score_points", "risk_rating", *trained.model.columns):
        psi, expected, critical = (found[subject, "", m].value for m in ("psi", "psi_expected", "psi_critical"))
        assert psi >= 0
        assert critical > expected > 0
        assert found[subject, "", "drifted"].value == float(psi > critical)
    for subject in ("score_points", "risk_rating"):
        for metric in ("development_share", "test_share"):
            assert sum(values(figures, subject, metric).values()) == pytest.approx(1)
    assert found["score_points", "", "psi"].value < 0.1
    assert_same(figures, stability_figures(shuffled(trained), model_settings))


def test_a_shifted_feature_is_named_and_the_others_are_not(
    trained: TrainingResult, model_settings: ModelSettings
) -> None:
    moved = dataclasses.replace(
        trained,
        tested=trained.tested.with_columns(
            pl.col("credit_score") + 40, loan_purpose=pl.lit("auto"), annual_income=pl.lit(None, dtype=pl.Float64)
        ),
    )
    before, after = (by_key(stability_figures(found, model_settings)) for found in (trained, moved))
    for name in ("credit_score", "loan_purpose", "annual_income"):
        assert after[name, "", "psi"].value > 0.25 > before[name, "", "psi"].value
    assert after["loan_amount", "", "psi"] == before["loan_amount", "", "psi"]
