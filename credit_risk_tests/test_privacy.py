"""Nobody's id leaves the landing folder: everything else that is written or said is searched for raw ids."""

from __future__ import annotations

import csv
import gzip
import logging
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from credit_risk_assets.tape.mapping import MappingError, load_mapping
from credit_risk_tests.conftest import GOOD_ROW, Run, make_settings, write_tape

# Stands in every raw id, so that one search finds them all; no id is spelt so by chance.
MARK = "rawidqzx"
NUMERIC = 860_417_359_112
MARKS = (MARK, str(NUMERIC))
HEADER = ",".join(GOOD_ROW)
MAPPING = """
description: a lender whose columns have other names
columns:
  loan_id: {{column: contract_no}}
  customer_id: {{{customer}}}
  as_of_date: {{constant: "2026-10-31"}}
  origination_date: {{constant: "2025-01-31"}}
  loan_purpose: {{constant: auto}}
  loan_status: {{constant: current}}
  loan_amount: {{column: amount}}
  interest_rate: {{constant: 5}}
  term_months: {{constant: 60}}
  outstanding_balance: {{column: amount}}
  current_dpd: {{constant: 0}}
keep: [{keep}]
"""


def raw_id(number: int) -> str:
    return f"RawIdQzX-{number:05d}"


def texts_of(home: Path) -> Iterator[tuple[str, str]]:
    """Where and what: every file's path and bytes outside landing/, and the values of every table and Parquet file."""
    for file in sorted(path for path in home.rglob("*") if path.is_file()):
        place = str(file.relative_to(home))
        if place.startswith("landing/"):
            continue
        yield f"the path {place}", place
        yield place, file.read_bytes().decode("utf-8", "replace")
        if file.suffix == ".parquet":
            yield f"the rows of {place}", pl.read_parquet(file, hive_partitioning=False).write_ndjson()
    for log in sorted(home.rglob("_delta_log")):
        table = log.parent
        yield (
            f"the table {table.relative_to(home)}",
            pl.DataFrame(pa.RecordBatchReader.from_stream(DeltaTable(str(table)).scan()).read_all()).write_ndjson(),
        )


def leaks(home: Path) -> list[str]:
    return [place for place, text in texts_of(home) if any(mark in text.lower() for mark in MARKS)]


def plant_in_a_table(home: Path) -> None:
    write_deltalake(home / "lake" / "gold" / "planted", pa.table({"a": [1], "b": [[raw_id(1)]]}))


def plant_in_a_partition(home: Path) -> None:
    write_deltalake(home / "lake" / "gold" / "planted", pa.table({"a": [1], "b": [raw_id(1)]}), partition_by=["b"])


def plant_in_an_old_version(home: Path) -> None:
    plant_in_a_table(home)
    write_deltalake(home / "lake" / "gold" / "planted", pa.table({"a": [1], "b": [["none"]]}), mode="overwrite")


def plant_in_the_event_log(home: Path) -> None:
    (home / "dagster").mkdir(parents=True, exist_ok=True)
    with sqlite3.connect(home / "dagster" / "runs.db") as store:
        store.execute("create table event_logs (event text)")
        store.execute("insert into event_logs values (?)", [f"loan of {NUMERIC} failed"])
    store.close()


def plant_in_a_file(home: Path) -> None:
    (home / "audit").mkdir(parents=True, exist_ok=True)
    (home / "audit" / "requeue.jsonl").write_text(f'{{"customer": "{raw_id(7).upper()}"}}\n')


def plant_in_a_name(home: Path) -> None:
    (home / "mlflow" / raw_id(7)).mkdir(parents=True)
    (home / "mlflow" / raw_id(7) / "empty").touch()


@pytest.mark.parametrize(
    "plant",
    [
        plant_in_a_table,
        plant_in_a_partition,
        plant_in_an_old_version,
        plant_in_the_event_log,
        plant_in_a_file,
        plant_in_a_name,
    ],
)
def test_the_search_finds_an_id_that_is_planted(tmp_path: Path, plant: Callable[[Path], None]) -> None:
    assert leaks(tmp_path) == []
    plant(tmp_path)
    assert leaks(tmp_path) != []


