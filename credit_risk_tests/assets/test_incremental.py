"""Tapes as they come in real life: twice, late, corrected, changed, growing, and not tapes at all."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from credit_risk_assets.checks import ingestion
from credit_risk_assets.config import tables
from credit_risk_assets.resources.ingestion import Ingestion
from credit_risk_assets.resources.platform import Platform
from credit_risk_tests.conftest import failed_checks, run_job, table_rows, table_versions, write_tape

Tape = Callable[..., Path]


def balance(platform: Platform, loan: str) -> tuple[date, float]:
    rows = table_rows(platform, tables.LOANS).filter(pl.col("loan_id") == loan)
    assert rows.height == 1
    return rows["as_of_date"][0], rows["outstanding_balance"][0]


def refresh(platform: Platform) -> dict[str, str]:
    result = run_job(platform, "refresh_lake")
    assert result.success, [e for e in result.all_events if e.is_failure]
    return failed_checks(result)


def refresh_after(platform: Platform, tape: Tape) -> dict[str, str]:
    tape("another.csv", [{"loan_id": "L2"}])
    return refresh(platform)


def written(result: dg.ExecuteInProcessResult, node: str, *names: str) -> list[Any]:
    """What a step's commit counted."""
    metadata = result.asset_materializations_for_node(node)[0].metadata
    return [metadata[name].value for name in names]


def test_the_same_content_under_another_name_is_ingested_once(platform: Platform, tape: Tape) -> None:
    tape("october.csv", [{}, {"loan_id": "L2"}])
    refresh(platform)
    before = table_versions(platform)
    tape("october_again.csv", [{}, {"loan_id": "L2"}])
    refresh(platform)
    after = table_versions(platform)
    assert table_rows(platform, tables.LOAN_TAPE).height == 2
    assert table_rows(platform, tables.INGESTION_LOG).height == 1
    assert after[tables.LOANS.path] == before[tables.LOANS.path]


def test_a_late_tape_never_overwrites_a_newer_state_and_a_correction_does(platform: Platform, tape: Tape) -> None:
    tape("october.csv", [{"outstanding_balance": "600"}])
    refresh(platform)
    tape("september.csv", [{"as_of_date": "2026-09-30", "outstanding_balance": "700"}])
    refresh(platform)
    assert balance(platform, "L1") == (date(2026, 10, 31), 600.0)
    assert table_rows(platform, tables.LOAN_HISTORY).height == 2
    tape("october_corrected.csv", [{"outstanding_balance": "555"}])
    refresh(platform)
    assert balance(platform, "L1") == (date(2026, 10, 31), 555.0)
    history = table_rows(platform, tables.LOAN_HISTORY).sort("as_of_date")
    assert history["outstanding_balance"].to_list() == [700.0, 555.0]
    assert table_rows(platform, tables.LOAN_TAPE).height == 3


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_the_order_in_which_tapes_arrive_does_not_matter(
    platform: Platform, tape: Tape, order: tuple[int, ...]
) -> None:
    months = ["2026-08-31", "2026-09-30", "2026-10-31"]
    for place in order:
        rows = [
            {"loan_id": f"L{n}", "as_of_date": months[place], "outstanding_balance": str(1000 * n + place)}
            for n in range(place, 5)
        ]
        tape(f"{place}.csv", rows)
        refresh(platform)
    loans = table_rows(platform, tables.LOANS).sort("loan_id")
    assert loans["outstanding_balance"].to_list() == [0.0, 1001.0, 2002.0, 3002.0, 4002.0]
    assert table_rows(platform, tables.LOAN_HISTORY).height == 5 + 4 + 3


def test_a_change_file_updates_its_loans_alone_and_the_figures_follow(platform: Platform, tape: Tape) -> None:
    tape("full.csv", [{"loan_id": f"L{n}"} for n in range(5)])
    assert run_job(platform).success
    tape(
        "hours.csv",
        [
            {"loan_id": "L1", "as_of_date": "2026-11-05", "outstanding_balance": "1"},
            {"loan_id": "L9", "as_of_date": "2026-11-05", "outstanding_balance": "2"},
        ],
        changes=True,
    )
    result = run_job(platform)
    assert result.success
    # The commits say so themselves: one row replaced, one new, and the month of the full tape left alone.
    assert written(result, "silver__loans", "rows_updated", "rows_inserted") == [1, 1]
    history = ("rows_updated", "rows_inserted", "files_replaced")
    assert written(result, "silver__loan_history", *history) == [0, 2, 0]
    assert "silver/loans none_vanished" not in failed_checks(result)
    kinds = table_rows(platform, tables.LOAN_HISTORY).sort("loan_id", "as_of_date")["tape_kind"].to_list()
    assert kinds.count("changes") == 2
    kpis = table_rows(platform, tables.PORTFOLIO_KPIS).sort("as_of_date")
    assert kpis["as_of_date"].to_list() == [date(2026, 10, 31), date(2026, 11, 5)]
    assert kpis["active_loans"].to_list() == [5, 6]
    assert kpis["portfolio_value"].to_list() == pytest.approx([5 * 6000.25, 4 * 6000.25 + 3])


