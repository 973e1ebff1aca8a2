"""Files that are no tape are refused whole, with their name, what was found and what to do."""

from __future__ import annotations

import gzip
from datetime import date
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from credit_risk_assets.tape.intake import StagedTape, stage_tape
from credit_risk_assets.tape.readers import TapeRefused, open_tape
from credit_risk_tests.conftest import GOOD_ROW, write_tape

TODAY = date(2026, 11, 23)
HEADER = ",".join(GOOD_ROW)
LINE = ",".join(str(value) for value in GOOD_ROW.values())


def stage(file: Path, block_bytes: int = 2**20) -> StagedTape:
    return stage_tape(
        file,
        file.parent / "staged",
        key=b"secret",
        today=TODAY,
        quarantine_file=file.parent / "quarantine" / "lines.jsonl",
        block_bytes=block_bytes,
    )


def accepted(staged: StagedTape) -> pl.DataFrame:
    return pl.read_parquet(staged.accepted_folder / "*.parquet")


def rejected(staged: StagedTape) -> pl.DataFrame:
    return pl.read_parquet(staged.rejected_folder / "*.parquet")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "the file is empty"),
        (HEADER.encode() + b"\n", "a header without rows"),
        (bytes(range(256)) * 50, "binary content"),
        (HEADER.replace(",", ";").encode() + b"\n" + LINE.replace(",", ";").encode(), "expected commas"),
        (HEADER.replace(",", "\t").encode() + b"\n", "expected commas"),
        (f"{HEADER},loan_id\n{LINE},L1\n".encode(), "'loan_id' stands more than once"),
        (
            HEADER.replace("as_of_date", "asof_date").encode() + b"\n" + LINE.encode(),
            "as_of_date (is 'asof_date' meant?)",
        ),
        (b"PAR1 but nothing behind it", "broken Parquet"),
        (b"\x1f\x8b\x08 but nothing behind it", "cannot be decompressed"),
    ],
)
def test_a_file_that_is_no_tape_is_refused_by_name(tmp_path: Path, content: bytes, says: str) -> None:
    file = tmp_path / "tape.csv"
    file.write_bytes(content)
    with pytest.raises(TapeRefused) as refusal:
        stage(file)
    message = str(refusal.value)
    assert message.startswith("tape.csv: ")
    assert says in message
    assert "\n" not in message


def test_every_missing_required_column_is_named(tmp_path: Path) -> None:
    file = tmp_path / "tape.csv"
    file.write_text("loan_id,customer_id\nL1,C1\n")
    with pytest.raises(TapeRefused, match=r"origination_date.*current_dpd"):
        open_tape(file, 2**20)


def test_columns_are_matched_by_name_not_by_position(tmp_path: Path) -> None:
    forward = stage(write_tape(tmp_path / "a" / "tape.csv", [{}]))
    backward = stage(write_tape(tmp_path / "b" / "tape.csv", [{}], columns=list(reversed(GOOD_ROW))))
    assert accepted(forward).equals(accepted(backward))


def test_gzip_parquet_and_csv_of_the_same_rows_stage_the_same(tmp_path: Path) -> None:
    plain = write_tape(tmp_path / "plain" / "tape.csv", [{}, {"loan_id": "L2", "interest_rate": "7.125"}])
    packed = tmp_path / "packed" / "tape.csv.gz"
    packed.parent.mkdir()
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    typed = tmp_path / "typed" / "tape.parquet"
    typed.parent.mkdir()
    frame = pl.read_csv(plain, schema_overrides={"payment_history_profile": pl.String}, try_parse_dates=True)
    frame.write_parquet(typed)
    assert accepted(stage(packed)).equals(accepted(stage(plain)))
    assert accepted(stage(typed)).equals(accepted(stage(plain)))


def test_an_unknown_column_is_kept_as_text(tmp_path: Path) -> None:
    staged = stage(write_tape(tmp_path / "tape.csv", [{"Branch Code": "0042"}]))
    assert staged.extra_columns == ["branch_code"]
    assert accepted(staged)["branch_code"].to_list() == ["0042"]


def test_lines_that_cannot_be_split_are_quarantined_and_the_rest_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "tape.csv"
    file.write_text("\n".join([HEADER, LINE, "L2,C2", LINE.replace("L1", "L3") + ",surplus", LINE.replace("L1", "L4")]))
    staged = stage(file)
    assert (staged.rows_read, staged.rows_accepted, staged.rows_rejected) == (4, 2, 2)
    assert accepted(staged).select("loan_id", "_row_number").rows() == [("L1", 1), ("L4", 4)]
    assert rejected(staged)["_row_number"].to_list() == [2, 3]
    assert staged.quarantine_file is not None
    assert staged.quarantine_file.stat().st_mode & 0o077 == 0
    assert '"line": "L2,C2"' in staged.quarantine_file.read_text()
    assert "C2" not in " ".join(rejected(staged)["raw"].to_list())


def test_row_numbers_hold_over_block_boundaries(tmp_path: Path) -> None:
    rows = [{"loan_id": f"L{n}"} for n in range(1, 1501)]
    file = write_tape(tmp_path / "tape.csv", rows)
    lines = file.read_text().splitlines()
    lines[700] = "broken,line"
    file.write_text("\n".join(lines) + "\n")
    staged = stage(file, block_bytes=2**14)
    found = accepted(staged).select("loan_id", "_row_number")
    assert found.height == 1499
    assert all(loan == f"L{row}" for loan, row in found.iter_rows())
    assert rejected(staged)["_row_number"].to_list() == [700]


def test_bytes_that_are_no_text_reject_their_row_alone(tmp_path: Path) -> None:
    file = tmp_path / "tape.csv"
    bad = LINE.replace("auto", "aut\xff").encode("latin-1")
    file.write_bytes(b"\n".join([HEADER.encode(), LINE.encode(), bad]))
    staged = stage(file)
    assert staged.rows_accepted == 1
    assert "loan_purpose is not UTF-8 text: expected UTF-8" in rejected(staged)["reasons"].to_list()[0]


def test_a_nested_parquet_column_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "tape.parquet"
    pq.write_table(pa.table({name: [[str(value)]] for name, value in GOOD_ROW.items()}), file)
    with pytest.raises(TapeRefused, match="nested"):
        open_tape(file, 2**20)
