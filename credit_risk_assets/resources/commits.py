"""What a commit to a table is, whichever library makes it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Schema, Transaction, WriterProperties, write_deltalake
from deltalake.transaction import AddAction, RemoveAction
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructType

from credit_risk_assets.resources.file_actions import add_actions
from credit_risk_assets.resources.lake_log import LakehouseError
from credit_risk_assets.resources.lake_store import LakeStore

Mode = Literal["append", "overwrite"]
Engine = Callable[[], SparkSession]
"""The engine's session, which the first call starts: rows that are computed here are committed without it."""
NEVER = -1
"""The sequence of an application that a restored table has forgotten."""


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


class CommitLibrary(ABC):
    """The library that commits what the engine computes: delta-rs for the embedded one, delta-spark on the JVM.

    Rows that this process computed, few of them or a tape's files of them, are committed by delta-rs on every engine:
    an engine would only carry them to and fro.
    """

    table_properties: ClassVar[Mapping[str, str]] = {}
    """What a table that is made empty tells its later writers."""

    def __init__(self, engine: Engine, store: LakeStore) -> None:
        self._engine = engine
        self._store = store

    @property
    def _session(self) -> SparkSession:
        return self._engine()

    def read(self, path: str, version: int | None) -> DataFrame:
        """The table's rows, now or as of a version."""
        reader = self._session.read.format("delta")
        if version is not None:
            reader = reader.option("versionAsOf", str(version))
        return reader.load(path)

    def create(self, path: str, schema: StructType, partition_by: Sequence[str]) -> None:
        """Make an empty table."""
        DeltaTable.create(
            path,
            Schema.from_arrow(pa.schema(arrow_fields(schema))),
            partition_by=list(partition_by),
            configuration=dict(self.table_properties),
            storage_options=self._store.stated(),
        )

    def write_rows(
        self,
        path: str,
        rows: pa.Table,
        *,
        mode: Mode,
        partition_by: Sequence[str],
        key: IdempotenceKey | None,
        metadata: str | None,
    ) -> None:
        """Append rows computed here, or replace the table's rows by them, in one commit."""
        table = self._store.open(path)
        if table is not None and holds(table, key):
            return
        write_deltalake(
            path if table is None else table,
            rows.cast(pa.schema([field.with_nullable(True) for field in rows.schema])),
            mode=mode,
            partition_by=list(partition_by) or None,
            schema_mode="overwrite" if mode == "overwrite" else None,
            storage_options=self._store.stated(),
            writer_properties=WriterProperties(compression="ZSTD", compression_level=1),
            commit_properties=commit_properties(key, metadata),
        )

    def write_files(self, path: str, source: Path, *, partition_by: Sequence[str], key: IdempotenceKey | None) -> None:
        """Append the rows of a folder's Parquet files, which become the table's, in one commit."""
        table = self._opened(path)
        if holds(table, key):
            return
        added: list[AddAction | RemoveAction] = [*self._taken_files(path, source, partition_by)]
        table.create_write_transaction(
            added,
            "append",
            table.schema(),
            partition_by=list(partition_by),
            commit_properties=commit_properties(key, None),
        )

    def _opened(self, path: str) -> DeltaTable:
        table = self._store.open(path)
        if table is None:
            raise LakehouseError(f"{path}: no such table: expected one that is written; run `credit-risk refresh`")
        return table

    def _taken_files(self, path: str, source: Path, partition_by: Sequence[str]) -> list[AddAction]:
        return add_actions(self._store.take(path, source), PurePosixPath(path).name, partition_by)

    @abstractmethod
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

    @abstractmethod
    def merge(self, path: str, frame: DataFrame, *, on: Sequence[str], key: IdempotenceKey | None) -> MergeCounts:
        """Update the rows whose key the frame holds, insert the others, in one commit."""


def holds(table: DeltaTable, key: IdempotenceKey | None) -> bool:
    """Whether the table knows the commit of a key, or a later one of the same application."""
    return key is not None and (table.transaction_version(key.application) or NEVER) >= key.sequence


def commit_properties(key: IdempotenceKey | None, metadata: str | None) -> CommitProperties:
    """What delta-rs writes into the log beside the files: the key, and what the rows were computed from."""
    return CommitProperties(
        app_transactions=[Transaction(key.application, key.sequence)] if key else None,
        custom_metadata={"userMetadata": metadata} if metadata else None,
    )


def arrow_fields(schema: StructType) -> list[Any]:
    """A frame's schema as the Arrow fields that a commit describes to Delta; time stamps in UTC."""
    from pyspark.sql.pandas.types import to_arrow_schema

    return list(to_arrow_schema(schema, timezone="UTC"))


def arrow_rows(rows: Iterable[Sequence[Any]], schema: StructType) -> pa.Table:
    """Rows computed here, each in the order of the schema's columns, as a table that can be written."""
    fields = pa.schema(arrow_fields(schema))
    columns = list(zip(*rows, strict=True)) or [()] * len(fields)
    return pa.table([pa.array(values, field.type) for values, field in zip(columns, fields, strict=True)], fields)
