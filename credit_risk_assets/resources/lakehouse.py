"""Every read and write of the Delta lake, on every engine: `read`, `append`, `merge`, `overwrite`, maintenance.

Each write is guarded: the frame's schema must equal the table's (evolution is an explicit step before), and a
commit carries an idempotence key, so that the same write done twice lands once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import deltalake
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import StructType

from credit_risk_assets.config.settings import Settings
from credit_risk_assets.config.tables import Table
from credit_risk_assets.resources.commits import (
    Commit,
    CommitLibrary,
    Engine,
    IdempotenceKey,
    MergeCounts,
    Mode,
    arrow_fields,
    holds,
)
from credit_risk_assets.resources.lake_log import INPUTS_KEY, LakehouseError, LakeLog, type_name
from credit_risk_assets.resources.lake_store import LakeStore, store_of

Rows = TypeVar("Rows", DataFrame, pa.Table)
Found = TypeVar("Found")


class Lakehouse(LakeLog):
    """The lake under one home, read and written through the session's engine."""

    def __init__(self, engine: Engine, library: CommitLibrary, place: LakeStore | Path | str) -> None:
        super().__init__(place)
        self._engine = engine
        self._library = library
        self._known: dict[tuple[str, str], tuple[int | None, Any]] = {}

    @property
    def session(self) -> SparkSession:
        """The engine's session, started at its first use."""
        return self._engine()

    def read(self, table: Table, version: int | None = None) -> DataFrame:
        """The table as a frame, now or as of a version."""
        if not self.exists(table):
            raise LakehouseError(f"{table.path}: no such table yet; run `credit-risk refresh`")
        return self._library.read(self.path(table), version)

    def known(self, table: Table, name: str, find: Callable[[], Found]) -> Found:
        """What was found out about a table's rows under a name, looked for once a version of the table."""
        version = self.version(table)
        held = self._known.get((table.path, name))
        if held is None or held[0] != version:
            held = self._known[table.path, name] = (version, find())
        found: Found = held[1]
        return found

    def append(
        self,
        table: Table,
        rows: DataFrame | pa.Table,
        *,
        key: IdempotenceKey | None = None,
        inputs: dict[str, Any] | None = None,
    ) -> Commit:
        """Add rows in one commit, unless the key is known already; `inputs` says what they come from.

        Rows are a frame of the engine's or computed here. The first append makes the table. Raises `LakehouseError`
        where the schemas differ.
        """
        if key and self._holds(table, key):
            return Commit(self._delta(table).version(), skipped=True)
        return self._write(table, self._guarded(table, rows), mode="append", key=key, metadata=_stated(inputs))

    def append_files(self, table: Table, folder: Path, *, key: IdempotenceKey | None = None) -> Commit:
        """Add the rows of a folder's Parquet files in one commit, unless the key is known already.

        The files become the table's; columns that they lack are null. Raises `LakehouseError` where they hold a column
        that the table does not know in that type.
        """
        if key and self._holds(table, key):
            return Commit(self._delta(table).version(), skipped=True)
        self._guard_files(table, folder)
        path = self.path(table)
        self._library.write_files(path, folder, partition_by=table.partition_by, key=key)
        self.store.look_again(path)
        return Commit(self._delta(table).version())

    def _write(
        self,
        table: Table,
        rows: DataFrame | pa.Table,
        *,
        mode: Mode,
        key: IdempotenceKey | None = None,
        metadata: str | None = None,
    ) -> Commit:
        path, partition_by = self.path(table), table.partition_by
        if isinstance(rows, pa.Table):
            self._library.write_rows(path, rows, mode=mode, partition_by=partition_by, key=key, metadata=metadata)
        else:
            self._library.write(path, rows, mode=mode, partition_by=partition_by, key=key, metadata=metadata)
        self.store.look_again(path)
        return Commit(self._delta(table).version())

    def _holds(self, table: Table, key: IdempotenceKey) -> bool:
        """Whether the table knows the commit of a key, or a later one of the same application."""
        self.store.look_again(self.path(table))
        found = self._found(table)
        return found is not None and holds(found, key)

    def overwrite(self, table: Table, rows: DataFrame | pa.Table, *, inputs: dict[str, Any] | None = None) -> Commit:
        """Replace all rows in one commit, unless the table was already computed from the same inputs.

        A table derived whole may change its schema with the code that derives it.
        """
        if inputs is not None and self.inputs(table) == inputs:
            return Commit(self._delta(table).version(), skipped=True)
        return self._write(table, rows, mode="overwrite", metadata=_stated(inputs))

    def merge(
        self, table: Table, frame: DataFrame, *, on: Sequence[str], key: IdempotenceKey | None = None
    ) -> tuple[Commit, MergeCounts]:
        """Upsert by key columns in one commit: rows of the frame replace those with the same key.

        The frame holds each key once. A key that names the partition columns spares the other partitions.
        """
        if not self.exists(table):
            commit = self.append(table, frame, key=key)
            return commit, MergeCounts(inserted=self.row_count(table), files_added=self.size_bytes(table)[0])
        if key and self._holds(table, key):
            return Commit(self._delta(table).version(), skipped=True), MergeCounts()
        frame = self._guarded(table, frame)
        counts = self._library.merge(self.path(table), frame, on=on, key=key)
        self.store.look_again(self.path(table))
        if key and self.sequence(table, key.application) != key.sequence:
            # A merge that finds nothing to do commits nothing; that it was done must be known all the same.
            self._write(table, frame.limit(0), mode="append", key=key)
        return Commit(self._delta(table).version()), counts

    def frame_of(self, rows: pa.Table) -> DataFrame:
        """Rows computed here as a frame; of no rows the types are kept, which Spark would want to guess."""
        if rows.num_rows:
            return self.session.createDataFrame(rows)
        return self.session.createDataFrame([], from_arrow_schema(rows.schema))

    def ensure(self, table: Table, schema: StructType) -> None:
        """Make the table where it is missing, and add the columns that an older release's table lacks."""
        if self.exists(table):
            self.evolve(table, schema)
        else:
            self._library.create(self.path(table), schema, table.partition_by)
            self.store.look_again(self.path(table))

    def evolve(self, table: Table, schema: StructType) -> list[str]:
        """Add the schema's new columns to the table, each as text or its own type; return their names."""
        if not self.exists(table):
            return []
        known = {name.lower() for name in self.columns(table)}
        new = [f for f in arrow_fields(schema) if f.name.lower() not in known]
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
        there = len(listed) - len(self.store.missing(self.path(table), listed))
        if there:
            delta.vacuum(retention_hours=retention_hours, dry_run=False, **options)
        return {"files_removed": there}

    def _guarded(self, table: Table, rows: Rows) -> Rows:
        """The rows in the table's column order, or an error that names the columns that differ."""
        if not self.exists(table):
            return rows
        expected = dict(self.column_types(table))
        fields = rows.schema if isinstance(rows, pa.Table) else arrow_fields(rows.schema)
        if missing := sorted(set(expected) - {field.name for field in fields}):
            raise LakehouseError(f"{table.path}: the rows lack {', '.join(missing)}; add them as nulls")
        _assert_known(table, fields, expected)
        return rows.select(list(expected) if isinstance(rows, pa.Table) else [f"`{name}`" for name in expected])

    def _guard_files(self, table: Table, folder: Path) -> None:
        expected = dict(self.column_types(table))
        for file in sorted(folder.rglob("*.parquet")):
            _assert_known(table, pq.read_schema(file), expected)


