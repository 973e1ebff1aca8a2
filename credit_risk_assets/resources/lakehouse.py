"""Every read and write of the Delta lake, on every engine: `read`, `append`, `merge`, `overwrite`, maintenance.

Each write is guarded: the frame's schema must equal the table's (evolution is an explicit step before), and a
commit carries an idempotence key, so that the same write done twice lands once.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import deltalake
import pyarrow as pa
import pyarrow.fs as pafs
from deltalake import DeltaTable
from deltalake.fs import DeltaStorageHandler
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructType

from credit_risk_assets.config.settings import Settings
from credit_risk_assets.config.tables import Table

INPUTS_KEY = "credit_risk_inputs"
SAME_ROWS = ("OPTIMIZE", "VACUUM START", "VACUUM END")
"""Operations that move files and change no row."""
RECENT_COMMITS = 50
NEVER = -1
"""The sequence of an application that a restored table has forgotten."""


class LakehouseError(RuntimeError):
    """A write that must not happen; the message names the table, what was found and what was expected."""


@dataclass(frozen=True)
class IdempotenceKey:
    """An application transaction: a commit whose key the table knows already is skipped.

    `sequence` rises with each commit of the same application.
    """

    application: str
    sequence: int = 1


@dataclass(frozen=True)
class Commit:
    """What a write did: the table's version after it, and whether the key was known already."""

    version: int
    skipped: bool = False


@dataclass(frozen=True)
class MergeCounts:
    """What a merge did: rows that were new and rows that replaced one, files it wrote and files those replace."""

    inserted: int = 0
    updated: int = 0
    files_added: int = 0
    files_removed: int = 0


@dataclass(frozen=True)
class TableVersion:
    """One commit of a table: when it was made (UTC), by which operation, and what that counted."""

    version: int
    committed_at: datetime
    operation: str
    metrics: dict[str, Any]


class CommitLibrary(ABC):
    """The library that commits: delta-rs for the embedded engine, delta-spark on the JVM."""

    def __init__(self, session: SparkSession) -> None:
        self._session = session

    def read(self, path: str, version: int | None) -> DataFrame:
        """The table's rows, now or as of a version."""
        reader = self._session.read.format("delta")
        if version is not None:
            reader = reader.option("versionAsOf", str(version))
        return reader.load(path)

    @abstractmethod
    def write(
        self,
        path: str,
        frame: DataFrame,
        *,
        mode: str,
        partition_by: Sequence[str],
        key: IdempotenceKey | None,
        metadata: str | None,
    ) -> None:
        """Append the frame or replace the table's rows by it, in one commit."""

    @abstractmethod
    def merge(self, path: str, frame: DataFrame, *, on: Sequence[str], key: IdempotenceKey | None) -> MergeCounts:
        """Update the rows whose key the frame holds, insert the others, in one commit."""


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

    def columns(self, table: Table) -> list[str]:
        """The table's column names in order."""
        return [f.name for f in self._delta(table).schema().fields]

    def column_types(self, table: Table) -> list[tuple[str, str]]:
        """The table's columns and Delta types, as people read them."""
        fields = self._delta(table).schema().fields
        return [(f.name, _type_name(f.type)) for f in fields]

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

    def rows_at(self, table: Table, columns: Sequence[str], version: int) -> list[dict[str, Any]]:
        """The rows of an earlier version of a small table."""
        return _rows(DeltaTable(self.path(table), version=version), columns)


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


