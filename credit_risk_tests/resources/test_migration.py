"""A lake that the first release wrote is read and continued by the code of today."""

from __future__ import annotations

import csv
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from pyspark.sql import SparkSession

from credit_risk_assets.config import tables
from credit_risk_assets.config.tables import Table
from credit_risk_assets.resources.landing import land
from credit_risk_assets.resources.platform import Platform
from credit_risk_assets.resources.rejected import rejected_rows
from credit_risk_assets.resources.requeue import export_rejected, requeue_repaired
from credit_risk_assets.tape.pseudonym import pseudonym
from credit_risk_tests.conftest import failed_checks, make_settings, run_job, table_rows, table_versions, write_tape
from credit_risk_tests.fixtures.first_release_tapes import LOANS, tape_rows

FIXTURE = Path(__file__).parents[1] / "fixtures" / "first_release_home.tar.gz"
KEY = b"the-made-up-key-of-the-migration-test"
APPENDED = (tables.LOAN_TAPE, tables.REJECTED_RECORDS, tables.INGESTION_LOG, tables.QUALITY_RESULTS)
KEYS: dict[Table, list[str]] = {
    tables.LOAN_TAPE: ["_source_sha256", "_row_number"],
    tables.REJECTED_RECORDS: ["_source_sha256", "_row_number"],
    tables.INGESTION_LOG: ["source_sha256"],
    tables.QUALITY_RESULTS: ["run_id", "asset", "check_name"],
    tables.LOAN_HISTORY: ["loan_id", "as_of_date"],
    tables.LOANS: ["loan_id"],
}


@dataclass
class Continued:
    platform: Platform
    before: dict[Table, pl.DataFrame]
    result: dg.ExecuteInProcessResult


def rows(platform: Platform, table: Table) -> pl.DataFrame:
    return table_rows(platform, table).sort(KEYS[table])


@pytest.fixture(scope="module")
def continued(tmp_path_factory: pytest.TempPathFactory, sail: SparkSession) -> Iterator[Continued]:
    """The old lake after one job of today: the next tape, with 2 new loans, one correction and the old columns."""
    home = tmp_path_factory.mktemp("migration") / "home"
    with tarfile.open(FIXTURE) as archive:
        archive.extractall(home, filter="data")
    platform = Platform(make_settings(home))
    before = {table: rows(platform, table) for table in KEYS}
    following = [{**row, "as_of_date": "2026-11-15", "outstanding_balance": 77} for row in tape_rows(2026)]
    following += [{**following[0], "loan_id": "NEW-1"}, {**following[0], "loan_id": "NEW-2", "loan_amount": "-1"}]
    following.append({**tape_rows(2026)[3], "outstanding_balance": 33})
    write_tape(home / "landing" / "next.csv", following)
    yield Continued(platform, before, run_job(platform))
    platform.close()


def test_the_old_lake_holds_what_this_test_needs() -> None:
    """The fixture is old, small, and names no machine."""
    assert FIXTURE.stat().st_size < 300_000
    with tarfile.open(FIXTURE) as archive:
        logs = [member for member in archive.getmembers() if "_delta_log" in member.name and member.isfile()]
        assert len(logs) > 20
        for member in logs:
            stream = archive.extractfile(member)
            assert stream is not None
            text = stream.read().decode()
            assert text.count("file://") == text.count("file:///first_home/")


def test_todays_job_runs_on_the_old_lake_and_every_error_check_passes(continued: Continued) -> None:
    assert continued.result.success, [event for event in continued.result.all_events if event.is_failure]
    assert "ERROR" not in failed_checks(continued.result).values()
    made = {event.asset_key for event in continued.result.get_asset_materialization_events()}
    # The old lake is too small for a model, so nothing is scored and no loss expected; the others are made.
    of_a_model = {
        tables.LOAN_SCORES,
        tables.CHALLENGER_SCORES,
        tables.EXPECTED_CREDIT_LOSS,
        tables.MODEL_PERFORMANCE,
        tables.MODEL_VALIDATION,
        tables.MODEL_DECISIONS,
        tables.FEATURE_DRIFT,
        tables.MODEL_MONITORING,
    }
    without_model = set(tables.TABLES) - of_a_model
    assert made >= {dg.AssetKey(table.key) for table in without_model}


