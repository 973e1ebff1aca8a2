"""Each check, proven on a lake that violates it: it passes before the damage and fails after."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake
from pyspark.sql import SparkSession

from credit_risk_assets.checks import bronze, gold, model, silver
from credit_risk_assets.checks.framework import Check, Finding
from credit_risk_assets.config import tables
from credit_risk_assets.config.settings import ModelSettings, Settings
from credit_risk_assets.config.tables import Table
from credit_risk_assets.credit.rating import risk_rating
from credit_risk_assets.definitions import build_defs
from credit_risk_assets.resources.lakehouse import Lakehouse
from credit_risk_assets.resources.platform import Platform
from credit_risk_tests.conftest import failed_checks, make_settings, run_job, write_tape

TODAY = date(2026, 11, 23)
LOANS = 40


@dataclass
class Lake:
    """A copy of the sound lake that a test may damage."""

    platform: Platform

    @property
    def lakehouse(self) -> Lakehouse:
        return self.platform.lakehouse

    @property
    def settings(self) -> Settings:
        return self.platform.settings

    def delta(self, table: Table) -> DeltaTable:
        return DeltaTable(self.lakehouse.path(table))

    def rows(self, table: Table) -> pl.DataFrame:
        return pl.DataFrame(self.delta(table).scan())

    def replace(self, table: Table, frame: pl.DataFrame) -> None:
        schema = self.delta(table).to_pyarrow_dataset().schema
        write_deltalake(self.lakehouse.path(table), frame.to_arrow().cast(schema), mode="overwrite")

    def change(self, table: Table, *columns: pl.Expr) -> None:
        self.replace(table, self.rows(table).with_columns(*columns))

    def repeat_first(self, table: Table) -> None:
        frame = self.rows(table)
        self.replace(table, pl.concat([frame, frame.head(1)]))

    def drop_first(self, table: Table) -> None:
        self.replace(table, self.rows(table).slice(1))

    def findings(self) -> dict[Check, Finding]:
        found = [
            *bronze.bronze_findings(self.lakehouse, self.settings, TODAY),
            *silver.history_findings(self.lakehouse, self.settings),
            *silver.loan_findings(self.lakehouse),
            *gold.portfolio_findings(self.lakehouse),
            *gold.sample_findings(self.lakehouse),
            *gold.score_findings(self.lakehouse),
        ]
        return {finding.check: finding for finding in found}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory, sail: SparkSession) -> Iterator[Settings]:
    """A small lake with three yearly tapes, a rejected row, and scores; every check passes on it."""
    platform = Platform(make_settings(tmp_path_factory.mktemp("sound")))
    for year in (2024, 2025, 2026):
        # One loan defaults in each year after the first, so that both years have a default rate.
        bad = {n for n in (0, 1) if year >= 2025 + n}
        rows: list[dict[str, Any]] = [
            {
                "loan_id": f"L{n:02d}",
                "customer_id": f"C{n}",
                "as_of_date": f"{year}-10-31",
                "origination_date": "2023-01-15",
                "loan_status": "default" if n in bad else "current",
                "current_dpd": 95 if n in bad else 0,
                "payment_history_profile": ("3210" if n in bad else "") + "0" * 12,
            }
            for n in range(LOANS)
        ]
        if year == 2026:
            rows.append({"loan_id": "BAD", "loan_amount": "-1"})
        write_tape(platform.settings.landing_folder / f"{year}.csv", rows)
    assert run_job(platform).success
    _score(platform)
    platform.close()
    return platform.settings


def _score(platform: Platform) -> None:
    """Scores without a model: 40 loans train none."""
    book = platform.lakehouse.read(tables.LOANS).select("loan_id", "as_of_date", "current_dpd").toArrow()
    frame = pl.DataFrame(pl.from_arrow(book)).sort("loan_id").with_row_index("n")
    pds = pl.when(pl.col("current_dpd") >= 90).then(1.0).otherwise(0.005 + pl.col("n") * 0.02)
    frame = frame.with_columns(pds.alias("pd_12m"))
    bounds = platform.settings.model.rating_pd_bounds
    frame = frame.with_columns(
        pl.Series("risk_rating", list(risk_rating(frame["pd_12m"].to_numpy(), bounds)), pl.String),
        pl.lit("1").alias("model_version"),
    )
    wanted = frame.select("loan_id", "as_of_date", "pd_12m", "risk_rating", "model_version").to_arrow()
    platform.lakehouse.overwrite(tables.LOAN_SCORES, platform.lakehouse.session.createDataFrame(wanted))


@pytest.fixture
def lake(sound: Settings, tmp_path: Path, sail: SparkSession) -> Iterator[Lake]:
    home = tmp_path / "damaged"
    shutil.copytree(sound.home, home)
    platform = Platform(make_settings(home))
    yield Lake(platform)
    platform.close()


def test_every_check_passes_on_the_sound_lake(lake: Lake) -> None:
    failed = {check.name: finding.observed for check, finding in lake.findings().items() if not finding.passed}
    assert failed == {}


def _first(name: str, value: Any) -> pl.Expr:
    return pl.when(pl.int_range(pl.len()) == 0).then(value).otherwise(pl.col(name)).alias(name)


DAMAGE: list[tuple[Check, Callable[[Lake], None]]] = [
    (bronze.ROWS_TIE, lambda lake: lake.drop_first(tables.LOAN_TAPE)),
    (bronze.REQUIRED_PRESENT, lambda lake: lake.change(tables.LOAN_TAPE, _first("interest_rate", None))),
    (bronze.REQUIRED_PRESENT, lambda lake: lake.change(tables.LOAN_TAPE, _first("loan_id", pl.lit("  ")))),
    (bronze.VALUES_IN_RANGE, lambda lake: lake.change(tables.LOAN_TAPE, _first("loan_amount", -1.0))),
    (bronze.VALUES_IN_RANGE, lambda lake: lake.change(tables.LOAN_TAPE, _first("loan_purpose", pl.lit("yacht")))),
    (bronze.PSEUDONYMS, lambda lake: lake.change(tables.LOAN_TAPE, _first("customer_id", pl.lit("C1")))),
    (bronze.DATES_IN_ORDER, lambda lake: lake.change(tables.LOAN_TAPE, _first("origination_date", date(2026, 12, 1)))),
    (bronze.DUPLICATES, lambda lake: [lake.repeat_first(tables.LOAN_TAPE) for _ in range(3)] and None),
    (bronze.LOG_TIES, lambda lake: lake.change(tables.INGESTION_LOG, _first("rows_read", 1))),
    (bronze.CONTENT_ONCE, lambda lake: lake.repeat_first(tables.INGESTION_LOG)),
    (bronze.FILES_READABLE, lambda lake: lake.change(tables.INGESTION_LOG, pl.lit("refused").alias("outcome"))),
    (
        bronze.NEW_COLUMNS,
        lambda lake: lake.change(tables.INGESTION_LOG, pl.Series("new_columns", [["branch"]] * 3)),
    ),
    (bronze.REJECTED_TIE, lambda lake: lake.drop_first(tables.REJECTED_RECORDS)),
    (
        bronze.REJECTED_REASONED,
        lambda lake: lake.change(tables.REJECTED_RECORDS, pl.Series("reasons", [[]], pl.List(pl.String))),
    ),
    (
        bronze.REJECTED_SHARE,
        lambda lake: lake.change(tables.INGESTION_LOG, pl.lit(30).alias("rows_rejected")),
    ),
    (silver.LOAN_ONCE, lambda lake: lake.repeat_first(tables.LOANS)),
    (silver.LOANS_COMPLETE, lambda lake: lake.drop_first(tables.LOANS)),
    (silver.LATEST_WINS, lambda lake: lake.change(tables.LOANS, _first("as_of_date", date(2024, 10, 31)))),
    (silver.FEATURES_PRESENT, lambda lake: lake.change(tables.LOANS, _first("risk_score", None))),
    (silver.FEATURES_PRESENT, lambda lake: lake.change(tables.LOANS, pl.lit(0.0).alias("lgd_estimate"))),
    (silver.STATUS_FITS_DPD, lambda lake: lake.change(tables.LOANS, pl.lit(45).alias("current_dpd"))),
    (silver.PROFILE_FITS_DPD, lambda lake: lake.change(tables.LOANS, pl.lit("2000").alias("payment_history_profile"))),
    (silver.BALANCE_FITS_AMOUNT, lambda lake: lake.change(tables.LOANS, _first("outstanding_balance", 1e6))),
    (silver.NONE_VANISHED, lambda lake: lake.change(tables.LOANS, _first("as_of_date", date(2025, 10, 31)))),
    (silver.HISTORY_ONCE, lambda lake: lake.repeat_first(tables.LOAN_HISTORY)),
    (silver.HISTORY_COMPLETE, lambda lake: lake.drop_first(tables.LOAN_HISTORY)),
    (
        silver.VOLUME_STEADY,
        lambda lake: lake.replace(
            tables.LOAN_HISTORY,
            lake.rows(tables.LOAN_HISTORY).filter(
                (pl.col("as_of_date") < date(2026, 10, 31)) | (pl.col("loan_id") < "L10")
            ),
        ),
    ),
    (gold.KPI_LOANS, lambda lake: lake.change(tables.PORTFOLIO_KPIS, pl.col("active_loans") + 1)),
    (gold.KPI_BALANCE, lambda lake: lake.change(tables.PORTFOLIO_KPIS, pl.col("portfolio_value") * 1.000001)),
    (gold.KPI_RANGES, lambda lake: lake.change(tables.PORTFOLIO_KPIS, pl.lit(1.2).alias("npl_ratio"))),
    (gold.DEFAULT_RATE, lambda lake: lake.change(tables.PORTFOLIO_KPIS, pl.lit(0.9).alias("default_rate"))),
    (gold.CUBE_LOANS, lambda lake: lake.change(tables.PORTFOLIO_CUBE, pl.col("loans") + 1)),
    (gold.CUBE_BALANCE, lambda lake: lake.change(tables.PORTFOLIO_CUBE, pl.col("balance") + 1)),
    (gold.CUBE_SEGMENTS, lambda lake: lake.repeat_first(tables.PORTFOLIO_CUBE)),
    (gold.SAMPLE_ONCE, lambda lake: lake.repeat_first(tables.DEVELOPMENT_SAMPLE)),
    (gold.SAMPLE_PERFORMING, lambda lake: lake.change(tables.DEVELOPMENT_SAMPLE, _first("current_dpd", 120))),
    (
        gold.SAMPLE_MATURE,
        lambda lake: lake.change(tables.DEVELOPMENT_SAMPLE, pl.lit(date(2026, 1, 31)).alias("observation_date")),
    ),
    (gold.SCORED_ONCE, lambda lake: lake.repeat_first(tables.LOAN_SCORES)),
    (gold.SCORED_ONCE, lambda lake: lake.drop_first(tables.LOAN_SCORES)),
    (gold.PD_RANGE, lambda lake: lake.change(tables.LOAN_SCORES, _first("pd_12m", 0.0))),
    (gold.PD_RANGE, lambda lake: lake.change(tables.LOAN_SCORES, _first("risk_rating", pl.lit("AAA")))),
    (gold.DEFAULTED_RATED, lambda lake: lake.change(tables.LOAN_SCORES, pl.lit(0.2).alias("pd_12m"))),
    (gold.RATINGS_RISE, lambda lake: lake.change(tables.LOAN_SCORES, (1.001 - pl.col("pd_12m")).alias("pd_12m"))),
]


@pytest.mark.parametrize(("check", "damage"), DAMAGE, ids=[f"{n}-{check.name}" for n, (check, _) in enumerate(DAMAGE)])
def test_a_check_fails_on_a_lake_that_violates_it(lake: Lake, check: Check, damage: Callable[[Lake], None]) -> None:
    damage(lake)
    finding = lake.findings()[check]
    assert not finding.passed
    assert finding.observed
    assert finding.expected


def test_an_old_tape_is_reported(lake: Lake) -> None:
    later = {f.check: f for f in bronze.bronze_findings(lake.lakehouse, lake.settings, TODAY + timedelta(days=60))}
    assert not later[bronze.FRESHNESS].passed
    assert "83 days old" in later[bronze.FRESHNESS].observed


def test_failing_rows_are_counted_and_named(lake: Lake) -> None:
    lake.change(tables.LOANS, pl.when(pl.col("loan_id") < "L03").then(1e6).otherwise(5.0).alias("outstanding_balance"))
    finding = lake.findings()[silver.BALANCE_FITS_AMOUNT]
    assert (finding.failed_rows, finding.total_rows) == (3, LOANS)
    assert finding.examples == ["L00", "L01", "L02"]


def performance(**figures: float) -> list[dict[str, Any]]:
    sound = {"auc": 0.87, "ece": 0.01, "mean_pd": 0.10, "observed_rate": 0.10, "leak_findings": 0.0}
    now = datetime(2026, 11, 23, tzinfo=UTC)

    def row(data_set: str, metric: str, value: float) -> dict[str, Any]:
        return {"model_version": "1", "data_set": data_set, "metric": metric, "value": value, "computed_at": now}

    tested = [row("out_of_time", name, value) for name, value in {**sound, **figures}.items() if name != "train"]
    return [*tested, row("train", "auc", figures.get("train", 0.89))]


@pytest.mark.parametrize(
    ("check", "figures"),
    [
        (model.NO_LEAK, {"leak_findings": 1.0}),
        (model.AUC_IN_RANGE, {"auc": 0.54}),
        (model.AUC_IN_RANGE, {"auc": 0.99}),
        (model.CALIBRATED, {"ece": 0.2}),
        (model.MEAN_PD, {"mean_pd": 0.47}),
        (model.NOT_OVERFITTED, {"train": 0.99}),
    ],
)
def test_a_check_fails_on_a_model_that_violates_it(check: Check, figures: dict[str, float]) -> None:
    before = {f.check: f for f in model.model_findings(performance(), ModelSettings())}
    after = {f.check: f for f in model.model_findings(performance(**figures), ModelSettings())}
    assert before[check].passed
    assert not after[check].passed


def test_every_declared_check_is_proven_here() -> None:
    declared = {
        *bronze.CHECKS,
        *silver.HISTORY_CHECKS,
        *silver.LOAN_CHECKS,
        *gold.PORTFOLIO_CHECKS,
        *gold.SAMPLE_CHECKS,
        *gold.SCORE_CHECKS,
        *model.CHECKS,
    }
    assert declared - {check for check, _ in DAMAGE} - set(model.CHECKS) == {bronze.FRESHNESS}
    keys = {(check.asset, check.name) for check in declared}
    assert {(tuple(k.asset_key.path), k.name) for k in build_defs().resolve_asset_graph().asset_check_keys} == keys


def test_a_failing_error_check_stops_what_comes_after_it_and_is_recorded(lake: Lake) -> None:
    lake.change(tables.LOAN_TAPE, _first("customer_id", pl.lit("C1")))
    write_tape(lake.settings.landing_folder / "next.csv", [{"loan_id": "NEXT"}])
    result = run_job(lake.platform)
    assert not result.success
    assert failed_checks(result)["bronze/loan_tape customers_pseudonymised"] == "ERROR"
    assert "NEXT" in lake.rows(tables.LOAN_TAPE)["loan_id"].to_list()
    assert "NEXT" not in lake.rows(tables.LOANS)["loan_id"].to_list()
    register = lake.rows(tables.QUALITY_RESULTS).filter(pl.col("run_id") == result.run_id)
    failed = register.filter(~pl.col("passed"))
    assert "customers_pseudonymised" in failed["check_name"].to_list()
