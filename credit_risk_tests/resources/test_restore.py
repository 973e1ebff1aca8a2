"""Going back: a table, or bronze and silver together, take an earlier version and catch up again without loss."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable

from credit_risk_assets.assets.inputs import stale_tables
from credit_risk_assets.config import tables
from credit_risk_assets.resources import restore as restoring
from credit_risk_assets.resources.lake_log import LakehouseError, LakeLog
from credit_risk_assets.resources.platform import Platform
from credit_risk_assets.resources.restore import restore_lake, restore_table, run_restore
from credit_risk_tests.conftest import Run, failed_checks, run_job, table_rows

Tape = Callable[..., Path]
TIES = {
    "bronze/loan_tape rows_tie_with_log",
    "bronze/rejected_records rejected_tie_with_log",
    "silver/loans every_loan_of_bronze",
    "silver/loan_history every_state_of_bronze",
}


def refresh(platform: Platform, job: str = "refresh_lake") -> None:
    result = run_job(platform, job)
    assert result.success
    assert not TIES & set(failed_checks(result))


def logged_at(platform: Platform, place: int) -> datetime:
    """When the log's commit after so many files was made."""
    history = platform.lake_log.history(tables.INGESTION_LOG)
    return sorted(entry.committed_at for entry in history)[place]


def facts(platform: Platform) -> dict[str, pl.DataFrame]:
    own = {"_ingested_at", "_run_id"}
    found = {}
    for table in (tables.LOAN_TAPE, tables.LOAN_HISTORY, tables.LOANS):
        rows = table_rows(platform, table)
        names = sorted(set(rows.columns) - own)
        found[table.path] = rows.select(names).sort("loan_id", "as_of_date")
    return found


@pytest.fixture
def three_files(platform: Platform, tape: Tape) -> Platform:
    """A full tape, then in a second run a wrong one and changes."""
    tape("1_full.csv", [{"loan_id": f"L{n}"} for n in range(5)] + [{"loan_id": "BAD", "loan_amount": "-1"}])
    refresh(platform)
    tape(
        "2_wrong.csv", [{"loan_id": f"L{n}", "as_of_date": "2026-11-15", "outstanding_balance": "1"} for n in range(4)]
    )
    tape(
        "3_more.csv",
        [{"loan_id": "NEW", "as_of_date": "2026-11-16"}, {"loan_id": "B2", "term_months": "0"}],
        changes=True,
    )
    refresh(platform)
    return platform


def test_a_silver_table_goes_back_and_catches_up(three_files: Platform) -> None:
    platform = three_files
    expected = facts(platform)
    for table in (tables.LOANS, tables.LOAN_HISTORY):
        done = restore_table(platform.lake_log, table, 0)
        assert (done.version, platform.lake_log.row_count(table)) == (0, 5)
        assert stale_tables(platform.lake_log, platform.settings)
        refresh(platform, "main")
        for name, rows in facts(platform).items():
            assert rows.equals(expected[name]), (table.path, name)
    assert stale_tables(platform.lake_log, platform.settings) == []


def test_bronze_and_silver_go_back_together_and_a_file_that_stays_away_is_gone(three_files: Platform) -> None:
    platform = three_files
    first_file = logged_at(platform, 1)
    (platform.settings.landing_folder / "2_wrong.csv").unlink()
    platform.close()  # the command waits for other writers to end
    told = list(run_restore(platform.settings, None, None, first_file.isoformat()))
    assert [line.split(":")[0] for line in told[:5]] == [
        "silver/loans",
        "silver/loan_history",
        "bronze/ingestion_log",
        "bronze/rejected_records",
        "bronze/loan_tape",
    ]
    assert told[5] == "2_wrong.csv is no longer in the lake; land it again if it should be"
    assert told[6].startswith("changes/3_more.csv lies in the landing folder and is taken again by the next refresh")
    assert table_rows(platform, tables.LOAN_TAPE).height == 5
    assert table_rows(platform, tables.REJECTED_RECORDS).height == 1
    assert table_rows(platform, tables.LOANS)["outstanding_balance"].to_list() == [6000.25] * 5
    refresh(platform, "main")
    log = table_rows(platform, tables.INGESTION_LOG)
    assert sorted(log["source_file"].to_list()) == ["1_full.csv", "changes/3_more.csv"]
    assert sorted(table_rows(platform, tables.LOANS)["loan_id"]) == ["L0", "L1", "L2", "L3", "L4", "NEW"]
    assert table_rows(platform, tables.REJECTED_RECORDS).height == 2
    kpis = table_rows(platform, tables.PORTFOLIO_KPIS).sort("as_of_date")
    assert kpis["active_loans"].to_list()[-1] == 6


