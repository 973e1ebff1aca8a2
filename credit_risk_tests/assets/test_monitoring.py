"""Monitoring on simulated tapes: quiet where nothing has moved, and naming what did where a tape has drifted."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pyspark.sql import SparkSession

from credit_risk_assets.assets.inputs import stale_tables
from credit_risk_assets.assets.monitoring import measured, training_dates
from credit_risk_assets.checks import monitoring as checks
from credit_risk_assets.checks.framework import Check, Finding
from credit_risk_assets.config import tables
from credit_risk_assets.credit.expressions import columns_of
from credit_risk_assets.credit.features import BY_NAME
from credit_risk_assets.modelling.monitor import drift
from credit_risk_assets.resources.landing import land
from credit_risk_assets.resources.mlflow import load_version
from credit_risk_assets.resources.platform import Platform
from credit_risk_assets.tape.simulation.defects import inject_defects
from credit_risk_tests.conftest import AS_OF, failed_checks, make_settings, run_job, table_rows, table_versions

DRIFT = """
seed: 3
defects:
  - {kind: drift, columns: [credit_utilization], factor: 1.6, tapes: latest}
  - {kind: drift, columns: [inquiries_6m], shift: 3, tapes: latest}
"""
MOVED = {"credit_utilization", "inquiries_6m"}


@dataclass
class Monitored:
    """A home after a sound run, what its checks found then, and its tables after a drifted tape."""

    platform: Platform
    stale: list[str]
    sound: dict[Check, Finding]
    sound_failed: dict[str, str]
    sound_drift: pl.DataFrame
    sound_realised: pl.DataFrame
    drifted: dict[Check, Finding]
    drift: pl.DataFrame


def findings(platform: Platform) -> dict[Check, Finding]:
    return {found.check: found for table in checks.TABLES for found in table.measure(platform)}


@pytest.fixture(scope="module")
def monitored(
    tmp_path_factory: pytest.TempPathFactory, simulated_tapes: list[Path], sail: SparkSession
) -> Iterator[Monitored]:
    folder = tmp_path_factory.mktemp("monitoring")
    platform = Platform(make_settings(folder / "home", model={"n_estimators": 40}))
    for tape in simulated_tapes:
        land(platform.settings, tape)
    result = run_job(platform)
    assert result.success
    sound, before = findings(platform), table_rows(platform, tables.FEATURE_DRIFT)
    realised = table_rows(platform, tables.MODEL_MONITORING)
    stale = stale_tables(platform.lake_log, platform.settings)
    copies = [Path(shutil.copy(tape, folder / tape.name)) for tape in simulated_tapes]
    (folder / "drift.yaml").write_text(DRIFT)
    inject_defects(copies, folder / "drift.yaml", folder / "ledger.csv")
    land(platform.settings, folder / "loan_portfolio_data.csv")
    for job in ("refresh_lake", "refresh_gold"):
        assert run_job(platform, job).success
    after = table_rows(platform, tables.FEATURE_DRIFT)
    yield Monitored(platform, stale, sound, failed_checks(result), before, realised, findings(platform), after)
    platform.close()


def test_nothing_is_said_of_loans_that_have_not_moved(monitored: Monitored) -> None:
    assert {check.name: found.observed for check, found in monitored.sound.items() if not found.passed} == {}
    assert not [name for name in monitored.sound_failed if name.startswith(("gold/feature", "gold/model_mon"))]
    assert not monitored.sound_drift["drifted"].any()
    newest = monitored.sound_drift.filter(pl.col("kind") == "feature")
    # About one feature in twenty passes its critical value by chance; features move together and age a little.
    assert (newest["psi"] > newest["critical"]).mean() < 0.25


def test_every_feature_of_the_champion_stands_once_a_period(monitored: Monitored) -> None:
    champion = load_version(monitored.platform.settings)
    rows = monitored.sound_drift
    assert sorted(rows["period"].unique().to_list()) == [date(2025, 10, 31), AS_OF]
    for period in rows["period"].unique():
        mine = rows.filter(pl.col("period") == period)
        by_kind = {kind: sorted(mine.filter(pl.col("kind") == kind)["feature"].to_list()) for kind in mine["kind"]}
        assert by_kind["feature"] == sorted(champion.model.columns)
        assert by_kind["score"] == ["pd_12m"]
        assert by_kind["segment"] == ["loan_purpose", "risk_category", "risk_rating", "score_band"]
    sample = table_rows(monitored.platform, tables.DEVELOPMENT_SAMPLE)
    assert set(rows["reference_rows"]) == {sample.filter(pl.col("observation_date") == date(2024, 10, 31)).height}


def test_a_feature_counted_by_the_engine_has_the_psi_of_its_values(monitored: Monitored) -> None:
    sample = table_rows(monitored.platform, tables.DEVELOPMENT_SAMPLE)
    then, later = (sample.filter(pl.col("observation_date") == day) for day in (date(2024, 10, 31), date(2025, 10, 31)))
    for name in ("credit_score", "debt_to_income", "months_since_delinquency", "current_dpd"):
        expected = drift(*(frame[name].cast(pl.Float64).to_numpy() for frame in (then, later)))
        row = monitored.sound_drift.filter(pl.col("feature") == name, pl.col("period") == date(2025, 10, 31))
        assert row["psi"][0] == pytest.approx(expected.psi)
        assert row["critical"][0] == pytest.approx(expected.critical)
        assert row["bins"][0] == expected.bins
        assert row["gaps_now"][0] == pytest.approx(later[name].null_count() / later.height)


def test_a_drifted_tape_is_named_feature_by_feature(monitored: Monitored) -> None:
    """Exactly the features that are computed from the columns the defect moved."""

    def moved(name: str) -> bool:
        feature = BY_NAME.get(name)
        reads = {name} if feature is None or feature.from_tape else columns_of(feature.sql)
        return bool(reads & MOVED) or any(moved(other) for other in reads - {name})

    newest = monitored.drift.filter(pl.col("period") == AS_OF, pl.col("kind") == "feature")
    named = set(newest.filter("drifted")["feature"])
    assert named == {name for name in newest["feature"] if moved(name)}
    assert named >= MOVED
    finding = monitored.drifted[checks.FEATURES_STABLE]
    assert not finding.passed
    assert all(name in finding.observed for name in named)
    assert {row["feature"] for row in finding.details[: len(named)]} == named
    older = monitored.drift.filter(pl.col("period") < AS_OF)
    assert not older["drifted"].any()
    assert not monitored.drifted[checks.SCORE_STABLE].passed


def test_realised_rates_are_those_of_the_sample_and_the_newest_date_waits(monitored: Monitored) -> None:
    rows = monitored.sound_realised
    sample = table_rows(monitored.platform, tables.DEVELOPMENT_SAMPLE)
    whole = rows.filter(pl.col("dimension") == "all", pl.col("alias") == "champion").sort("observation_date")
    assert whole["matured"].to_list() == [True, True, False]
    assert whole["in_training"].to_list() == [True, False, False]
    for row in whole.head(2).iter_rows(named=True):
        mine = sample.filter(pl.col("observation_date") == row["observation_date"])
        assert (row["loans"], row["defaults"]) == (mine.height, mine["default_12m"].sum())
    performance = table_rows(monitored.platform, tables.MODEL_PERFORMANCE)
    tested = performance.filter(pl.col("data_set") == "out_of_time", pl.col("model_version") == "1")
    figures = dict(tested.select("metric", "value").iter_rows())
    unseen = whole.row(1, named=True)
    for name, metric in (("auc", "auc"), ("ece", "ece"), ("mean_pd", "mean_pd"), ("observed_rate", "observed_rate")):
        assert unseen[name] == pytest.approx(figures[metric], abs=1e-9)


def test_an_unchanged_lake_is_neither_stale_nor_measured_again(monitored: Monitored) -> None:
    platform = monitored.platform
    assert monitored.stale == []
    before = table_versions(platform)
    assert run_job(platform, "refresh_gold").success
    after = table_versions(platform)
    for table in (tables.FEATURE_DRIFT, tables.MODEL_MONITORING):
        assert after[table.path] == before[table.path]


def test_a_sample_of_many_loans_tells_the_same_at_a_bounded_cost(monitored: Monitored) -> None:
    platform = monitored.platform
    limited = platform.settings.model_copy(
        update={"monitoring": platform.settings.monitoring.model_copy(update={"sample_loans": 3_000})}
    )
    drifted, realised = measured(platform.lakehouse, limited)
    whole = [row for row in realised if row["dimension"] == "all" and row["alias"] == "champion"]
    assert sum(row["loans"] for row in whole) == pytest.approx(3_000, rel=0.25)
    found: dict[str, Any] = {row["feature"]: row for row in drifted if row["period"] == AS_OF}
    assert all(found[name]["drifted"] for name in MOVED)
    assert not found["credit_history_months"]["drifted"]


def test_the_dates_that_trained_a_version_are_those_before_its_test() -> None:
    days = [date(year, 10, 31) for year in (2023, 2024, 2025)]
    tags = {"test_date": "2024-10-31", "test_set": "out_of_time"}
    assert training_dates(tags, days) == (days[0],)
    assert training_dates({**tags, "test_set": "out_of_sample"}, days) == (days[0], days[1])
