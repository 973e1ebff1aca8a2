"""Quarantine with a way back: rejected rows exported, repaired, tried, landed again; every count still ties."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from pyspark.sql import SparkSession

from credit_risk_assets.config import tables
from credit_risk_assets.config.settings import Settings
from credit_risk_assets.resources import requeue as requeue_module
from credit_risk_assets.resources.ingestion import Ingestion
from credit_risk_assets.resources.platform import Platform
from credit_risk_assets.resources.privacy import privacy_key
from credit_risk_assets.resources.rejected import AUDIT_FILE, RequeueError, rejected_rows, summary
from credit_risk_assets.resources.requeue import escaped, export_rejected, requeue_repaired, unescaped
from credit_risk_assets.tape.pseudonym import marked, pseudonym
from credit_risk_tests.conftest import GOOD_ROW, Run, failed_checks, make_settings, run_job, table_rows, write_tape

Tape = Callable[..., Path]
Cells = dict[str, str]

PROVENANCE = {"_source_sha256", "_row_number", "_ingested_at"}


def ingest(platform: Platform) -> None:
    Ingestion(platform.lakehouse, platform.settings, "run").run()


def exported(settings: Settings, target: Path) -> list[Cells]:
    export_rejected(settings, target)
    with target.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def save(target: Path, rows: list[Cells]) -> Path:
    with target.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return target


def assert_ties(platform: Platform) -> None:
    log = table_rows(platform, tables.INGESTION_LOG)
    assert (log["rows_read"] == log["rows_accepted"] + log["rows_rejected"]).all()
    bronze = table_rows(platform, tables.LOAN_TAPE)
    assert bronze.height == log["rows_accepted"].sum()
    assert table_rows(platform, tables.REJECTED_RECORDS).height == log["rows_rejected"].sum()
    assert table_rows(platform, tables.LOANS).height == bronze["loan_id"].n_unique()
    assert table_rows(platform, tables.LOAN_HISTORY).height == bronze.n_unique(["loan_id", "as_of_date"])


def silver(platform: Platform, table: tables.Table = tables.LOAN_HISTORY) -> pl.DataFrame:
    frame = table_rows(platform, table)
    return frame.select(sorted(set(frame.columns) - PROVENANCE)).sort("loan_id", "as_of_date")


def test_a_repaired_row_comes_back_under_the_same_pseudonym_and_every_count_ties(
    platform: Platform, tape: Tape, tmp_path: Path
) -> None:
    settings = platform.settings
    tape("october.csv", [{}, {"loan_id": "L2", "loan_amount": "-5", "branch": "north"}, {"loan_id": "L3"}])
    tape("hours.csv", [{"loan_id": "L4", "as_of_date": "2026-11-31"}], changes=True)
    assert run_job(platform, "refresh_lake").success
    rows = exported(settings, tmp_path / "rejected.csv")
    assert (tmp_path / "rejected.csv").stat().st_mode & 0o077 == 0
    assert [row["loan_id"] for row in rows] == ["L4", "L2"]
    assert rows[1]["_reasons"] == "loan_amount is '-5': expected more than 0 currency"
    assert rows[1]["customer_id"] == marked(pseudonym("C1", privacy_key(settings)))
    rows[0]["as_of_date"], rows[1]["loan_amount"] = "2026-11-15", "5000"

    done = requeue_repaired(settings, save(tmp_path / "rejected.csv", rows))
    assert (done.rows, done.problems) == (2, [])
    assert done.changed == {"as_of_date": 1, "loan_amount": 1}
    assert [file.parent for file in done.landed] == [settings.landing_folder, settings.changes_folder]
    assert [file.name.rsplit("_", 1)[0] for file in done.landed] == ["requeued_october", "requeued_hours"]
    assert not any("_reasons" in file.read_text() for file in done.landed)
    with pytest.raises(RequeueError, match="no open rejected rows"):
        export_rejected(settings, tmp_path / "other.csv", "october.csv")

    result = run_job(platform, "refresh_lake")
    assert result.success
    assert "ERROR" not in failed_checks(result).values()
    assert_ties(platform)
    log = table_rows(platform, tables.INGESTION_LOG).sort("source_file")
    assert dict(log.select("source_file", "kind").iter_rows())[f"changes/{done.landed[1].name}"] == "changes"
    loans = table_rows(platform, tables.LOANS).sort("loan_id")
    assert loans["loan_id"].to_list() == ["L1", "L2", "L3", "L4"]
    assert loans["customer_id"].to_list() == [pseudonym("C1", privacy_key(settings))] * 4
    assert loans["branch"].to_list() == [None, "north", None, None]
    assert table_rows(platform, tables.REJECTED_RECORDS).height == 2
    assert not rejected_rows(settings).open

    again = requeue_repaired(settings, tmp_path / "rejected.csv", partial=True)
    assert again.landed == []
    assert all("resolved already by" in problem for problem in again.problems)


def test_rows_that_wait_are_not_landed_twice_and_a_lost_file_opens_them_again(
    platform: Platform, tape: Tape, tmp_path: Path
) -> None:
    settings = platform.settings
    tape("a.csv", [{}, {"loan_id": "L2", "loan_amount": "-5"}])
    ingest(platform)
    rows = exported(settings, tmp_path / "r.csv")
    rows[0]["loan_amount"] = "5"
    file = save(tmp_path / "r.csv", rows)
    landed = requeue_repaired(settings, file).landed
    assert list(rejected_rows(settings).waiting.values()) == [landed[0].name]
    assert "requeued already as requeued_a" in requeue_repaired(settings, file).problems[0]
    landed[0].unlink()
    assert len(rejected_rows(settings).open) == 1
    assert requeue_repaired(settings, file).landed == landed
    ingest(platform)
    assert [*rejected_rows(settings).resolved.values()] == [landed[0].name]


def test_a_process_that_dies_while_it_lands_loses_and_doubles_nothing(
    platform: Platform, tape: Tape, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = platform.settings
    tape("a.csv", [{}, {"loan_id": "L2", "loan_amount": "-5"}])
    ingest(platform)
    rows = exported(settings, tmp_path / "r.csv")
    rows[0]["loan_amount"] = "5"
    file = save(tmp_path / "r.csv", rows)

    class Died(Exception):
        pass

    def dies(*arguments: Any, **options: Any) -> Path:
        raise Died

    real = requeue_module.land
    monkeypatch.setattr(requeue_module, "land", dies)
    with pytest.raises(Died):
        requeue_repaired(settings, file)
    assert len(rejected_rows(settings).open) == 1

    def lands_and_dies(*arguments: Any, **options: Any) -> Path:
        real(*arguments, **options)
        raise Died

    monkeypatch.setattr(requeue_module, "land", lands_and_dies)
    with pytest.raises(Died):
        requeue_repaired(settings, file)
    monkeypatch.undo()
    # Half a line, as a process leaves that dies while it writes the register.
    with (settings.audit_folder / AUDIT_FILE).open("a") as log:
        log.write('{"source_sha256": "')
    assert len(rejected_rows(settings).waiting) == 1
    assert requeue_repaired(settings, file).landed == []
    assert run_job(platform, "refresh_lake").success
    assert_ties(platform)
    assert sorted(table_rows(platform, tables.LOANS)["loan_id"]) == ["L1", "L2"]
    assert len(rejected_rows(settings).resolved) == 1


def test_rows_still_wrong_are_named_and_partial_lands_the_others(
    platform: Platform, tape: Tape, tmp_path: Path
) -> None:
    settings = platform.settings
    tape("a.csv", [{}, {"loan_id": "L2", "loan_amount": "-5"}, {"loan_id": "L3", "term_months": "x"}])
    ingest(platform)
    rows = exported(settings, tmp_path / "r.csv")
    rows[0]["loan_amount"] = "5"
    file = save(tmp_path / "r.csv", rows)
    tried = requeue_repaired(settings, file)
    assert tried.landed == []
    assert tried.problems == ["row 2 (a.csv row 3, loan L3): term_months is 'x': expected a whole number"]
    assert len(rejected_rows(settings).open) == 2
    assert [entry.name for entry in settings.landing_folder.iterdir() if entry.is_file()] == ["a.csv"]
    partly = requeue_repaired(settings, file, partial=True)
    assert (partly.rows, len(partly.problems)) == (1, 1)
    ingest(platform)
    assert [record.values["loan_id"] for record in rejected_rows(settings).open] == ["L3"]


def test_rows_that_name_no_open_record_are_told_one_by_one(platform: Platform, tape: Tape, tmp_path: Path) -> None:
    tape("a.csv", [{}, {"loan_id": "L2", "loan_amount": "-5"}])
    ingest(platform)
    row = {**exported(platform.settings, tmp_path / "r.csv")[0], "loan_amount": "5"}
    rows = [row, row, {**row, "_row_number": "1"}, {**row, "_source_sha256": "0" * 64}, {**row, "_row_number": "two"}]
    found = requeue_repaired(platform.settings, save(tmp_path / "r.csv", rows))
    assert found.landed == []
    assert [problem.split(":")[0] for problem in found.problems] == ["row 2", "row 3", "row 4", "row 5"]
    assert "same rejected row as row 1" in found.problems[0]
    assert all("name no rejected row" in problem for problem in found.problems[1:])


def test_lines_that_could_not_be_split_come_back_through_their_text(
    platform: Platform, tape: Tape, tmp_path: Path
) -> None:
    file = tape("a.csv", [{"branch": "north"}])
    with file.open("a") as out:
        out.write("=L2,C2\n")
    ingest(platform)
    rows = exported(platform.settings, tmp_path / "r.csv")
    assert rows[0]["_line"] == "'=L2,C2"
    assert rows[0]["customer_id"] == ""
    unfilled = requeue_repaired(platform.settings, tmp_path / "r.csv")
    assert "customer_id is missing" in unfilled.problems[0]
    rows[0] |= {**GOOD_ROW, "loan_id": "L2", "customer_id": "C1", "branch": "south"}
    requeue_repaired(platform.settings, save(tmp_path / "r.csv", rows))
    assert run_job(platform, "refresh_lake").success
    assert_ties(platform)
    loans = table_rows(platform, tables.LOANS).sort("loan_id")
    assert loans["branch"].to_list() == ["north", "south"]
    assert loans["customer_id"].n_unique() == 1


def test_values_of_unreadable_bytes_must_be_written_anew(platform: Platform, tape: Tape, tmp_path: Path) -> None:
    file = tape("a.csv", [{}, {"loan_id": "L2", "region": "K?ln", "customer_id": "M?ller"}])
    file.write_bytes(file.read_bytes().replace(b"K?ln", b"K\xf6ln").replace(b"M?ller", b"M\xfcller"))
    ingest(platform)
    rows = exported(platform.settings, tmp_path / "r.csv")
    assert rows[0]["customer_id"] == ""
    found = requeue_repaired(platform.settings, tmp_path / "r.csv").problems[0]
    assert "customer_id is missing" in found
    assert "region still shows \ufffd" in found
    rows[0] |= {"region": "Köln", "customer_id": "C1"}
    assert requeue_repaired(platform.settings, save(tmp_path / "r.csv", rows)).rows == 1
    ingest(platform)
    bronze = table_rows(platform, tables.LOAN_TAPE)
    assert bronze["customer_id"].n_unique() == 1
    assert bronze.sort("loan_id")["region"].to_list() == [None, "Köln"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("loan_id,customer_id\nL1,C1\n", "column _source_sha256, _row_number missing"),
        ("_source_sha256;_row_number\n1;2\n", "not parted by commas"),
        ("_source_sha256,_row_number,a,a\n", "'a' stands more than once"),
        ("_source_sha256,_row_number\n", "no rows"),
        ('_source_sha256,_row_number\n"1,2\n', "save the file as CSV again"),
    ],
)
def test_a_file_that_is_no_export_is_refused_in_one_line(
    settings: Settings, tmp_path: Path, content: str, says: str
) -> None:
    file = tmp_path / "r.csv"
    file.write_text(content)
    with pytest.raises(RequeueError, match=says):
        requeue_repaired(settings, file)
    with pytest.raises(RequeueError, match="cannot be read"):
        requeue_repaired(settings, tmp_path / "absent.csv")


def test_an_export_without_a_required_column_is_refused(platform: Platform, tape: Tape, tmp_path: Path) -> None:
    tape("a.csv", [{"loan_amount": "-5"}])
    ingest(platform)
    rows = exported(platform.settings, tmp_path / "r.csv")
    del rows[0]["loan_status"]
    with pytest.raises(RequeueError, match=r"^r\.csv: required column missing: loan_status"):
        requeue_repaired(platform.settings, save(tmp_path / "r.csv", rows))
    with pytest.raises(RequeueError, match="exists already"):
        export_rejected(platform.settings, tmp_path / "r.csv")


def test_the_command_says_what_waits_and_what_to_type_next(run: Run, tmp_path: Path) -> None:
    assert "nothing to do" in run("requeue").output
    landing = tmp_path / "home" / "landing"
    file = write_tape(landing / "a.csv", [{}, {"loan_amount": "-5"}, {"loan_amount": "-6", "age": "x"}])
    with file.open("a") as out:
        out.write("L9,C9\n")
    (landing / "bad.csv").write_bytes(b"")
    assert "files_readable" in run("refresh", "--select", "bronze/loan_tape").output
    shown = run("requeue").output
    for line in (
        "3 rejected rows are open",
        "a.csv: 3 rows",
        "2  loan_amount: expected more than 0 currency",
        "1  age: expected a whole number",
        "1  the line cannot be split into the header's columns",
        "bad.csv: the file is empty",
        "credit-risk requeue --export rejected.csv",
    ):
        assert line in shown, shown
    assert "C9" not in shown
    target = tmp_path / "r.csv"
    assert run("requeue", "--export", target).exit_code == 0
    refused = run("requeue", target)
    assert refused.exit_code == 1
    assert "nothing was landed" in refused.output
    with target.open(encoding="utf-8-sig", newline="") as exported_file:
        rows = list(csv.DictReader(exported_file))
    rows[0]["loan_amount"] = "7"
    partly = run("requeue", save(target, rows), "--partial")
    assert partly.exit_code == 0, partly.output
    assert "values changed: loan_amount in 1" in partly.output
    assert "2 rows were left as they are" in partly.output
    assert "1 repaired ones wait" in run("requeue").output
    assert run("refresh", "--select", "bronze/loan_tape").exit_code == 0
    assert "2 rejected rows are open, 0 repaired ones wait to be ingested, 1 are resolved" in run("requeue").output
    wrong = run("requeue", "--export", tmp_path / "x.csv", "--source", "b.csv")
    assert wrong.exit_code == 1
    assert "known are a.csv" in wrong.output


def test_the_register_holds_where_a_row_went_and_nothing_of_it(platform: Platform, tape: Tape, tmp_path: Path) -> None:
    tape("a.csv", [{"loan_id": "L2", "loan_amount": "-5"}])
    ingest(platform)
    rows = exported(platform.settings, tmp_path / "r.csv")
    rows[0]["loan_amount"] = "5"
    requeue_repaired(platform.settings, save(tmp_path / "r.csv", rows))
    register = platform.settings.audit_folder / AUDIT_FILE
    assert register.stat().st_mode & 0o077 == 0
    entry = json.loads(register.read_text().strip())
    named = "at source_file source_sha256 row_number landed_file landed_sha256 landed_bytes"
    assert " ".join(entry) == named
    assert (entry["source_sha256"], entry["row_number"]) == (rows[0]["_source_sha256"], 1)


@given(st.text("='+-@0.e \tab\r", max_size=8) | st.floats(allow_nan=False).map(str) | st.text(max_size=8))
def test_a_value_survives_a_spreadsheet_as_it_is_and_never_as_a_formula(value: str) -> None:
    cell = escaped(value)
    assert unescaped(cell) == value
    if cell[:1] in set("=+-@\t\r"):
        float(cell)


DAMAGE: list[tuple[str, str]] = [
    ("loan_amount", "-5"),
    ("as_of_date", "2026-02-30"),
    ("loan_status", "lost"),
    ("term_months", "x"),
    ("outstanding_balance", "1,000"),
    ("loan_id", ""),
    ("payment_history_profile", "00X"),
]


@examples(max_examples=3, deadline=None)
@given(
    broken=st.lists(st.tuples(st.integers(0, 5), st.sampled_from(DAMAGE)), min_size=1, max_size=6),
    texts=st.lists(st.text("=+-@'é,\"\n x1", min_size=1, max_size=6), min_size=6, max_size=6),
)
def test_rejected_exported_repaired_and_requeued_is_as_if_the_tape_had_been_right_at_once(
    sail: SparkSession,
    tmp_path_factory: pytest.TempPathFactory,
    broken: list[tuple[int, tuple[str, str]]],
    texts: list[str],
) -> None:
    folder = tmp_path_factory.mktemp("round_trip")
    right = [
        {"loan_id": f"L{n}", "customer_id": f"C{n % 2}", "note": texts[n], "outstanding_balance": f"{n}00.5"}
        for n in range(6)
    ]
    wrong = [dict(row) for row in right]
    for place, (name, value) in broken:
        wrong[place][name] = value
    histories = []
    for name, rows in (("right", right), ("wrong", wrong)):
        settings = make_settings(folder / name, privacy={"key": "the same"})
        platform = Platform(settings)
        write_tape(settings.landing_folder / "tape.csv", rows)
        assert run_job(platform, "refresh_lake").success
        if name == "wrong":
            cells = exported(settings, folder / "r.csv")
            for row in cells:
                place = int(row["_row_number"]) - 1
                for column in {column for at, (column, _) in broken if at == place}:
                    row[column] = str({**GOOD_ROW, **right[place]}[column])
            assert requeue_repaired(settings, save(folder / "r.csv", cells)).problems == []
            assert run_job(platform, "refresh_lake").success
            assert not rejected_rows(settings).open
        assert_ties(platform)
        histories += [silver(platform), silver(platform, tables.LOANS)]
        platform.close()
    assert histories[0].height == 6
    assert_frame_equal(histories[2], histories[0], check_row_order=False)
    assert_frame_equal(histories[3], histories[1], check_row_order=False)


def test_a_lake_without_tables_has_nothing_rejected(settings: Settings) -> None:
    assert not DeltaTable.is_deltatable(str(settings.lake / tables.REJECTED_RECORDS.path))
    assert summary(settings)[0].startswith("0 rejected rows")