def test_a_time_between_two_files_of_one_run_empties_the_silver_that_had_neither(
    platform: Platform, tape: Tape
) -> None:
    tape("1.csv", [{"loan_id": "A"}])
    tape("2.csv", [{"loan_id": "B"}])
    refresh(platform)
    expected = facts(platform)
    restore_lake(platform.lake_log, logged_at(platform, 1))
    assert table_rows(platform, tables.LOAN_TAPE)["loan_id"].to_list() == ["A"]
    assert platform.lake_log.row_count(tables.LOANS) == 0
    refresh(platform)
    for name, rows in facts(platform).items():
        assert rows.equals(expected[name]), name


def test_a_lake_that_went_back_can_go_back_to_that_time_again(three_files: Platform, tape: Tape) -> None:
    platform = three_files
    (platform.settings.landing_folder / "2_wrong.csv").unlink()
    (platform.settings.changes_folder / "3_more.csv").unlink()
    restore_lake(platform.lake_log, logged_at(platform, 1))
    gone_back = datetime.now(UTC)
    tape("4_next.csv", [{"loan_id": "L4", "as_of_date": "2026-11-18"}, {"loan_id": "B4", "term_months": "0"}])
    refresh(platform)
    restore_lake(platform.lake_log, gone_back)
    assert table_rows(platform, tables.LOAN_TAPE).height == 5
    assert table_rows(platform, tables.REJECTED_RECORDS)["loan_id"].to_list() == ["BAD"]
    refresh(platform)
    assert table_rows(platform, tables.LOAN_TAPE).height == 6
    assert sorted(table_rows(platform, tables.REJECTED_RECORDS)["loan_id"].to_list()) == ["B4", "BAD"]


@pytest.mark.parametrize("dies_after", [1, 2, 3, 4])
def test_a_restore_that_dies_half_way_loses_nothing_and_can_be_done_again(
    three_files: Platform, dies_after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform, expected = three_files, facts(three_files)
    first_file = logged_at(platform, 1)
    real, done = restoring._restore, []

    def dies(lake: LakeLog, table: tables.Table, version: int | None) -> restoring.Restored:
        if len(done) == dies_after:
            raise KeyboardInterrupt
        done.append(table)
        return real(lake, table, version)

    monkeypatch.setattr(restoring, "_restore", dies)
    with pytest.raises(KeyboardInterrupt):
        restore_lake(platform.lake_log, first_file)
    monkeypatch.undo()
    refresh(platform)
    for name, rows in facts(platform).items():
        assert rows.equals(expected[name]), name
    restore_lake(platform.lake_log, first_file)
    assert table_rows(platform, tables.LOAN_TAPE).height == 5


def test_what_cannot_be_restored_is_one_line(three_files: Platform) -> None:
    three_files.close()
    settings, lake = three_files.settings, three_files.lake_log

    def refused(*arguments: object) -> str:
        with pytest.raises(LakehouseError) as caught:
            list(run_restore(settings, *arguments))  # type: ignore[arg-type]
        return str(caught.value)

    assert "the bronze tables tie with each other" in refused("bronze/loan_tape", 0, None)
    assert refused("silver/loan", 0, None).startswith("silver/loan: no such table: expected one of bronze/loan_tape")
    assert refused("silver/loans", 99, None).startswith("silver/loans: no version 99")
    assert refused(None, None, "yesterday").startswith("--to 'yesterday': expected a time as")
    assert "expected a time from" in refused(None, None, "2020-01-01")
    assert "expected a table with --version" in refused(None, 3, None)
    DeltaTable(lake.path(tables.LOANS)).vacuum(0, dry_run=False, enforce_retention_duration=False)
    version = lake.version(tables.LOANS)
    assert "have been vacuumed" in refused("silver/loans", 0, None)
    assert lake.version(tables.LOANS) == version


def test_the_command_lists_versions_and_restores(run: Run, tmp_path: Path) -> None:
    from credit_risk_tests.conftest import write_tape

    home = tmp_path / "home"
    write_tape(home / "landing" / "a.csv", [{"loan_id": "A"}])
    assert run("refresh").exit_code == 0
    listed = run("restore", "silver/loans")
    assert listed.exit_code == 0
    assert listed.output.splitlines()[0] == "versions of silver/loans, newest first (times in UTC)"
    assert listed.output.splitlines()[1].split()[0] == "0"
    back = run("restore", "silver/loans", "--version", "0")
    assert back.exit_code == 0
    assert "silver/loans: holds the rows of version 0 again (1 rows)" in back.output
    wrong = run("restore", "gold/none")
    assert wrong.exit_code == 1
    future = datetime.now(UTC) + timedelta(days=1)
    assert run("restore", "--to", future.isoformat()).exit_code == 0
