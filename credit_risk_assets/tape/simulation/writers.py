"""Tape files: appended block by block, complete or absent (temporary name, then rename)."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
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


class PartedTape:
    """One tape under construction, in one file or in parts that follow each other in the order of loans.

    With the same breaks for every tape, a loan stands in the part of the same number on all of them.
    """

    def __init__(self, folder: Path, name: str, format: TapeFormat, schema: pa.Schema, parts: int = 1) -> None:
        names = [name] if parts == 1 else [f"{name}_part-{number:04d}" for number in range(1, parts + 1)]
        self._folder, self._name, self._format = folder, name, format
        self._files = [TapeFile(folder / f"{part}.{format}", schema) for part in names]
        self._current = 0

    @property
    def rows(self) -> int:
        """Rows so far, over all parts."""
        return sum(file.rows for file in self._files)

    def append(self, table: pa.Table, encoded: bytes | None, breaks: Sequence[str]) -> None:
        """Add a block, sorted by loan; each of the loans `breaks` begins the next part.

        `encoded` may hold the block's CSV bytes; they serve where the block is not broken.
        """
        if not breaks:
            self._files[self._current].append(encoded or table, table.num_rows)
            return
        loans = table["loan_id"].to_numpy(zero_copy_only=False).astype(str)
        places = [0, *np.searchsorted(loans, np.array(breaks, dtype=str)), table.num_rows]
        for number, (begin, end) in enumerate(pairwise(places)):
            self._current += number > 0
            self._files[self._current].append(table.slice(begin, end - begin), int(end - begin))

    def commit(self) -> list[Path]:
        """Finish the files; a part without rows is left out, and an earlier run's files of this tape go."""
        empty = [file for file in self._files if not file.rows] if self.rows else self._files[1:]
        for file in empty:
            file.discard()
        written = [file.commit() for file in self._files if file not in empty]
        for old in [
            self._folder / f"{self._name}.{self._format}",
            *self._folder.glob(f"{self._name}_part-*.{self._format}"),
        ]:
            if old not in written:
                old.unlink(missing_ok=True)
        return written

    def discard(self) -> None:
        """Leave nothing behind."""
        for file in self._files:
            file.discard()


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
