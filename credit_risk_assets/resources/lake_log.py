"""What the tables' commit logs tell, read by delta-rs without starting an engine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import deltalake
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
from deltalake import DeltaTable
from deltalake.fs import DeltaStorageHandler

from credit_risk_assets.config.tables import Table

INPUTS_KEY = "credit_risk_inputs"
SAME_ROWS = ("OPTIMIZE", "VACUUM START", "VACUUM END")
"""Operations that move files and change no row."""
RECENT_COMMITS = 50


class LakehouseError(RuntimeError):
    """A write that must not happen; the message names the table, what was found and what was expected."""


@dataclass(frozen=True)
class TableVersion:
    """One commit of a table: when it was made (UTC), by which operation, and what that counted."""

    version: int
    committed_at: datetime
    operation: str
    metrics: dict[str, Any]


class LakeLog:
    """What the tables' commit logs tell, without starting an engine."""

    def __init__(self, root: Path | str) -> None:
        self.root = str(root)

    def path(self, table: Table) -> str:
        """Where the table lies."""
        return f"{self.root}/{table.path}"

    def exists(self, table: Table) -> bool:
        """Whether the table has a first commit."""
        return DeltaTable.is_deltatable(self.path(table))

    def _delta(self, table: Table) -> DeltaTable:
        if not self.exists(table):
            raise LakehouseError(f"{table.path}: no such table yet; run `credit-risk refresh`")
        return DeltaTable(self.path(table))

    def version(self, table: Table) -> int | None:
        """The table's newest version, or None before its first commit."""
        return self._delta(table).version() if self.exists(table) else None

    def data_version(self, table: Table) -> int | None:
        """The newest version that changed rows, whatever maintenance came after it; None before the first commit."""
        if not self.exists(table):
            return None
        delta = self._delta(table)
        for limit in (RECENT_COMMITS, None):
            for entry in delta.history(limit):
                if entry["operation"] not in SAME_ROWS:
                    return int(entry["version"])
        return delta.version()

    def history(self, table: Table) -> list[TableVersion]:
        """The table's versions that can still be named, newest first."""
        return [
            TableVersion(
                int(entry["version"]),
                datetime.fromtimestamp(entry["timestamp"] / 1000, UTC),
                str(entry["operation"]),
                {name: value for name, value in (entry.get("operationMetrics") or {}).items() if value is not None},
            )
            for entry in self._delta(table).history()
        ]

    def size_bytes(self, table: Table) -> tuple[int, int]:
        """Files of the table's newest version, and their bytes."""
        actions = pa.table(self._delta(table).get_add_actions(flatten=True))
        return actions.num_rows, int(sum(actions["size_bytes"].to_pylist()))

    def row_count(self, table: Table) -> int:
        """Rows in the table, from the commit log's statistics alone."""
        return int(self._delta(table).count()) if self.exists(table) else 0

    def row_count_at(self, table: Table, version: int) -> int:
        """Rows in an earlier version of the table, from the commit log's statistics alone."""
        return int(DeltaTable(self.path(table), version=version).count())

    def columns(self, table: Table) -> list[str]:
        """The table's column names in order."""
        return [f.name for f in self._delta(table).schema().fields]

    def column_types(self, table: Table) -> list[tuple[str, str]]:
        """The table's columns and Delta types, as people read them."""
        fields = self._delta(table).schema().fields
        return [(f.name, type_name(f.type)) for f in fields]

    def sequence(self, table: Table, application: str) -> int | None:
        """The highest sequence that an application has committed to the table, or None."""
        if not self.exists(table):
            return None
        return self._delta(table).transaction_version(application)

    def inputs(self, table: Table) -> dict[str, Any] | None:
        """What the table's rows were last computed from, as its last write was told."""
        return _stated_inputs(self._delta(table)) if self.exists(table) else None

    def inputs_at(self, table: Table, version: int) -> dict[str, Any] | None:
        """What the rows of an earlier version were computed from."""
        return _stated_inputs(DeltaTable(self.path(table), version=version))

    def rows(self, table: Table, columns: Sequence[str]) -> list[dict[str, Any]]:
        """The rows of a small table, by delta-rs; none where the table is missing."""
        return _rows(self._delta(table), columns) if self.exists(table) else []

    def total(self, table: Table, column: str) -> int:
        """The sum of a column of whole numbers, read part by part."""
        found = pa.RecordBatchReader.from_stream(self._delta(table).scan(columns=[column]))
        return sum(pc.sum(batch.column(0)).as_py() or 0 for batch in found)

    def rows_at(self, table: Table, columns: Sequence[str], version: int) -> list[dict[str, Any]]:
        """The rows of an earlier version of a small table."""
        return _rows(DeltaTable(self.path(table), version=version), columns)


def type_name(kind: Any) -> str:
    """A Delta type as people read it; whether an array may hold gaps is no difference."""
    if isinstance(kind, deltalake.schema.ArrayType):
        return f"array<{type_name(kind.element_type)}>"
    return str(getattr(kind, "type", kind))


def stored_files(delta: DeltaTable) -> pafs.FileSystem:
    """The table's folder, wherever it is stored."""
    return pafs.PyFileSystem(DeltaStorageHandler(delta.table_uri))


def missing_files(delta: DeltaTable, logged: Sequence[str]) -> list[str]:
    """Those of the files, as the log names them, that are not in the table's folder."""
    paths = [unquote(path) for path in logged]
    found = stored_files(delta).get_file_info(paths)
    return [info.path for info in found if info.type == pafs.FileType.NotFound]


def _rows(delta: DeltaTable, columns: Sequence[str]) -> list[dict[str, Any]]:
    # Not `to_pyarrow_table`: its threads abort a process that ends soon after.
    return pa.RecordBatchReader.from_stream(delta.scan(columns=list(columns))).read_all().to_pylist()


def _stated_inputs(delta: DeltaTable) -> dict[str, Any] | None:
    for entry in delta.history(RECENT_COMMITS):
        if entry.get("userMetadata"):
            stated = json.loads(entry["userMetadata"])
            if INPUTS_KEY in stated:
                return dict(stated[INPUTS_KEY])
    return None