def test_the_search_leaves_the_landing_folder_alone(tmp_path: Path) -> None:
    (tmp_path / "landing").mkdir()
    (tmp_path / "landing" / "tape.csv").write_text(raw_id(1))
    assert leaks(tmp_path) == []


def land_everything(landing: Path) -> None:
    """Accepted, rejected, ragged and unreadable rows; files that are refused, one for each way to be."""
    dirty = write_tape(
        landing / "dirty.csv",
        [
            {"loan_id": "D1", "customer_id": raw_id(1), "loan_amount": "-5"},
            {"loan_id": "D2", "customer_id": raw_id(2), "as_of_date": "2026-02-30", "branch": "north"},
            {"loan_id": "D3", "customer_id": raw_id(3), "region": "K?ln"},
            {"loan_id": "D4", "customer_id": f"{raw_id(4)}?"},
            {"loan_id": "D5", "customer_id": f"hmac-sha256:{raw_id(5)}"},
        ],
    )
    dirty.write_bytes(dirty.read_bytes().replace(b"?", b"\xff") + f"D6,{raw_id(6)}\n{raw_id(7)}\n".encode())
    pl.DataFrame([{**GOOD_ROW, "loan_id": "P1", "customer_id": NUMERIC}]).write_parquet(landing / "typed.parquet")
    line = ",".join(str({**GOOD_ROW, "customer_id": raw_id(8)}[name]) for name in GOOD_ROW)
    refused = {
        "headless.csv": f"{line}\n{line}\n",
        "headless_same_id.csv": f"{raw_id(9)},{raw_id(9)},2026-10-31\n",
        "headless_like_a_name.csv": "L1,customer_rawidqzx_id,2026-10-31\n",
        "renamed.csv": f"{HEADER.replace('as_of_date', 'asof_date')}\n{line}\n",
        "semicolons.csv": f"{HEADER.replace(',', ';')}\n{line.replace(',', ';')}\n",
        "headless_semicolons.csv": f"{line.replace(',', ';')}\n",
        "repeated.csv": f"{HEADER},loan_id\n{line},L1\n",
        "truth.csv": f"{HEADER},lgd\n{line},0.4\n",
        "quote.csv": f'{HEADER}\n"{line}\n',
    }
    for name, content in refused.items():
        (landing / name).write_text(content)
    (landing / "cut.csv.gz").write_bytes(gzip.compress(f"{HEADER}\n{line}\n".encode() * 9)[:-20])
    nested = pa.table({name: [[str(value)]] for name, value in {**GOOD_ROW, "customer_id": raw_id(10)}.items()})
    pq.write_table(nested, landing / "nested.parquet")


def land_foreign(run: Run, folder: Path) -> list[str]:
    """A mapped tape, and each way in which a mapping fails over the values of a file."""
    foreign = folder / "foreign.csv"
    foreign.write_text(f"contract_no,member,amount\nF1,{raw_id(20)},100\nF2,{raw_id(21)},-5\n")
    mapping = folder / "lender.yaml"
    said = []
    for customer, keep, file, ends in (
        ("column: member", "amount", foreign, 0),
        ('expr: "cast(cast(member as int) as string)"', "", foreign, 1),
        ("expr: \"raise_error(concat('no ', member))\"", "", foreign, 1),
        ("column: member", "", _written(folder / "bare.csv", f"F3,{raw_id(22)},5\n"), 1),
        ("column: member", "", _written(folder / "same.csv", f"{raw_id(23)},{raw_id(23)},5\n"), 1),
        ("column: member", "", _written(folder / "ragged.csv", f"contract_no,member,amount\nF4,{raw_id(24)}\n"), 1),
    ):
        mapping.write_text(MAPPING.format(customer=customer, keep=keep))
        result = run("land", file, "--mapping", mapping)
        assert result.exit_code == ends, result.output
        said.append(result.output)
    return said


def _written(file: Path, text: str) -> Path:
    file.write_text(text)
    return file


