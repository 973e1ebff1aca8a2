"""Spark's own Delta library commits: the reference on the JVM engines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.utils import is_remote

from credit_risk_assets.resources.commits import CommitLibrary, IdempotenceKey, MergeCounts, Mode

_TXN_APP = "spark.databricks.delta.write.txnAppId"
_TXN_VERSION = "spark.databricks.delta.write.txnVersion"
TABLE_PROPERTIES = {
    # Deletion vectors would make the tables unreadable to some of their readers.
    "delta.enableDeletionVectors": "false",
    "delta.dataSkippingNumIndexedCols": "8",
}
_SOURCE = "credit_risk_merge_source"


class DeltaSparkLibrary(CommitLibrary):
    """delta-spark reads, writes and merges inside the Spark session."""

    table_properties = TABLE_PROPERTIES

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
        writer = _plain_strings(frame).write.format("delta").mode(mode)
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
        condition = " AND ".join(f"t.`{name}` = s.`{name}`" for name in on)
        frame.createOrReplaceTempView(_SOURCE)
        try:
            with self._transaction(key):
                # As SQL text: a classic session and a Spark Connect one both run it, with no library on this side.
                done = self._session.sql(
                    f"MERGE INTO delta.`{path}` AS t USING {_SOURCE} AS s ON {condition} "
                    "WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *"
                ).head()
        finally:
            self._session.catalog.dropTempView(_SOURCE)
        counts = done.asDict() if done else {}
        if not counts.get("num_affected_rows"):
            return MergeCounts()
        history = self._session.sql(f"DESCRIBE HISTORY delta.`{path}` LIMIT 1").select("operationMetrics").head()
        metrics = dict(history[0]) if history else {}
        return MergeCounts(
            int(counts["num_inserted_rows"]),
            int(counts["num_updated_rows"]),
            int(metrics.get("numTargetFilesAdded", 0)),
            int(metrics.get("numTargetFilesRemoved", 0)),
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


def _plain_strings(frame: DataFrame) -> DataFrame:
    """The frame with text columns of no collation.

    Spark Connect names the default one in the types it sends to the server, Delta would write that into the table's
    schema, and other readers know no such type.
    """
    if not is_remote():
        return frame
    columns = [(field.name, field.dataType.simpleString()) for field in frame.schema.fields]
    return frame.select(
        [
            F.col(f"`{name}`").cast(kind).alias(name) if "string" in kind else F.col(f"`{name}`")
            for name, kind in columns
        ]
    )
