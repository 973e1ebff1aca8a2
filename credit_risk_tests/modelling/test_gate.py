"""The gate: what keeps a version from deciding about loans, with and without a champion in force."""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl

from credit_risk_assets.config.settings import ModelSettings
from credit_risk_assets.modelling import gate
from credit_risk_assets.modelling.champion import NOT_COMPARABLE, compare
from credit_risk_assets.modelling.gate import Evidence, judge, keeps_out, objections
from credit_risk_assets.modelling.train import TrainingResult, train_default_model
from credit_risk_tests.checks.damage import MODEL_DAMAGE, sound_evidence


def test_nothing_speaks_against_a_sound_version(model_settings: ModelSettings) -> None:
    for champion in ("1", None):
        criteria = judge(sound_evidence(champion=champion), model_settings)
        assert [criterion.name for criterion in criteria if not criterion.passed] == []


def test_each_shortfall_is_an_objection_with_what_was_seen_and_expected(model_settings: ModelSettings) -> None:
    for check, _, change in MODEL_DAMAGE:
        against = objections(judge(change(sound_evidence()), model_settings), champion_reigns=True)
        if check.name in gate.ADVISORY:
            assert against == []
        else:
            assert [line.split(":")[0] for line in against] == [check.name]
            assert ", expected " in against[0]
            assert "\n" not in against[0]


def test_without_a_champion_only_what_makes_a_model_unusable_keeps_it_out(model_settings: ModelSettings) -> None:
    kept = {
        criterion.name
        for _, _, change in MODEL_DAMAGE
        for criterion in judge(change(sound_evidence(champion=None)), model_settings)
        if keeps_out(criterion, champion_reigns=False)
    }
    assert kept == set(gate.INDISPENSABLE)


def test_a_champion_is_compared_on_the_new_version_s_test_rows(
    trained: TrainingResult, sample: pl.DataFrame, model_settings: ModelSettings
) -> None:
    itself = compare(trained, "1", trained.model, trained.encoders)
    same = next(figure for figure in itself if figure.metric == "auc_difference")
    assert (same.value, same.lower, same.upper) == (0.0, 0.0, 0.0)
    weak = model_settings.model_copy(update={"max_depth": 1, "n_estimators": 2, "seed": 3})
    blind = sample.with_columns(pl.lit(None, dtype=pl.Int32).alias("current_dpd"))
    poor = train_default_model(blind, weak)
    found = compare(trained, "1", poor.model, poor.encoders)
    difference = next(figure for figure in found if figure.metric == "auc_difference")
    expected = trained.test_metrics["auc"].value - next(f.value for f in found if f.metric == "auc")
    np.testing.assert_allclose(difference.value, expected, atol=1e-12)


def test_a_champion_that_reads_lost_columns_cannot_be_replaced_unseen(
    trained: TrainingResult, model_settings: ModelSettings
) -> None:
    older = dataclasses.replace(trained.encoders, columns=("a_lost_column", *trained.encoders.columns))
    figures = compare(trained, "1", trained.model, older)
    assert [figure.metric for figure in figures] == [NOT_COMPARABLE]
    sound = sound_evidence(champion=None)
    against = objections(
        judge(Evidence("2", sound.test_set, sound.metrics, [*sound.figures, *figures]), model_settings),
        champion_reigns=True,
    )
    assert len(against) == 1
    assert "version 1 reads columns that the sample no longer has" in against[0]
