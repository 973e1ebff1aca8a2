"""Parquet files as what a Delta commit says of them: where each lies, its partition, its rows and their bounds."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import Any
from urllib.parse import unquote

import pyarrow.parquet as pq
from deltalake.transaction import AddAction

from credit_risk_assets.resources.lake_log import LakehouseError
from credit_risk_assets.resources.lake_store import ParquetFile

HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
STATISTICS_COLUMNS = 32


def add_actions(files: Sequence[ParquetFile], table: str, partition_by: Sequence[str]) -> list[AddAction]:
    """The files that hold rows as actions of a commit to a table.

    Raises `LakehouseError` where a file's path does not tell the table's partitions.
    """
    return [_add_action(file, table, partition_by) for file in files if file.footer.num_rows]


def _add_action(file: ParquetFile, table: str, partition_by: Sequence[str]) -> AddAction:
    values: dict[str, str | None] = {}
    for part in file.path.split("/")[:-1]:
        name, mark, value = part.partition("=")
        if mark:
            values[name] = None if value == HIVE_NULL else unquote(value)
    if sorted(values) != sorted(partition_by):
        raise LakehouseError(
            f"{table}: file {file.path} is partitioned by {sorted(values)}: expected "
            f"{sorted(partition_by)}; nothing was committed"
        )
    return AddAction(
        path=file.path,
        size=file.size,
        partition_values=values,
        modification_time=int(time.time() * 1000),
        data_change=True,
        stats=json.dumps(_statistics(file.footer)),
    )


def _statistics(footer: pq.FileMetaData) -> dict[str, Any]:
    """Delta's column statistics from a Parquet footer: rows, and per plain column minimum, maximum, nulls."""
    lows: dict[str, Any] = {}
    highs: dict[str, Any] = {}
    nulls: dict[str, int] = {}
    for index in range(min(footer.num_columns, STATISTICS_COLUMNS)):
        name = footer.schema.column(index).path
        if "." in name:
            continue
        groups = [footer.row_group(g).column(index).statistics for g in range(footer.num_row_groups)]
        if any(s is None for s in groups):
            continue
        if all(s.has_null_count for s in groups):
            nulls[name] = sum(s.null_count for s in groups)
        ranged = [s for s in groups if s.has_min_max]
        if len(ranged) == sum(1 for s in groups if s.num_values):
            low, high = list(_plain(s.min for s in ranged)), list(_plain(s.max for s in ranged))
            if low and None not in low + high:
                lows[name], highs[name] = min(low), max(high)
    return {"numRecords": footer.num_rows, "minValues": lows, "maxValues": highs, "nullCount": nulls}


def _plain(values: Iterator[Any]) -> Iterator[Any]:
    """Statistics in Delta's JSON form; None for what has no safe one."""
    for value in values:
        if isinstance(value, bool) or (isinstance(value, float) and not math.isfinite(value)):
            yield None
        elif isinstance(value, datetime):
            yield None  # sub-millisecond bounds would be cut
        elif isinstance(value, date):
            yield value.isoformat()
        elif isinstance(value, int | float) or (isinstance(value, str) and len(value) <= 128):
            yield value
        else:
            yield None