@pytest.mark.parametrize("table", APPENDED, ids=lambda table: table.path)
def test_old_rows_are_there_unchanged(continued: Continued, table: Table) -> None:
    before, after = continued.before[table], rows(continued.platform, table)
    assert 0 < before.height < after.height
    kept = after.join(before, on=KEYS[table], how="semi", nulls_equal=True)
    assert_frame_equal(kept.select(before.columns).sort(KEYS[table]), before)


def test_the_loans_history_of_the_first_release_is_kept_and_continued(continued: Continued) -> None:
    before, after = continued.before[tables.LOAN_HISTORY], rows(continued.platform, tables.LOAN_HISTORY)
    assert (before.height, after.height) == (2 * LOANS - 1, 2 * LOANS - 1 + LOANS + 1)
    corrected = pl.col("outstanding_balance") == 33
    assert after.filter(corrected).select("loan_id").to_series().to_list() == ["L003"]
    kept = after.join(before, on=["loan_id", "as_of_date"], how="semi").filter(~corrected).select(before.columns)
    untouched = before.join(kept, on=["loan_id", "as_of_date"], how="semi")
    assert untouched.height == before.height - 1
    assert_frame_equal(kept, untouched)


def test_new_rows_arrive_under_the_old_pseudonyms_and_the_ties_hold(continued: Continued) -> None:
    platform = continued.platform
    loans = rows(platform, tables.LOANS)
    assert loans.height == LOANS + 1
    newest = loans.filter(pl.col("as_of_date") == pl.col("as_of_date").max())
    assert set(newest["outstanding_balance"]) == {77.0}
    assert newest.filter(pl.col("loan_id") == "NEW-1")["customer_id"].to_list() == [pseudonym("CUSTOMER-000", KEY)]
    was = continued.before[tables.LOANS].select("loan_id", "customer_id", "branch")
    both = loans.join(was, on="loan_id", suffix="_before")
    assert both.height == LOANS
    assert (both["customer_id"] == both["customer_id_before"]).all()
    log, bronze = rows(platform, tables.INGESTION_LOG), rows(platform, tables.LOAN_TAPE)
    assert (log["rows_read"] == log["rows_accepted"] + log["rows_rejected"]).all()
    assert bronze.height == log["rows_accepted"].sum()
    assert rows(platform, tables.REJECTED_RECORDS).height == log["rows_rejected"].sum() == 3
    assert bronze["loan_id"].n_unique() == loans.height
    assert bronze.n_unique(["loan_id", "as_of_date"]) == rows(platform, tables.LOAN_HISTORY).height
    kpis = table_rows(platform, tables.PORTFOLIO_KPIS).sort("as_of_date").row(-1, named=True)
    assert kpis["loans"] == newest.height


def test_no_file_of_the_old_lake_is_taken_again_when_it_lands_again(continued: Continued) -> None:
    platform = continued.platform
    run_job(platform)
    before = table_versions(platform)
    folder = platform.settings.landing_folder
    for year in (2025, 2026):
        again = folder.parent / f"again_{year}.csv"
        shutil.copyfile(folder / f"tape_{year}.csv", again)
        land(platform.settings, again)
    assert run_job(platform).success
    changed = {path for path, version in table_versions(platform).items() if version != before[path]}
    assert changed == {tables.QUALITY_RESULTS.path}


def test_rows_that_the_first_release_rejected_find_their_way_back(continued: Continued, tmp_path: Path) -> None:
    platform, settings = continued.platform, continued.platform.settings
    file = tmp_path / "rejected.csv"
    assert [record.source_file for record in export_rejected(settings, file, "tape_2026.csv")] == ["tape_2026.csv"] * 2
    with file.open(encoding="utf-8-sig", newline="") as source:
        cells = list(csv.DictReader(source))
    assert cells[1]["_line"] == "L060,CUSTOMER-060,2026-10-31"
    cells[0]["loan_amount"] = "6750"
    with file.open("w", newline="") as out:
        writer = csv.DictWriter(out, list(cells[0]))
        writer.writeheader()
        writer.writerow(cells[0])
    assert requeue_repaired(settings, file).problems == []
    assert run_job(platform).success
    repaired = table_rows(platform, tables.LOAN_HISTORY).filter(loan_id="L007").sort("as_of_date")
    assert repaired["as_of_date"].cast(pl.String).to_list() == ["2025-10-31", "2026-10-31", "2026-11-15"]
    assert repaired["customer_id"].n_unique() == 1
    assert len(rejected_rows(settings).open) == 2
