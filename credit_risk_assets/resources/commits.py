"""What a commit to a table is, whichever library makes it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructType

from credit_risk_assets.resources.lake_store import LakeStore

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
    """The library that commits: delta-rs for the embedded engine, delta-spark on the JVM."""

    def __init__(self, session: SparkSession, store: LakeStore) -> None:
        self._session = session
        self._store = store

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


def arrow_fields(schema: StructType) -> list[Any]:
    """A frame's schema as the Arrow fields that a commit describes to Delta; time stamps in UTC."""
    from pyspark.sql.pandas.types import to_arrow_schema

    return list(to_arrow_schema(schema, timezone="UTC"))