def test_a_loan_that_vanishes_keeps_its_last_state_and_is_named(platform: Platform, tape: Tape) -> None:
    tape("a.csv", [{"as_of_date": "2026-09-30"}, {"loan_id": "GONE", "as_of_date": "2026-09-30"}])
    tape("b.csv", [{}])
    failed = refresh(platform)
    assert failed["silver/loans none_vanished"] == "WARN"
    assert balance(platform, "GONE")[0] == date(2026, 9, 30)


def test_a_repeated_row_is_kept_in_bronze_and_once_in_silver(platform: Platform, tape: Tape) -> None:
    tape("a.csv", [{"outstanding_balance": "1"}, {"outstanding_balance": "2"}])
    failed = refresh(platform)
    assert failed["bronze/loan_tape loans_once_per_date"] == "WARN"
    assert table_rows(platform, tables.LOAN_TAPE).height == 2
    assert balance(platform, "L1")[1] == 2.0


def test_a_new_column_flows_from_bronze_to_silver_and_is_named(platform: Platform, tape: Tape) -> None:
    tape("a.csv", [{"as_of_date": "2026-09-30"}])
    refresh(platform)
    tape("b.csv", [{"branch": "north", "debt_to_income": "0.4", "default_12m": "1", "held_as_of": "x"}])
    failed = refresh(platform)
    assert failed["bronze/loan_tape columns_known"] == "WARN"
    bronze = table_rows(platform, tables.LOAN_TAPE).sort("as_of_date")
    assert bronze["branch"].to_list() == [None, "north"]
    loans = table_rows(platform, tables.LOANS)
    assert loans["branch"].to_list() == ["north"]
    # A feature keeps its name; the tape's own column of that name stands beside it.
    assert loans["tape_debt_to_income"].to_list() == ["0.4"]
    assert loans["debt_to_income"].dtype == pl.Float64
    # An outcome that somebody wrote on the tape is kept aside too: the sample makes its own.
    assert loans["tape_default_12m"].to_list() == ["1"]
    assert run_job(platform, "train_model").success
    assert table_rows(platform, tables.DEVELOPMENT_SAMPLE)["default_12m"].dtype == pl.Int32
    tape("c.csv", [{"as_of_date": "2026-11-15"}])
    assert "bronze/loan_tape columns_known" not in refresh(platform)
    assert table_rows(platform, tables.LOANS)["branch"].to_list() == [None]


def test_bad_rows_are_kept_with_reasons_and_the_rest_goes_on(platform: Platform, tape: Tape) -> None:
    file = tape("a.csv", [{}, {"loan_id": "L2", "as_of_date": "2026-02-30"}, {"loan_id": "L3", "loan_amount": "-5"}])
    with file.open("a") as out:
        out.write("only,three,fields\n")
    failed = refresh(platform)
    assert failed["bronze/rejected_records rejected_share"] == "WARN"
    findings = ingestion.rejected_findings(platform.lakehouse, platform.settings)
    (shown,) = [finding for finding in findings if finding.check == ingestion.REJECTED_SHARE]
    assert {row["rows"] for row in shown.details} == {1}
    assert len(shown.details) == 3
    assert {row["row"]: row["loan_id"] for row in shown.examples} == {2: "L2", 3: "L3", 4: "(no loan id)"}
    assert "loan_amount: expected more than 0 currency" in [row["reason"] for row in shown.details]
    assert all(row["reasons"] for row in shown.examples)
    rejected = table_rows(platform, tables.REJECTED_RECORDS).sort("_row_number")
    assert rejected["_row_number"].to_list() == [2, 3, 4]
    assert rejected["loan_id"].to_list() == ["L2", "L3", None]
    assert rejected["reasons"].to_list()[1] == ["loan_amount is '-5': expected more than 0 currency"]
    log = table_rows(platform, tables.INGESTION_LOG).row(0, named=True)
    assert (log["rows_read"], log["rows_accepted"], log["rows_rejected"]) == (4, 1, 3)


