"""Upkeep of the lake: small files put together, files that no kept version needs removed; rows stay as they are."""

from collections.abc import Callable
from typing import Any

import dagster as dg

from credit_risk_assets.assets.common import OWNERS
from credit_risk_assets.assets.retries import RETRIES, retried
from credit_risk_assets.config.tables import TABLES, Table
from credit_risk_assets.resources.lakehouse import Lakehouse
from credit_risk_assets.resources.platform import Platform

COMPACTED_KEY = dg.AssetKey(["maintenance", "compacted_files"])
VACUUMED_KEY = dg.AssetKey(["maintenance", "vacuumed_files"])
_SHARED: dict[str, Any] = {
    "group_name": "maintenance",
    "kinds": {"delta"},
    "owners": [OWNERS["maintenance"]],
    "retry_policy": RETRIES,
}


def _over_tables(lakehouse: Lakehouse, upkeep: Callable[[Table], dict[str, int]]) -> dict[str, Any]:
    """Do the upkeep of each table that there is; return what it did, as metadata."""
    rows, removed = [], 0
    for table in TABLES:
        if not lakehouse.exists(table):
            continue
        files_before, _ = lakehouse.size_bytes(table)
        done = upkeep(table)
        files_after, size = lakehouse.size_bytes(table)
        removed += done["files_removed"]
        rows.append(f"| {table.path} | {files_before:,} | {files_after:,} | {done['files_removed']:,} | {size:,} |")
    head = "| table | files before | files after | files removed | bytes |\n|---|---:|---:|---:|---:|"
    return {
        "tables": len(rows),
        "files_removed": removed,
        "by_table": dg.MetadataValue.md("\n".join([head, *rows]) if rows else "no table yet"),
    }


@dg.asset(
    key=COMPACTED_KEY,
    description="Every table with its small files put together (OPTIMIZE); one version more, the same rows.",
    **_SHARED,
)
@retried
def compacted_files(platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult[Any]:
    """Put the small files of every table together."""
    lakehouse = platform.lakehouse
    return dg.MaterializeResult(metadata=_over_tables(lakehouse, lakehouse.compact))


@dg.asset(
    key=VACUUMED_KEY,
    deps=[COMPACTED_KEY],
    description="Every table without the files that no version of the retention time needs (VACUUM).",
    **_SHARED,
)
@retried
def vacuumed_files(platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult[Any]:
    """Remove the files that no version of the retention time needs, and those a broken run left behind."""
    lakehouse, hours = platform.lakehouse, platform.settings.maintenance.retention_hours
    facts = _over_tables(lakehouse, lambda table: lakehouse.vacuum(table, retention_hours=hours))
    return dg.MaterializeResult(metadata={"retention_hours": hours, **facts})
