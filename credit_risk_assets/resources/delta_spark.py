"""Spark's own Delta library commits: the reference on the JVM engines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pyspark.sql import DataFrame

from credit_risk_assets.resources.commits import CommitLibrary, IdempotenceKey, MergeCounts

_TXN_APP = "spark.databricks.delta.write.txnAppId"
_TXN_VERSION = "spark.databricks.delta.write.txnVersion"


class DeltaSparkLibrary(CommitLibrary):
    """delta-spark reads, writes and merges inside the Spark session."""

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
        writer = frame.write.format("delta").mode(mode)
        if partition_by:
            writer = writer.partitionBy(*partition_by)
        if mode == "overwrite":
            writer = writer.option("overwriteSchema", "true")
        if key:
            writer = writer.option("txnAppId", key.application).option("txnVersion", str(key.sequence))
        if metadata:
            writer = writer.option("userMetadata", metadata)
        writer.save(path)

    def merge(self, path: str, frame: DataFrame, *, on: Sequence[str], key: IdempotenceKey | None) -> MergeCounts:
        """Update the rows whose key the frame holds, insert the others, in one commit."""
        from delta.tables import DeltaTable

        condition = " AND ".join(f"t.`{name}` = s.`{name}`" for name in on)
        table = DeltaTable.forPath(self._session, path)
        with self._transaction(key):
            (
                table.alias("t")
                .merge(frame.alias("s"), condition)
                .whenMatchedUpdateAll()
                .whenNotMatchedInsertAll()
                .execute()
            )
        metrics = table.history(1).select("operationMetrics").head()
        counts = dict(metrics[0]) if metrics else {}
        return MergeCounts(
            int(counts.get("numTargetRowsInserted", 0)),
            int(counts.get("numTargetRowsUpdated", 0)),
            int(counts.get("numTargetFilesAdded", 0)),
            int(counts.get("numTargetFilesRemoved", 0)),
        )

    @contextmanager
    def _transaction(self, key: IdempotenceKey | None) -> Iterator[None]:
        if key is None:
            yield
            return
        self._session.conf.set(_TXN_APP, key.application)
        self._session.conf.set(_TXN_VERSION, str(key.sequence))
        try:
            yield
        finally:
            self._session.conf.unset(_TXN_APP)
            self._session.conf.unset(_TXN_VERSION)
