"""Rows of a tape as Parquet files in the form that a table of the lake keeps, so that a commit need only name them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from credit_risk_assets.tape import contract
from credit_risk_assets.tape.rows import ROW_NUMBER

GROUP_ROWS = 65_536
"""Rows that a partition collects before they are written: fewer would make Parquet's row groups small."""
PENDING_WRITES = 4
"""Writes that may wait for the thread: a block's partitions, while the next block is made."""
FILE_ROWS = 2**20
"""Rows of a file: a table of several can be read by as many cores."""
_VARIED = {
    "loan_id",
    "customer_id",
    ROW_NUMBER,
    *[column.name for column in contract.COLUMNS if column.type == "double"],
}
"""Columns whose values repeat too seldom for a dictionary."""

Submit = Callable[[Callable[[], None]], Future[None]]


class Parts:
    """Parquet files of one folder, opened at the first rows so that no empty file is left.

    `stamp` holds the columns that are the same on every row, as Arrow values; `partition_by` parts the rows by a
    column's values, a folder each (`column=value`), as Delta's tables do. A thread writes some rows while the next
    ones are made.
    """

    def __init__(
        self,
        folder: Path,
        submit: Submit,
        *,
        stamp: Mapping[str, pa.Scalar[Any]] | None = None,
        partition_by: str | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._submit = submit
        self._stamp = stamp or {}
        self._partition_by = partition_by
        self._waiting: dict[str, list[pl.DataFrame]] = {}
        self._files: dict[str, _PartFiles] = {}
        self._writing: deque[Future[None]] = deque()

    def write(self, rows: pl.DataFrame) -> None:
        """Add rows, all of the same columns."""
        for place, part in self._placed(rows):
            waiting = self._waiting.setdefault(place, [])
            waiting.append(part)
            if sum(frame.height for frame in waiting) >= GROUP_ROWS:
                self._write(place)

    def close(self) -> None:
        """Write what has not been written yet, and end the files."""
        try:
            for place in list(self._waiting):
                self._write(place)
            self._wait(0)
        finally:
            for files in self._files.values():
                files.close()

    def _placed(self, rows: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
        if rows.is_empty():
            return []
        name = self._partition_by
        if name is None:
            return [("", rows)]
        parted = rows.partition_by(name, as_dict=True, include_key=False, maintain_order=True)
        return [(f"{name}={quote(str(value), safe='')}", part) for (value,), part in parted.items()]

    def _write(self, place: str) -> None:
        rows = pl.concat(self._waiting.pop(place))
        files = self._files.setdefault(place, _PartFiles(self.folder / place))
        self._wait(PENDING_WRITES)
        self._writing.append(self._submit(lambda: files.write(self._stamped(rows))))

    def _stamped(self, rows: pl.DataFrame) -> pa.Table:
        table = rows.to_arrow(compat_level=pl.CompatLevel.oldest())
        for name, value in self._stamp.items():
            # One value and a reference to it a row: neither memory nor time for what is the same everywhere.
            same = pa.DictionaryArray.from_arrays(
                pa.repeat(pa.scalar(0, pa.int32()), rows.height), pa.array([value.as_py()], value.type)
            )
            table = table.append_column(name, same)
        return table

    def _wait(self, pending: int) -> None:
        while len(self._writing) > pending:
            self._writing.popleft().result()


class _PartFiles:
    """The files of one folder, one after another."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: pq.ParquetWriter | None = None
        self._made = self._rows = 0

    def write(self, table: pa.Table) -> None:
        if self._rows >= FILE_ROWS:
            self.close()
        if self._writer is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(
                self._folder / f"part-{self._made}.parquet",
                table.schema,
                use_dictionary=[name for name in table.schema.names if name not in _VARIED],
                compression="zstd",
                compression_level=1,
                # The types are Delta's to say; Arrow's own would name what only this process knows.
                store_schema=False,
            )
            self._made += 1
        self._writer.write_table(table)
        self._rows += table.num_rows

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer, self._rows = None, 0