def requeue_everything(run: Run, folder: Path) -> list[str]:
    """The way back: an export, a try that fails, one that lands; ids are filled in raw."""
    said = [run("requeue").output, run("requeue", "--export", folder / "rejected.csv").output]
    said.append(run("requeue", folder / "rejected.csv").output)
    with (folder / "rejected.csv").open(encoding="utf-8-sig", newline="") as source:
        cells = list(csv.DictReader(source))
    for row in cells:
        if row.get("loan_id", "").startswith("F") or row["_row_number"] == "7":
            continue
        customer = row["customer_id"] or raw_id(int(row["_row_number"]))
        row |= {
            **GOOD_ROW,
            "loan_id": row["loan_id"] or f"S{row['_row_number']}",
            "customer_id": customer,
            "region": "Köln",
        }
    with (folder / "rejected.csv").open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, list(cells[0]))
        writer.writeheader()
        writer.writerows(cells)
    landed = run("requeue", folder / "rejected.csv", "--partial")
    assert "7 rows requeued" in landed.output, landed.output
    return [*said, landed.output]


@pytest.mark.parametrize("trained", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_no_raw_id_is_written_or_said_outside_the_landing_folder(
    run: Run,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    trained: bool,
) -> None:
    caplog.set_level(logging.DEBUG)
    home = tmp_path / "home"
    settings = make_settings(home)
    for tape in request.getfixturevalue("simulated_tapes") if trained else []:
        frame = pl.read_csv(tape, infer_schema=False)
        named = frame.with_columns(("RawIdQzX-" + pl.col("customer_id")).alias("customer_id"))
        named.write_csv(settings.landing_folder / tape.name)
    land_everything(settings.landing_folder)
    said = land_foreign(run, tmp_path)
    said.append(run("refresh").output)
    assert trained == ("credit_default version 1" in said[-1])
    said += requeue_everything(run, tmp_path)
    said.append(run("refresh").output)
    said.append(run("requeue").output)

    log = pl.DataFrame(DeltaTable(str(home / "lake" / "bronze" / "ingestion_log")).scan())
    assert log["outcome"].to_list().count("refused") == 10
    rejected = pl.DataFrame(DeltaTable(str(home / "lake" / "bronze" / "rejected_records")).scan())
    assert rejected.height == 9
    loans = pl.DataFrame(DeltaTable(str(home / "lake" / "silver" / "loans")).scan())
    assert {"D1", "D4", "D5", "S1", "S6", "P1", "F1"} <= set(loans["loan_id"])
    assert trained == any(file.is_file() for file in (home / "mlflow").rglob("artifacts/*"))
    assert len(list((home / "dagster").rglob("*.db"))) > 2
    # The register of the ids themselves holds: where raw ids may be, they are.
    assert any(MARK in file.read_text().lower() for file in settings.landing_folder.glob("requeued_*.csv"))

    assert leaks(home) == []
    captured = capfd.readouterr()
    heard = "\n".join([*said, caplog.text, captured.out, captured.err]).lower()
    assert [line for line in heard.splitlines() if any(mark in line for mark in MARKS)] == []


@pytest.mark.slow
@pytest.mark.jvm
def test_the_jvm_does_not_quote_an_id_that_a_mapping_fails_on(tmp_path: Path) -> None:
    file = _written(tmp_path / "foreign.csv", f"contract_no,member,amount\nF1,{raw_id(1)},100\n")
    customer = 'expr: "cast(cast(member as int) as string)"'
    mapping = _written(tmp_path / "lender.yaml", MAPPING.format(customer=customer, keep=""))
    done = subprocess.run(
        [sys.executable, "-m", "credit_risk_assets", "land", str(file), "--mapping", str(mapping)],
        env={**os.environ, "CREDIT_RISK_HOME": str(tmp_path / "home"), "CREDIT_RISK__SPARK__ENGINE": "local"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "an expression of the mapping fails on a value of the file" in done.stderr
    assert MARK not in (done.stdout + done.stderr).lower()


@pytest.mark.parametrize("customer", ["column: member", "expr: \"concat('x', member)\""])
def test_a_mapping_that_keeps_the_customer_id_as_a_column_of_its_own_is_refused(tmp_path: Path, customer: str) -> None:
    file = _written(tmp_path / "lender.yaml", MAPPING.format(customer=customer, keep="member, amount"))
    with pytest.raises(MappingError, match="keep: member tells the customer id"):
        load_mapping(str(file))
