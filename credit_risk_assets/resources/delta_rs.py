"""delta-rs commits what Sail wrote: Parquet files become file actions of one Delta transaction."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote
from uuid import uuid4

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
from deltalake import DeltaTable, Schema
from deltalake.transaction import AddAction, RemoveAction, create_table_with_add_actions
from pyspark.sql import DataFrame

from credit_risk_assets.resources.commits import (
    CommitLibrary,
    IdempotenceKey,
    MergeCounts,
    Mode,
    arrow_fields,
    commit_properties,
    holds,
)
from credit_risk_assets.resources.file_actions import add_actions

REWRITE_SHARE = 0.2
"""A merge of more rows than this share of the touched partitions rewrites them; a smaller one is left to MERGE."""


class DeltaRsLibrary(CommitLibrary):
    """Sail computes and writes Parquet; delta-rs commits. A crash before the commit leaves only orphan files."""

    def write(
        self,
        path: str,
        frame: DataFrame,
        *,
        mode: Mode,
        partition_by: Sequence[str],
        key: IdempotenceKey | None,
        metadata: str | None,
    ) -> None:
        """Append the frame or replace the table's rows by it, in one commit."""
        fields = [f.with_nullable(True) for f in arrow_fields(frame.schema)]
        schema = Schema.from_arrow(pa.schema(fields))
        # Opened before the files are written: what another machine commits meanwhile is a conflict where its key is
        # the same, and no row lands twice.
        table = self._store.open(path)
        if table is not None and holds(table, key):
            return
        actions = self._written_files(path, frame, partition_by)
        properties = commit_properties(key, metadata)
        if table is None:
            create_table_with_add_actions(
                path,
                schema,
                actions,
                mode="error",
                partition_by=list(partition_by),
                storage_options=self._store.stated(),
                commit_properties=properties,
            )
            return
        added: list[AddAction | RemoveAction] = [*actions]
        table.create_write_transaction(
            added, mode, schema, partition_by=list(partition_by), commit_properties=properties
        )

    def merge(self, path: str, frame: DataFrame, *, on: Sequence[str], key: IdempotenceKey | None) -> MergeCounts:
        """Update the rows whose key the frame holds, insert the others, in one commit."""
        table = self._opened(path)
        staging = _staging_folder(self._store.scratch_of(path))
        try:
            frame.write.parquet(str(staging))
            rows = sum(pq.read_metadata(f).num_rows for f in staging.rglob("*.parquet"))
            if not rows:
                return MergeCounts()
            touched = _touched_files(table, staging, on)
            held = sum(file["num_records"] for file in touched)
            if rows <= REWRITE_SHARE * held:
                return self._upsert(table, staging, on, key)
            return self._rewrite(path, table, touched, self._session.read.parquet(str(staging)), rows, on, key)
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _rewrite(
        self,
        path: str,
        table: DeltaTable,
        touched: list[dict[str, Any]],
        source: DataFrame,
        rows: int,
        on: Sequence[str],
        key: IdempotenceKey | None,
    ) -> MergeCounts:
        """Write the touched partitions anew: their rows that the source does not replace, and the source."""
        names = [field.name for field in table.schema().fields]
        merged = source.select(*names)
        if touched:
            target = self.read(path, table.version())
            # A key holds the partition it lies in, so an inner part of the target is all there is to compare.
            for column in _partitions_in_key(table, on):
                target = target.where(target[column].isin(sorted({file["partition"][column] for file in touched})))
            kept = target.join(source.select(*on), list(on), "left_anti")
            merged = kept.select(*names).unionByName(merged)
        partition_by = table.metadata().partition_columns
        added = self._written_files(path, merged, partition_by)
        now = int(time.time() * 1000)
        removed = [RemoveAction(unquote(f["path"]), True, now, f["size_bytes"], f["partition"]) for f in touched]
        # The handle that was read commits: another writer's change in between is a conflict, not a loss.
        table.create_write_transaction(
            [*added, *removed],
            "append",
            table.schema(),
            partition_by=partition_by,
            commit_properties=commit_properties(key, None),
        )
        inserted = self._opened(path).count() - table.count()
        return MergeCounts(int(inserted), int(rows - inserted), len(added), len(removed))

    def _upsert(self, table: DeltaTable, staging: Path, on: Sequence[str], key: IdempotenceKey | None) -> MergeCounts:
        source = pads.dataset(staging, format="parquet").scanner().to_reader()
        predicate = " AND ".join(f"t.`{name}` = s.`{name}`" for name in on)
        done = (
            table.merge(
                source,
                predicate,
                source_alias="s",
                target_alias="t",
                streamed_exec=False,
                commit_properties=commit_properties(key, None),
            )
            .when_matched_update_all()
            .when_not_matched_insert_all()
            .execute()
        )
        return MergeCounts(
            int(done["num_target_rows_inserted"]),
            int(done["num_target_rows_updated"]),
            int(done["num_target_files_added"]),
            int(done["num_target_files_removed"]),
        )

    def _written_files(self, path: str, frame: DataFrame, partition_by: Sequence[str]) -> list[AddAction]:
        """Let Sail write the frame into a folder of its own below the table; describe each file to Delta."""
        folder = f"part-{uuid4().hex}"
        if self._store.is_local:
            Path(path).mkdir(parents=True, exist_ok=True)
        writer = frame.write.mode("append")
        if partition_by:
            writer = writer.partitionBy(*partition_by)
        writer.parquet(f"{path}/{folder}")
        return add_actions(self._store.parquet_files(path, folder), PurePosixPath(path).name, partition_by)


def _staging_folder(table: Path) -> Path:
    """A folder on this machine, beside the table's, for a merge's source; what a killed merge left goes first."""
    parent, name = table.parent, table.name
    parent.mkdir(parents=True, exist_ok=True)
    for left in parent.glob(f".merge-{name}-*"):
        shutil.rmtree(left, ignore_errors=True)
    return parent / f".merge-{name}-{uuid4().hex}"


def _partitions_in_key(table: DeltaTable, on: Sequence[str]) -> list[str]:
    return [name for name in table.metadata().partition_columns if name in on]


def _touched_files(table: DeltaTable, staging: Path, on: Sequence[str]) -> list[dict[str, Any]]:
    """The table's files (`path, size_bytes, num_records, partition`) that may hold a key of the source.

    Where the key contains partition columns, files of other partitions hold none.
    """
    files = pa.table(table.get_add_actions(flatten=False)).to_pylist()
    columns = _partitions_in_key(table, on)
    if not columns:
        return files
    keys = pads.dataset(staging, format="parquet").to_table(columns=columns).group_by(columns).aggregate([])
    wanted = {tuple(row[name] for name in columns) for row in keys.to_pylist()}
    return [file for file in files if tuple(file["partition"][name] for name in columns) in wanted]