class Lakehouse(LakeLog):
    """The lake under one home, read and written through the session's engine."""

    def __init__(self, session: SparkSession, library: CommitLibrary, root: Path | str) -> None:
        super().__init__(root)
        self.session = session
        self._library = library

    def read(self, table: Table, version: int | None = None) -> DataFrame:
        """The table as a frame, now or as of a version."""
        if not self.exists(table):
            raise LakehouseError(f"{table.path}: no such table yet; run `credit-risk refresh`")
        return self._library.read(self.path(table), version)

    def append(
        self,
        table: Table,
        frame: DataFrame,
        *,
        key: IdempotenceKey | None = None,
        inputs: dict[str, Any] | None = None,
    ) -> Commit:
        """Add rows in one commit, unless the key is known already; `inputs` says what they come from.

        The first append makes the table. Raises `LakehouseError` where the schemas differ.
        """
        if key and (known := self.sequence(table, key.application)) is not None and known >= key.sequence:
            return Commit(self._delta(table).version(), skipped=True)
        frame = self._guarded(table, frame)
        self._library.write(
            self.path(table), frame, mode="append", partition_by=table.partition_by, key=key, metadata=_stated(inputs)
        )
        return Commit(self._delta(table).version())

    def overwrite(self, table: Table, frame: DataFrame, *, inputs: dict[str, Any] | None = None) -> Commit:
        """Replace all rows in one commit, unless the table was already computed from the same inputs.

        A table derived whole may change its schema with the code that derives it.
        """
        if inputs is not None and self.inputs(table) == inputs:
            return Commit(self._delta(table).version(), skipped=True)
        self._library.write(
            self.path(table),
            frame,
            mode="overwrite",
            partition_by=table.partition_by,
            key=None,
            metadata=_stated(inputs),
        )
        return Commit(self._delta(table).version())

    def merge(
        self, table: Table, frame: DataFrame, *, on: Sequence[str], key: IdempotenceKey | None = None
    ) -> tuple[Commit, MergeCounts]:
        """Upsert by key columns in one commit: rows of the frame replace those with the same key.

        The frame holds each key once. A key that names the partition columns spares the other partitions.
        """
        if not self.exists(table):
            commit = self.append(table, frame, key=key)
            return commit, MergeCounts(inserted=self.row_count(table), files_added=self.size_bytes(table)[0])
        if key and (known := self.sequence(table, key.application)) is not None and known >= key.sequence:
            return Commit(self._delta(table).version(), skipped=True), MergeCounts()
        frame = self._guarded(table, frame)
        counts = self._library.merge(self.path(table), frame, on=on, key=key)
        if key and self.sequence(table, key.application) != key.sequence:
            # A merge that finds nothing to do commits nothing; that it was done must be known all the same.
            self._library.write(
                self.path(table),
                frame.limit(0),
                mode="append",
                partition_by=table.partition_by,
                key=key,
                metadata=None,
            )
        return Commit(self._delta(table).version()), counts

    def ensure(self, table: Table, schema: StructType) -> None:
        """Make the table where it is missing, and add the columns that an older release's table lacks."""
        if self.exists(table):
            self.evolve(table, schema)
        else:
            self.append(table, self.session.createDataFrame([], schema))

    def evolve(self, table: Table, schema: StructType) -> list[str]:
        """Add the schema's new columns to the table, each as text or its own type; return their names."""
        if not self.exists(table):
            return []
        known = {name.lower() for name in self.columns(table)}
        new = [f for f in _arrow_fields(schema) if f.name.lower() not in known]
        if new:
            fields = [deltalake.Field.from_arrow(f.with_nullable(True)) for f in new]
            self._delta(table).alter.add_columns(fields)
        return [f.name for f in new]

    def compact(self, table: Table) -> dict[str, int]:
        """Put small files together; rows stay as they are. Returns `files_added` and `files_removed`."""
        metrics = self._delta(table).optimize.compact()
        return {
            "files_added": int(metrics.get("numFilesAdded", 0)),
            "files_removed": int(metrics.get("numFilesRemoved", 0)),
        }

    def vacuum(self, table: Table, *, retention_hours: int) -> dict[str, int]:
        """Remove the files that no version of the retention time needs, and those that no commit ever named.

        Returns `files_removed`. Versions older than the retention time can no longer be restored.
        """
        delta = self._delta(table)
        # `full`: a run that died before its commit left files that the log does not know.
        options: dict[str, Any] = {"enforce_retention_duration": False, "full": True}
        # The list names files that an earlier vacuum has removed, as long as the log remembers them.
        listed = delta.vacuum(retention_hours=retention_hours, dry_run=True, **options)
        there = len(listed) - len(missing_files(delta, listed))
        if there:
            delta.vacuum(retention_hours=retention_hours, dry_run=False, **options)
        return {"files_removed": there}

    def _guarded(self, table: Table, frame: DataFrame) -> DataFrame:
        """The frame in the table's column order, or an error that names the columns that differ."""
        if not self.exists(table):
            return frame
        expected = dict(self.column_types(table))
        found = {f.name: _type_name(deltalake.Field.from_arrow(f).type) for f in _arrow_fields(frame.schema)}
        if missing := sorted(set(expected) - set(found)):
            raise LakehouseError(f"{table.path}: the frame lacks {', '.join(missing)}; add them as nulls")
        if unknown := sorted(set(found) - set(expected)):
            raise LakehouseError(f"{table.path}: unknown columns {', '.join(unknown)}; evolve the table first")
        for name, kind in expected.items():
            if found[name] != kind:
                raise LakehouseError(
                    f"{table.path}: column {name} is {found[name]}: expected {kind}; cast it before the write"
                )
        return frame.select([f"`{name}`" for name in expected])


def _stated(inputs: dict[str, Any] | None) -> str | None:
    return json.dumps({INPUTS_KEY: inputs}) if inputs is not None else None


def _type_name(kind: Any) -> str:
    """A Delta type as people read it; whether an array may hold gaps is no difference."""
    if isinstance(kind, deltalake.schema.ArrayType):
        return f"array<{_type_name(kind.element_type)}>"
    return str(getattr(kind, "type", kind))


def _arrow_fields(schema: StructType) -> list[Any]:
    from pyspark.sql.pandas.types import to_arrow_schema

    return list(to_arrow_schema(schema, timezone="UTC"))


def open_lakehouse(settings: Settings) -> Lakehouse:
    """The lake of these settings, with the engine's session and its committing library."""
    from credit_risk_assets.resources.spark import spark_session, uses_delta_rs

    session = spark_session(settings)
    library: CommitLibrary
    if uses_delta_rs(settings):
        from credit_risk_assets.resources.delta_rs import DeltaRsLibrary

        library = DeltaRsLibrary(session)
    else:
        from credit_risk_assets.resources.delta_spark import DeltaSparkLibrary

        library = DeltaSparkLibrary(session)
    return Lakehouse(session, library, settings.lake)
