"""A tape's columns in every way they change: order, case, type, new, renamed, gone; bronze stays whole."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal

from credit_risk_assets.config import tables
from credit_risk_assets.resources.ingestion import LOAN_TAPE_SCHEMA, FileReport, Ingestion
from credit_risk_assets.resources.platform import Platform
from credit_risk_tests.conftest import GOOD_ROW, failed_checks, run_job, table_rows, write_tape

Rows = list[dict[str, Any]]
Land = Callable[[str, Rows], Path]
STAMPS = ["_source_file", "_source_sha256", "_ingested_at", "_run_id"]


@pytest.fixture(params=["csv", "parquet"])
def land(request: pytest.FixtureRequest, platform: Platform) -> Land:
    """Write rows, given in full, as a CSV or a Parquet tape of text into the landing folder."""

    def write(name: str, rows: Rows) -> Path:
        file = platform.settings.landing_folder / f"{name}.{request.param}"
        names = list(rows[0])
        if request.param == "csv":
            lines = [",".join(names), *[",".join("" if v is None else str(v) for v in row.values()) for row in rows]]
            file.write_text("\n".join(lines) + "\n")
        else:
            pq.write_table(pa.table({n: pa.array([row[n] for row in rows], pa.string()) for n in names}), file)
        return file

    return write


def good(loan: str, **values: Any) -> dict[str, Any]:
    return {**GOOD_ROW, "loan_id": loan, **values}


def ingest(platform: Platform) -> list[FileReport]:
    return Ingestion(platform.lakehouse, platform.settings, "run").run()


def bronze(platform: Platform) -> pl.DataFrame:
    return table_rows(platform, tables.LOAN_TAPE).sort("loan_id")


def test_columns_are_found_by_name_in_any_order_and_case(platform: Platform, land: Land) -> None:
    row = good("L1", branch="north")
    land("as_named", [row])
    land("shuffled", [{name.title(): row[name] for name in sorted(row, reverse=True)} | {"Loan_Id": "L2"}])
    land("spaced", [{name.upper().replace("_", " "): value for name, value in good("L3", branch="north").items()}])
    assert [report.outcome for report in ingest(platform)] == ["ingested"] * 3
    rows = bronze(platform).drop(STAMPS)
    assert rows["loan_id"].to_list() == ["L1", "L2", "L3"]
    assert rows.drop("loan_id").unique().height == 1
    assert rows["branch"].to_list() == ["north"] * 3
    assert set(rows.columns) == {field.name for field in LOAN_TAPE_SCHEMA} - set(STAMPS) | {"branch"}


def test_a_number_that_arrives_as_text_rejects_its_row_alone(platform: Platform, land: Land) -> None:
    land("a", [good("L1"), good("L2", loan_amount="ten thousand"), good("L3", credit_score="A+"), good("L4")])
    report = ingest(platform)[0]
    assert (report.rows_read, report.rows_accepted, report.rows_rejected) == (4, 2, 2)
    rejected = table_rows(platform, tables.REJECTED_RECORDS).sort("_row_number")
    assert rejected["reasons"].to_list() == [
        ["loan_amount is 'ten thousand': expected a number"],
        ["credit_score is 'A+': expected a number"],
    ]
    assert bronze(platform)["loan_amount"].to_list() == [10_000.0, 10_000.0]


def typed_row(**arrays: pa.Array) -> pa.Table:
    """A Parquet row as a typed export writes it, with some columns in other types."""
    columns = {
        **{name: pa.array([value]) for name, value in GOOD_ROW.items()},
        "as_of_date": pa.array([date(2026, 10, 31)]),
        "origination_date": pa.array([date(2025, 1, 15)]),
        "loan_amount": pa.array([10_000.0]),
        "interest_rate": pa.array([9.5]),
        "term_months": pa.array([36], pa.int32()),
        "outstanding_balance": pa.array([6000.25]),
        "current_dpd": pa.array([0], pa.int32()),
        "credit_score": pa.array([690.0]),
        "annual_income": pa.array([52_000.0]),
        **arrays,
    }
    return pa.table(columns)


@pytest.mark.parametrize(
    "arrays",
    [
        {"loan_amount": pa.array([Decimal("10000.00")]), "interest_rate": pa.array([9.5], pa.float32())},
        {"term_months": pa.array([36.0]), "current_dpd": pa.array([False]), "credit_score": pa.array([690])},
        {"as_of_date": pa.array([datetime(2026, 10, 31)]), "origination_date": pa.array(["2025-01-15"])},  # noqa: DTZ001
        {"loan_purpose": pa.array(["auto"]).dictionary_encode(), "loan_status": pa.array([b"current"])},
        {"customer_id": pa.array(["C1"], pa.large_string()), "term_months": pa.array([36], pa.uint64())},
    ],
    ids=["decimal", "float for int", "timestamp", "dictionary and bytes", "large and unsigned"],
)
def test_the_same_values_in_another_physical_type_are_the_same_rows(
    platform: Platform, arrays: dict[str, pa.Array]
) -> None:
    folder = platform.settings.landing_folder
    pq.write_table(typed_row(), folder / "a.parquet")
    pq.write_table(typed_row(**arrays), folder / "b.parquet")
    assert [(report.rows_accepted, report.rows_rejected) for report in ingest(platform)] == [(1, 0), (1, 0)]
    rows = bronze(platform).sort("_source_file").drop(STAMPS)
    assert_frame_equal(rows[:1], rows[1:])


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        ({"as_of_date": pa.array([20_757])}, "as_of_date is '20757': expected a date (yyyy-mm-dd)"),
        ({"term_months": pa.array([36.5])}, "term_months is '36.5': expected a whole number"),
        ({"loan_amount": pa.array(["10,000"])}, "loan_amount is '10,000': expected a number"),
        ({"loan_amount": pa.array([None], pa.null())}, "loan_amount is missing: expected a value"),
        ({"loan_amount": pa.array([date(2026, 1, 1)])}, "loan_amount is '2026-01-01': expected a number"),
        ({"region": pa.array([b"K\xf6ln"])}, "region is not UTF-8 text: expected UTF-8"),
    ],
)
def test_a_physical_type_that_does_not_fit_rejects_and_never_guesses(
    platform: Platform, array: dict[str, pa.Array], reason: str
) -> None:
    pq.write_table(typed_row(**array), platform.settings.landing_folder / "a.parquet")
    report = ingest(platform)[0]
    assert (report.outcome, report.rows_accepted, report.rows_rejected) == ("ingested", 0, 1)
    assert table_rows(platform, tables.REJECTED_RECORDS)["reasons"].to_list() == [[reason]]
    assert bronze(platform).is_empty()


def test_a_new_column_that_was_number_and_is_text_keeps_both_up_to_silver(platform: Platform) -> None:
    folder = platform.settings.landing_folder
    pq.write_table(typed_row(grade=pa.array([7])), folder / "a.parquet")
    assert failed_checks(run_job(platform, "refresh_lake"))["bronze/loan_tape columns_known"] == "WARN"
    write_tape(folder / "b.csv", [good("L2", Grade="seven")])
    pq.write_table(typed_row(loan_id=pa.array(["L3"]), GRADE=pa.array([7.5])), folder / "c.parquet")
    result = run_job(platform, "refresh_lake")
    assert result.success
    assert "ERROR" not in failed_checks(result).values()
    for table in (tables.LOAN_TAPE, tables.LOANS, tables.LOAN_HISTORY):
        rows = table_rows(platform, table).sort("loan_id")
        assert rows["grade"].to_list() == ["7", "seven", "7.5"], table.path


def without(row: dict[str, Any], name: str) -> dict[str, Any]:
    return {column: value for column, value in row.items() if column != name}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda row: {**without(row, "loan_status"), "loan_state": "current"}, "loan_status (is 'loan_state' meant?)"),
        (lambda row: without(row, "current_dpd"), "required column missing: current_dpd"),
        (lambda row: {**row, "LOAN_AMOUNT": "1"}, "column 'loan_amount' stands more than once"),
    ],
    ids=["renamed", "vanished", "repeated in another case"],
)
def test_a_required_column_renamed_gone_or_twice_refuses_the_file_and_the_lake_stays(
    platform: Platform, land: Land, change: Callable[[dict[str, Any]], dict[str, Any]], says: str
) -> None:
    land("a", [good("L1")])
    ingest(platform)
    before = bronze(platform)
    land("b", [change(good("L2"))])
    report = ingest(platform)[0]
    assert report.outcome == "refused"
    assert says in report.message
    assert_frame_equal(bronze(platform), before)
    kept = sorted(file.name.partition("_")[2] for file in platform.settings.quarantine_folder.iterdir())
    assert kept == [report.name, f"{report.name}.reason.txt"]


def test_a_vanished_optional_column_is_null_in_its_rows_and_kept_in_the_others(platform: Platform, land: Land) -> None:
    land("a", [good("L1", branch="north")])
    land("b", [without(good("L2"), "credit_score")])
    land("c", [good("L3", branch="south")])
    assert [report.outcome for report in ingest(platform)] == ["ingested"] * 3
    rows = bronze(platform)
    assert rows["credit_score"].to_list() == [690.0, None, 690.0]
    assert rows["branch"].to_list() == ["north", None, "south"]


def test_a_wrong_delimiter_refuses_the_file_in_the_ingestion_too(platform: Platform) -> None:
    text = ";".join(GOOD_ROW) + "\n" + ";".join(GOOD_ROW.values()) + "\n"
    (platform.settings.landing_folder / "a.csv").write_text(text)
    report = ingest(platform)[0]
    assert (report.outcome, "expected commas" in report.message) == ("refused", True)
    assert bronze(platform).is_empty()


def test_a_parquet_file_whose_pages_are_broken_is_refused_whole(platform: Platform) -> None:
    file = platform.settings.landing_folder / "a.parquet"
    rows = pa.concat_tables([typed_row() for _ in range(500)])
    pq.write_table(rows, file, compression="zstd", use_dictionary=False)
    content = bytearray(file.read_bytes())
    content[8:400] = b"\x00" * 392
    file.write_bytes(content)
    report = ingest(platform)[0]
    assert report.outcome == "refused"
    assert report.message.startswith("a.parquet: broken Parquet")
    assert bronze(platform).is_empty()
