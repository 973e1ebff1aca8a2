"""The main job on a simulated portfolio: every table, every tie, and nothing twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from pyspark.sql import SparkSession

from credit_risk_assets.assets.inputs import stale_tables
from credit_risk_assets.automation.jobs import CHAMPION_KEY, MODEL_KEY
from credit_risk_assets.config import tables
from credit_risk_assets.config.settings import EclSettings
from credit_risk_assets.resources.landing import land
from credit_risk_assets.resources.mlflow import version_tags
from credit_risk_assets.resources.platform import Platform
from credit_risk_assets.tape.contract import ON_BOOK_STATUSES
from credit_risk_tests.conftest import (
    SMALL_LOANS,
    failed_checks,
    make_settings,
    run_job,
    table_rows,
    table_versions,
)

FILLED = [
    table.key
    for table in (
        tables.LOAN_TAPE,
        tables.REJECTED_RECORDS,
        tables.INGESTION_LOG,
        tables.LOAN_HISTORY,
        tables.LOANS,
        tables.PORTFOLIO_KPIS,
        tables.PORTFOLIO_CUBE,
        tables.VINTAGE_CURVES,
        tables.ROLL_RATES,
        tables.RATING_MIGRATION,
    )
]
"""From the files to the tables that need no model."""


@dataclass
class Finished:
    platform: Platform
    result: dg.ExecuteInProcessResult
    raw: pl.DataFrame


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory, simulated_tapes: list[Path], sail: SparkSession
) -> Iterator[Finished]:
    platform = Platform(make_settings(tmp_path_factory.mktemp("main")))
    for tape in simulated_tapes:
        land(platform.settings, tape)
    result = run_job(platform)
    raw = pl.concat(
        [pl.read_csv(tape, schema_overrides={"payment_history_profile": pl.String}) for tape in simulated_tapes],
        how="vertical_relaxed",
    )
    yield Finished(platform, result, raw)
    platform.close()


def on_book(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.filter(pl.col("loan_status").is_in(ON_BOOK_STATUSES))


def test_every_asset_is_materialised_and_no_error_check_fails(finished: Finished) -> None:
    assert finished.result.success
    made = {event.asset_key for event in finished.result.get_asset_materialization_events()}
    assert made == {dg.AssetKey(table.key) for table in tables.TABLES} | {MODEL_KEY, CHAMPION_KEY}
    assert "ERROR" not in failed_checks(finished.result).values()


def test_every_row_of_the_tapes_is_accounted_for(finished: Finished) -> None:
    log = table_rows(finished.platform, tables.INGESTION_LOG)
    bronze = table_rows(finished.platform, tables.LOAN_TAPE)
    assert log["rows_read"].sum() == finished.raw.height
    assert log["rows_accepted"].sum() + log["rows_rejected"].sum() == log["rows_read"].sum()
    assert bronze.height == log["rows_accepted"].sum()
    assert sorted(bronze["outstanding_balance"].to_list()) == sorted(finished.raw["outstanding_balance"].to_list())


def test_silver_holds_the_newest_row_of_each_loan(finished: Finished) -> None:
    loans = table_rows(finished.platform, tables.LOANS)
    newest = finished.raw.sort("as_of_date").group_by("loan_id").last()
    assert loans.height == newest.height
    assert loans.filter(pl.col("as_of_date") == pl.col("as_of_date").max()).height == SMALL_LOANS
    joined = loans.join(newest, "loan_id", suffix="_tape")
    assert joined.height == loans.height
    for name in ("loan_status", "current_dpd", "outstanding_balance", "interest_rate", "payment_history_profile"):
        assert joined[name].eq_missing(joined[f"{name}_tape"]).all(), name
    assert joined["as_of_date"].cast(pl.String).eq(joined["as_of_date_tape"]).all()


def test_silver_carries_thirty_features_and_more(finished: Finished) -> None:
    loans = table_rows(finished.platform, tables.LOANS)
    history = table_rows(finished.platform, tables.LOAN_HISTORY)
    features = set(loans.columns) - set(finished.raw.columns)
    assert len(features) >= 30
    assert {"risk_category", "risk_score", "loan_to_value", "debt_to_income", "dpd_bucket", "score_band"} <= features
    assert sorted(history.columns) == sorted(loans.columns)


def test_key_figures_equal_a_count_by_hand(finished: Finished) -> None:
    kpis = table_rows(finished.platform, tables.PORTFOLIO_KPIS).sort("as_of_date")
    loans = table_rows(finished.platform, tables.LOANS)
    assert kpis.height == 3
    for row in kpis.head(2).iter_rows(named=True):
        tape = on_book(finished.raw.filter(pl.col("as_of_date") == str(row["as_of_date"])))
        assert row["active_loans"] == tape.height
        assert row["portfolio_value"] == pytest.approx(tape["outstanding_balance"].sum(), rel=1e-12)
        assert row["average_dpd"] == pytest.approx(tape["current_dpd"].mean(), rel=1e-12)
        npl = tape.filter(pl.col("current_dpd") >= 90)["outstanding_balance"].sum()
        assert row["npl_ratio"] == pytest.approx(npl / row["portfolio_value"], rel=1e-12)
    newest, book = kpis.row(-1, named=True), on_book(loans)
    assert newest["active_loans"] == book.height
    assert newest["portfolio_value"] == pytest.approx(book["outstanding_balance"].sum(), rel=1e-12)
    assert newest["high_risk_loans"] == book.filter(pl.col("risk_category").is_in(["High", "Very High"])).height
    assert newest["expected_loss"] == pytest.approx(book["expected_loss_proxy"].sum(), rel=1e-12)


def test_the_default_rate_is_the_share_that_reached_ninety_days_within_the_year(finished: Finished) -> None:
    kpis = table_rows(finished.platform, tables.PORTFOLIO_KPIS).sort("as_of_date")
    dates = [str(day) for day in kpis["as_of_date"]]
    assert kpis["default_rate"].to_list()[0] is None
    for start, end, rate in zip(dates, dates[1:], kpis["default_rate"].to_list()[1:], strict=False):
        begun = on_book(finished.raw.filter((pl.col("as_of_date") == start) & (pl.col("current_dpd") < 90)))
        later = finished.raw.filter(pl.col("as_of_date") == end).select(
            "loan_id", pl.col("payment_history_profile").str.slice(0, 12).str.contains("[3-6GHJKL]").alias("bad")
        )
        joined = begun.join(later, "loan_id", "left").with_columns(pl.col("bad").fill_null(False))
        assert rate == pytest.approx(joined["bad"].mean(), rel=1e-12)


def test_the_cube_sums_to_the_key_figures_in_every_month(finished: Finished) -> None:
    cube = table_rows(finished.platform, tables.PORTFOLIO_CUBE)
    for row in table_rows(finished.platform, tables.PORTFOLIO_KPIS).iter_rows(named=True):
        month = cube.filter(pl.col("as_of_month") == row["as_of_date"].strftime("%Y-%m"))
        assert on_book(month)["loans"].sum() == row["active_loans"]
        assert on_book(month)["balance"].sum() == pytest.approx(row["portfolio_value"], rel=1e-12)
        started, defaulted = month["observed_start_loans"].sum(), month["observed_defaults"].sum()
        assert row["default_rate"] == (pytest.approx(defaulted / started) if started else None)


def test_each_loan_on_book_has_one_score_and_one_in_default_scores_one(finished: Finished) -> None:
    book = on_book(table_rows(finished.platform, tables.LOANS))
    scores = table_rows(finished.platform, tables.LOAN_SCORES)
    assert sorted(scores["loan_id"]) == sorted(book["loan_id"])
    assert ((scores["pd_12m"] > 0) & (scores["pd_12m"] <= 1)).all()
    defaulted = scores.join(book.filter(pl.col("current_dpd") >= 90), "loan_id", "semi")
    assert defaulted.height > 0
    assert set(defaulted["pd_12m"]) == {1.0}
    assert set(defaulted["risk_rating"]) == {"Very High"}
    assert set(scores["model_version"]) == {"1"}


def test_each_loan_on_book_has_one_expected_credit_loss_of_its_stage(finished: Finished) -> None:
    book = on_book(table_rows(finished.platform, tables.LOANS))
    losses = table_rows(finished.platform, tables.EXPECTED_CREDIT_LOSS)
    assert sorted(losses["loan_id"]) == sorted(book["loan_id"])
    assert losses["ead"].sum() == pytest.approx(book["outstanding_balance"].sum(), rel=1e-12)
    assert set(losses["stage"]) == {1, 2, 3}
    scores = table_rows(finished.platform, tables.LOAN_SCORES).select("loan_id", score="pd_12m")
    joined = losses.join(book, "loan_id").join(scores, "loan_id")
    assert (joined["pd_12m"] == joined["score"]).all()
    assert (joined["expected_loss_12m"] == joined["pd_12m"] * joined["lgd_estimate"] * joined["ead"]).all()
    late = joined.filter(pl.col("current_dpd").is_between(30, 89) & (pl.col("loan_status") == "delinquent"))
    assert late.height > 0
    assert set(late["stage"]) == {2}
    assert set(joined.filter(pl.col("current_dpd") >= 90)["stage"]) == {3}
    performing = losses.filter(pl.col("stage") == 1)
    assert (performing["ecl"] == performing["ecl_12m"]).all()
    risen = joined.filter(pl.col("significant_increase") == "PD has risen")
    assert risen.height > 0
    history = table_rows(finished.platform, tables.LOAN_HISTORY)
    first = history.sort("as_of_date").group_by("loan_id").first().select("loan_id", first_proxy="pd_proxy")
    compared = risen.join(first, "loan_id")
    assert (compared["pd_proxy"] > compared["first_proxy"]).all()


def test_delinquency_ties_with_silver(finished: Finished) -> None:
    loans = table_rows(finished.platform, tables.LOANS)
    curves = table_rows(finished.platform, tables.VINTAGE_CURVES)
    assert curves.filter(pl.col("months_on_book") == 0)["loans"].sum() == loans.height
    quarter = loans.filter(pl.col("origination_quarter") == "2024-Q4")
    # Position 1 is the newest month: the oldest late code of a loan that ever was 90 days late, from the end.
    bad = quarter.filter(pl.col("payment_history_profile").str.contains("[3-6GHJKL]"))
    oldest = bad["payment_history_profile"].str.replace("[^3-6GHJKL]*$", "").str.len_chars().cast(pl.Int32)
    ages = bad["months_on_book"] + 1 - oldest
    point = curves.filter(
        pl.col("origination_quarter") == "2024-Q4", pl.col("months_on_book") == 18, pl.col("mature"), pl.col("complete")
    )
    assert point["loans_observed"].sum() == quarter.height
    assert point["ever_90"].sum() == ages.filter(ages <= 18).len() > 0
    rolls = table_rows(finished.platform, tables.ROLL_RATES)
    newest = rolls.filter(pl.col("month") == "2026-10")
    taped = loans.filter(pl.col("as_of_date") == pl.col("as_of_date").max())
    assert newest["loans"].sum() == taped.height
    late = newest.filter(pl.col("to_bucket") == "60-89")["loans"].sum()
    assert late == taped.filter(pl.col("payment_history_profile").str.starts_with("2")).height > 0
    assert newest["balance"].sum() == pytest.approx(taped["outstanding_balance"].sum(), rel=1e-12)
    assert rolls["month"].n_unique() == 36
    moves = table_rows(finished.platform, tables.RATING_MIGRATION)
    end = moves.filter(pl.col("to_date") == pl.col("to_date").max())
    assert end["to_balance"].sum() == pytest.approx(on_book(loans)["outstanding_balance"].sum(), rel=1e-12)
    booked = end.filter(pl.col("to_state").is_in([*tables.RISK_CATEGORIES, "Default"]))
    assert booked["loans"].sum() == on_book(taped).height


def test_other_scenarios_make_the_expected_credit_loss_stale_and_nothing_else(finished: Finished) -> None:
    settings = finished.platform.settings
    other = settings.model_copy(update={"ecl": EclSettings(significant_ratio=3)})
    assert stale_tables(finished.platform.lake_log, settings) == []
    assert stale_tables(finished.platform.lake_log, other) == [tables.EXPECTED_CREDIT_LOSS.path]


def test_the_model_is_registered_tested_out_of_time_and_no_leak(finished: Finished) -> None:
    performance = table_rows(finished.platform, tables.MODEL_PERFORMANCE)
    tested = performance.filter(pl.col("data_set") == "out_of_time")
    figures = dict(zip(tested["metric"], tested["value"], strict=True))
    assert 0.75 < figures["auc"] < 0.93
    validation = table_rows(finished.platform, tables.MODEL_VALIDATION)
    assert "leak" not in set(validation["analysis"])
    assert {"segment", "rating", "fairness", "benchmark", "canary", "stability"} <= set(validation["analysis"])
    assert version_tags(finished.platform.settings)["test_date"] == "2025-10-31"


def test_no_raw_customer_id_is_anywhere_under_the_home_but_the_landing_folder(finished: Finished) -> None:
    home = finished.platform.settings.home
    customers = set(finished.raw["customer_id"].head(50).to_list())
    for table in tables.TABLES:
        for name, column in table_rows(finished.platform, table).to_dict().items():
            if column.dtype == pl.String:
                assert not customers & set(column.to_list()), f"{table.path}.{name}"
    needles = [customer.encode() for customer in customers]
    for file in home.rglob("*"):
        if file.is_file() and "landing" not in file.relative_to(home).parts and file.suffix != ".parquet":
            content = file.read_bytes()
            assert not any(needle in content for needle in needles), file


def test_a_second_run_with_nothing_new_changes_no_table_but_the_register_of_checks(finished: Finished) -> None:
    before = table_versions(finished.platform)
    result = run_job(finished.platform)
    assert result.success
    after = table_versions(finished.platform)
    assert {path for path in before if before[path] != after[path]} == {tables.QUALITY_RESULTS.path}


def test_every_check_leaves_a_row_in_the_register(finished: Finished) -> None:
    register = table_rows(finished.platform, tables.QUALITY_RESULTS).filter(pl.col("run_id") == finished.result.run_id)
    evaluated = finished.result.get_asset_check_evaluations()
    assert len(evaluated) >= 15
    assert {(row["asset"], row["check_name"], row["passed"]) for row in register.iter_rows(named=True)} == {
        (check.asset_key.to_user_string(), check.check_name, check.passed) for check in evaluated
    }


def test_a_run_before_the_first_tape_is_no_error_and_the_tables_take_the_tapes_later(
    tmp_path: Path, sail: SparkSession, simulated_tapes: list[Path]
) -> None:
    platform = Platform(make_settings(tmp_path))
    assert run_job(platform).success
    assert table_rows(platform, tables.ROLL_RATES).height == 0
    assert table_rows(platform, tables.PORTFOLIO_CUBE).height == 0
    land(platform.settings, simulated_tapes[-1])
    filled = run_job(platform, asset_selection=[dg.AssetKey(key) for key in FILLED])
    assert filled.success
    assert table_rows(platform, tables.PORTFOLIO_CUBE)["loans"].sum() > 0
    assert table_rows(platform, tables.ROLL_RATES).height > 0
    platform.close()
