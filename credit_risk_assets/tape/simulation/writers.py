"""Tape files: appended block by block, complete or absent (temporary name, then rename)."""

from __future__ import annotations

import io
from pathlib import Path
from typing import BinaryIO, Literal

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

TapeFormat = Literal["csv", "parquet"]
ROW_GROUP_ROWS = 65_536


def csv_bytes(table: pa.Table, *, header: bool = False) -> bytes:
    """The rows as CSV (UTF-8, ISO dates, shortest decimals, empty where null)."""
    buffer = io.BytesIO()
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    frame.write_csv(buffer, include_header=header)
    return buffer.getvalue()


class TapeFile:
    """One file under construction: `append` blocks in order, then `commit`; `discard` removes what was begun.

    Parquet row groups gather blocks up to 65,536 rows, so that the bytes follow from the rows alone.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path = path
        self.rows = 0
        self._schema = schema
        self._temporary = path.with_name(f".{path.name}.part")
        self._parquet: pq.ParquetWriter | None = None
        self._csv: BinaryIO | None = None
        self._waiting: list[pa.Table] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".parquet":
            self._parquet = pq.ParquetWriter(
                self._temporary, schema, compression="zstd", compression_level=1, use_dictionary=_DICTIONARY
            )
        else:
            self._csv = self._temporary.open("wb")
            self._csv.write(csv_bytes(schema.empty_table(), header=True))

    def append(self, rows: pa.Table | bytes, count: int) -> None:
        """Add a block's rows: a table, or the CSV bytes of one."""
        self.rows += count
        if self._csv is not None:
            self._csv.write(rows if isinstance(rows, bytes) else csv_bytes(rows))
            return
        assert isinstance(rows, pa.Table)
        self._waiting.append(rows)
        if sum(table.num_rows for table in self._waiting) >= ROW_GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._waiting and self._parquet is not None:
            table = pa.concat_tables(self._waiting)
            self._parquet.write_table(table, row_group_size=table.num_rows or 1)
            self._waiting = []

    def commit(self) -> Path:
        """Finish the file and give it its name."""
        self._flush()
        self._close()
        return self._temporary.replace(self.path)

    def discard(self) -> None:
        """Leave nothing behind."""
        self._close()
        self._temporary.unlink(missing_ok=True)

    def _close(self) -> None:
        for handle in (self._parquet, self._csv):
            if handle is not None:
                handle.close()


_DICTIONARY = [
    "as_of_date",
    "loan_purpose",
    "loan_status",
    "interest_rate",
    "term_months",
    "current_dpd",
    "payment_history_profile",
    "credit_score",
    "open_accounts",
    "inquiries_6m",
    "age",
    "employment_type",
    "employment_years",
    "education",
    "family_size",
    "region",
]
"""Columns with few values; a dictionary on the others would be built and thrown away."""