def _assert_known(table: Table, fields: Iterable[Any], expected: dict[str, str]) -> None:
    """Every one of the Arrow fields is a column of the table in its type; `expected` holds the table's."""
    found = {field.name: type_name(deltalake.Field.from_arrow(field).type) for field in fields}
    if unknown := sorted(set(found) - set(expected)):
        raise LakehouseError(f"{table.path}: unknown columns {', '.join(unknown)}; evolve the table first")
    for name, kind in found.items():
        if kind != expected[name]:
            raise LakehouseError(
                f"{table.path}: column {name} is {kind}: expected {expected[name]}; cast it before the write"
            )


def _stated(inputs: dict[str, Any] | None) -> str | None:
    return json.dumps({INPUTS_KEY: inputs}) if inputs is not None else None


def open_lakehouse(settings: Settings) -> Lakehouse:
    """The lake of these settings, with its committing library and an engine that starts at its first use."""
    from credit_risk_assets.resources.spark import spark_session, uses_delta_rs

    engine, store = partial(spark_session, settings), store_of(settings)
    library: CommitLibrary
    if uses_delta_rs(settings):
        from credit_risk_assets.resources.delta_rs import DeltaRsLibrary

        library = DeltaRsLibrary(engine, store)
    else:
        from credit_risk_assets.resources.delta_spark import DeltaSparkLibrary

        library = DeltaSparkLibrary(engine, store)
    return Lakehouse(engine, library, store)