@pytest.mark.parametrize("content", [b"", b"loan_id,customer_id\nL1,C1\n", bytes(range(256)) * 20])
def test_a_refused_file_is_named_kept_and_does_not_stop_the_others(
    platform: Platform, tape: Tape, content: bytes
) -> None:
    (platform.settings.landing_folder / "bad.csv").write_bytes(content)
    tape("good.csv", [{}])
    failed = refresh(platform)
    assert failed["bronze/ingestion_log files_readable"] == "ERROR"
    log = table_rows(platform, tables.INGESTION_LOG).sort("source_file")
    assert log["outcome"].to_list() == ["refused", "ingested"]
    assert log["message"].to_list()[0].startswith("bad.csv: ")
    assert table_rows(platform, tables.LOANS).height == 1
    kept = [file for file in platform.settings.quarantine_folder.iterdir() if file.name.endswith("bad.csv")]
    assert [file.read_bytes() for file in kept] == [content]
    assert "bronze/ingestion_log files_readable" not in refresh_after(platform, tape)
    (platform.settings.landing_folder / "bad.csv").write_bytes(content)
    assert refresh(platform)["bronze/ingestion_log files_readable"] == "ERROR"
    assert table_rows(platform, tables.INGESTION_LOG)["outcome"].to_list().count("refused") == 2


def test_a_file_that_grows_while_it_lands_waits_and_is_then_taken_whole(
    platform: Platform, tape: Tape, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tape("growing.csv", [{}])
    from credit_risk_assets.resources import ingestion

    real = ingestion.stage_tape

    def stage_while_it_grows(path: Path, *arguments: Any, **options: Any) -> Any:
        staged = real(path, *arguments, **options)
        write_tape(path, [{}, {"loan_id": "L2"}])
        return staged

    monkeypatch.setattr(ingestion, "stage_tape", stage_while_it_grows)
    reports = Ingestion(platform.lakehouse, platform.settings, "run-1").run()
    assert [(report.outcome, "changed while it was read" in report.message) for report in reports] == [
        ("waiting", True)
    ]
    assert platform.lakehouse.row_count(tables.LOAN_TAPE) == 0
    monkeypatch.undo()
    refresh(platform)
    assert sorted(table_rows(platform, tables.LOAN_TAPE)["loan_id"]) == ["L1", "L2"]
    assert file.exists()


def test_ingested_files_are_removed_where_the_settings_say_so(tmp_path: Path, sail: Any) -> None:
    from credit_risk_tests.conftest import make_settings

    platform = Platform(make_settings(tmp_path / "home", landing={"after_ingestion": "remove"}))
    file = write_tape(platform.settings.landing_folder / "a.csv", [{}])
    refresh(platform)
    assert not file.exists()
    assert table_rows(platform, tables.LOANS).height == 1
    platform.close()


def test_an_ingestion_that_died_between_its_commits_goes_on_where_it_ended(
    platform: Platform, tape: Tape, monkeypatch: pytest.MonkeyPatch
) -> None:
    tape("a.csv", [{}, {"loan_id": "L2", "loan_amount": "-5"}])
    lakehouse = platform.lakehouse

    class Died(Exception):
        pass

    def dying(real: Any, dies: Any) -> Any:
        def write(table: Any, *arguments: Any, **options: Any) -> Any:
            if table == dies and options.get("key") is not None:
                raise Died
            return real(table, *arguments, **options)

        return write

    for dies_before in (tables.LOAN_TAPE, tables.REJECTED_RECORDS, tables.INGESTION_LOG):
        with monkeypatch.context() as patched:
            for name in ("append", "append_files"):
                patched.setattr(lakehouse, name, dying(getattr(lakehouse, name), dies_before))
            with pytest.raises(Died):
                Ingestion(lakehouse, platform.settings, "run-1").run()
    failed = refresh(platform)
    assert "ERROR" not in failed.values()
    assert table_rows(platform, tables.LOAN_TAPE).height == 1
    assert table_rows(platform, tables.REJECTED_RECORDS).height == 1
    assert table_rows(platform, tables.INGESTION_LOG).height == 1
    assert table_rows(platform, tables.LOANS).height == 1
