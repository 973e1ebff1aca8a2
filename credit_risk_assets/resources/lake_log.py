"""What the tables' commit logs tell, read by delta-rs without starting an engine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from credit_risk_assets.config.settings import Settings
from credit_risk_assets.config.tables import Table
from credit_risk_assets.resources.lake_store import LakeStore, store_at, store_of

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

    def __init__(self, place: LakeStore | Path | str) -> None:
        self.store = place if isinstance(place, LakeStore) else store_at(place)

    @classmethod
    def of(cls, settings: Settings) -> LakeLog:
        """The logs of the lake that the settings name."""
        return LakeLog(store_of(settings))

    def path(self, table: Table) -> str:
        """Where the table lies."""
        return self.store.path(table.path)

    def exists(self, table: Table) -> bool:
        """Whether the table has a first commit."""
        if self.store.is_local:
            return DeltaTable.is_deltatable(self.path(table))
        return self._found(table) is not None

    def newest(self, table: Table) -> DeltaTable:
        """The table's newest version. Raises `LakehouseError` where there is no table."""
        return self._delta(table)

    def _found(self, table: Table) -> DeltaTable | None:
        return self.store.newest(self.path(table))

    def _delta(self, table: Table) -> DeltaTable:
        found = self._found(table)
        if found is None:
            raise LakehouseError(f"{table.path}: no such table yet; run `credit-risk refresh`")
        return found

    def at(self, table: Table, version: int) -> DeltaTable:
        """The table at an earlier version. Raises `LakehouseError` where there is no table."""
        found = self.store.open(self.path(table), version)
        if found is None:
            raise LakehouseError(f"{table.path}: no such table yet; run `credit-risk refresh`")
        return found

    def version(self, table: Table) -> int | None:
        """The table's newest version, or None before its first commit."""
        found = self._found(table)
        return None if found is None else found.version()

    def data_version(self, table: Table) -> int | None:
        """The newest version that changed rows, whatever maintenance came after it; None before the first commit."""
        delta = self._found(table)
        if delta is None:
            return None
        for limit in (RECENT_COMMITS, None):
            for entry in self.store.history(self.path(table), delta, limit):
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
            for entry in self.store.history(self.path(table), self._delta(table))
        ]

    def size_bytes(self, table: Table) -> tuple[int, int]:
        """Files of the table's newest version, and their bytes."""
        actions = pa.table(self._delta(table).get_add_actions(flatten=True))
        return actions.num_rows, int(sum(actions["size_bytes"].to_pylist()))

    def row_count(self, table: Table) -> int:
        """Rows in the table, from the commit log's statistics alone."""
        found = self._found(table)
        return 0 if found is None else int(found.count())

    def row_count_at(self, table: Table, version: int) -> int:
        """Rows in an earlier version of the table, from the commit log's statistics alone."""
        return int(self.at(table, version).count())

    def columns(self, table: Table) -> list[str]:
        """The table's column names in order."""
        return [f.name for f in self._delta(table).schema().fields]

    def column_types(self, table: Table) -> list[tuple[str, str]]:
        """The table's columns and Delta types, as people read them."""
        fields = self._delta(table).schema().fields
        return [(f.name, type_name(f.type)) for f in fields]

    def sequence(self, table: Table, application: str) -> int | None:
        """The highest sequence that an application has committed to the table, or None."""
        found = self._found(table)
        return None if found is None else found.transaction_version(application)

    def inputs(self, table: Table) -> dict[str, Any] | None:
        """What the table's rows were last computed from, as its last write was told."""
        found = self._found(table)
        return None if found is None else self._stated_inputs(table, found)

    def inputs_at(self, table: Table, version: int) -> dict[str, Any] | None:
        """What the rows of an earlier version were computed from."""
        return self._stated_inputs(table, self.at(table, version))

    def rows(self, table: Table, columns: Sequence[str]) -> list[dict[str, Any]]:
        """The rows of a small table, by delta-rs; none where the table is missing."""
        found = self._found(table)
        return [] if found is None else _rows(found, columns)

    def total(self, table: Table, column: str) -> int:
        """The sum of a column of whole numbers, read part by part."""
        found = pa.RecordBatchReader.from_stream(self._delta(table).scan(columns=[column]))
        return sum(pc.sum(batch.column(0)).as_py() or 0 for batch in found)

    def rows_at(self, table: Table, columns: Sequence[str], version: int) -> list[dict[str, Any]]:
        """The rows of an earlier version of a small table."""
        return _rows(self.at(table, version), columns)

    def _stated_inputs(self, table: Table, delta: DeltaTable) -> dict[str, Any] | None:
        for entry in self.store.history(self.path(table), delta, RECENT_COMMITS):
            if entry.get("userMetadata"):
                stated = json.loads(entry["userMetadata"])
                if INPUTS_KEY in stated:
                    return dict(stated[INPUTS_KEY])
        return None


def type_name(kind: Any) -> str:
    """A Delta type as people read it; whether an array may hold gaps is no difference."""
    if isinstance(kind, deltalake.schema.ArrayType):
        return f"array<{type_name(kind.element_type)}>"
    return str(getattr(kind, "type", kind))


def _rows(delta: DeltaTable, columns: Sequence[str]) -> list[dict[str, Any]]:
    # Not `to_pyarrow_table`: its threads abort a process that ends soon after.
    return pa.RecordBatchReader.from_stream(delta.scan(columns=list(columns))).read_all().to_pylist()
