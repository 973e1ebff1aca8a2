"""What every table's asset shares: its description, owner, kinds and the facts shown after each write."""

from __future__ import annotations

from typing import Any

import dagster as dg

from credit_risk_assets.assets.columns import describe
from credit_risk_assets.assets.lineage import column_lineage
from credit_risk_assets.config.tables import Table
from credit_risk_assets.resources.lakehouse import Lakehouse

OWNERS = {
    "bronze": "team:data-platform",
    "silver": "team:data-platform",
    "gold": "team:credit-risk",
    "model": "team:credit-risk",
    "maintenance": "team:data-platform",
}


def asset_attributes(table: Table) -> dict[str, Any]:
    """The attributes of a table's asset, for `@asset(**...)` or an `AssetSpec`."""
    return {
        "key": dg.AssetKey(table.key),
        "description": table.description,
        "group_name": table.layer,
        "kinds": {"delta", "spark"},
        "owners": [OWNERS[table.layer]],
        "metadata": {
            "partitioned by": ", ".join(table.partition_by) or "nothing",
            "path": f"lake/{table.path}",
        },
    }


def table_metadata(lakehouse: Lakehouse, table: Table, **facts: Any) -> dict[str, Any]:
    """Rows, bytes, version, columns and their lineage, with what the write has to say, for the Dagster UI."""
    types = lakehouse.column_types(table)
    columns = [dg.TableColumn(name, kind, description=describe(table, name)) for name, kind in types]
    files, size = lakehouse.size_bytes(table)
    return {
        "dagster/row_count": lakehouse.row_count(table),
        "dagster/column_schema": dg.TableSchema(columns),
        "dagster/column_lineage": column_lineage(table, [name for name, _ in types]),
        "dagster/table_name": table.path,
        "table_version": lakehouse.version(table),
        "data_files": files,
        "bytes": size,
        **facts,
    }


def materialized(lakehouse: Lakehouse, table: Table, **facts: Any) -> dg.MaterializeResult[Any]:
    """The result of an asset whose table has just been brought up to date."""
    return dg.MaterializeResult(
        asset_key=dg.AssetKey(table.key),
        metadata=table_metadata(lakehouse, table, **facts),
        # Maintenance makes a version of the table, not of its data.
        data_version=dg.DataVersion(str(lakehouse.data_version(table))),
    )
