"""Rows of a tape as files that a table takes over: none lost, none twice, each where its partition says."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit_risk_assets.tape import parts
from credit_risk_assets.tape.parts import Parts

STAMP: dict[str, pa.Scalar[Any]] = {
    "_source_file": pa.scalar("a.csv"),
    "_ingested_at": pa.scalar(datetime(2026, 11, 28, 6, 47, 56, 123_456, UTC), pa.timestamp("us", "UTC")),
}
blocks = st.lists(
    st.lists(st.tuples(st.sampled_from(["current", "paid_off", "a b/ü"]), st.none() | st.text(max_size=3)), max_size=9),
    max_size=5,
)


def frame(rows: list[tuple[str, str | None]], first: int) -> pl.DataFrame:
    numbered = [(status, text, first + place) for place, (status, text) in enumerate(rows)]
    return pl.DataFrame(numbered, {"status": pl.String, "text": pl.String, "_row_number": pl.Int64}, orient="row")


def write(folder: Path, frames: list[pl.DataFrame], partition_by: str | None) -> None:
    with (
        ThreadPoolExecutor(1) as thread,
        closing(Parts(folder, thread.submit, stamp=STAMP, partition_by=partition_by)) as written,
    ):
        for rows in frames:
            written.write(rows)


@given(blocks=blocks, partition_by=st.sampled_from([None, "status"]))
def test_every_row_stands_once_in_the_files_of_its_partition(
    blocks: list[list[tuple[str, str | None]]], partition_by: str | None
) -> None:
    folder = Path(mkdtemp())
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(parts, "GROUP_ROWS", 4)
        patched.setattr(parts, "FILE_ROWS", 6)
        frames = [frame(rows, 100 * number) for number, rows in enumerate(blocks)]
        write(folder, frames, partition_by)
    files = sorted(folder.rglob("*.parquet"))
    assert all(pq.read_metadata(file).num_rows for file in files)
    given_rows = pl.concat([frame([], 0), *frames])
    if files:
        found = pl.read_parquet(files, hive_partitioning=True, try_parse_hive_dates=False)
        assert found["_ingested_at"].unique().to_list() == [STAMP["_ingested_at"].as_py()]
        assert found["_source_file"].unique().to_list() == ["a.csv"]
        found = found.select(given_rows.columns).sort("_row_number")
        assert found.equals(given_rows.sort("_row_number"))
    else:
        assert given_rows.is_empty()
    shutil.rmtree(folder)


def test_a_partition_waits_for_a_group_of_rows_and_its_files_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "GROUP_ROWS", 10)
    monkeypatch.setattr(parts, "FILE_ROWS", 20)
    write(tmp_path, [frame([("current", None)] * 6, 10 * number) for number in range(9)], "status")
    groups = [
        [pq.read_metadata(file).row_group(number).num_rows for number in range(pq.read_metadata(file).num_row_groups)]
        for file in sorted((tmp_path / "status=current").iterdir())
    ]
    assert groups == [[12, 12], [12, 12], [6]]


def test_a_file_says_its_types_as_any_reader_of_a_table_knows_them(tmp_path: Path) -> None:
    write(tmp_path, [frame([("current", "x")], 0)], None)
    schema = pq.read_schema(tmp_path / "part-0.parquet")
    assert {field.name: str(field.type) for field in schema} == {
        "status": "string",
        "text": "string",
        "_row_number": "int64",
        "_source_file": "string",
        "_ingested_at": "timestamp[us, tz=UTC]",
    }
    statistics = pq.read_metadata(tmp_path / "part-0.parquet").row_group(0).column(2).statistics
    assert (statistics.min, statistics.max, statistics.null_count) == (0, 0, 0)
