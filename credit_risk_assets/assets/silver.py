"""Silver: the state of each loan with its features, brought up to date with what bronze has new."""

from typing import Any

import dagster as dg
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from credit_risk_assets.assets.common import asset_attributes, materialized
from credit_risk_assets.assets.inputs import NewFiles, new_files
from credit_risk_assets.assets.retries import RETRIES, retried
from credit_risk_assets.config.tables import INGESTION_LOG, LOAN_HISTORY, LOAN_TAPE, LOANS, Table
from credit_risk_assets.credit.loan_states import STATE_KEY, distinct_keys, latest_states, loan_states
from credit_risk_assets.resources.commits import MergeCounts
from credit_risk_assets.resources.lakehouse import Lakehouse
from credit_risk_assets.resources.platform import Platform


@dg.asset(**asset_attributes(LOAN_HISTORY), deps=[LOAN_TAPE.key, INGESTION_LOG.key], retry_policy=RETRIES)
@retried
def loan_history(platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult[Any]:
    """One row per loan and as-of date; a correction of the same date replaces the row before it."""
    lakehouse = platform.lakehouse
    files = new_files(lakehouse, LOAN_HISTORY)
    counts = MergeCounts()
    if files.contents or not lakehouse.exists(LOAN_HISTORY):
        unique = distinct_states(lakehouse, LOAN_TAPE) == lakehouse.row_count(LOAN_TAPE)
        states = loan_states(_rows_of(files, lakehouse.read(LOAN_TAPE)), files.change_files, unique=unique)
        counts = _upsert(lakehouse, LOAN_HISTORY, states, ["loan_id", "as_of_date", "as_of_month"], files)
    return materialized(lakehouse, LOAN_HISTORY, files_read=len(files.contents), **_shown(counts))


@dg.asset(**asset_attributes(LOANS), deps=[LOAN_HISTORY.key], retry_policy=RETRIES)
@retried
def loans(platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult[Any]:
    """The latest state of each loan; a late tape never overwrites a newer one."""
    lakehouse = platform.lakehouse
    files = new_files(lakehouse, LOANS)
    counts = MergeCounts()
    if files.contents or not lakehouse.exists(LOANS):
        history = lakehouse.read(LOAN_HISTORY)
        first_load = not lakehouse.exists(LOANS)
        newest = latest_states(history if first_load else _rows_of(files, history))
        if not first_load:
            held = lakehouse.read(LOANS).select("loan_id", F.col("as_of_date").alias("_held_as_of"))
            newest = (
                newest.join(held, "loan_id", "left")
                .where("_held_as_of is null or as_of_date >= _held_as_of")
                .drop("_held_as_of")
            )
        counts = _upsert(lakehouse, LOANS, newest, ["loan_id"], files)
    return materialized(lakehouse, LOANS, files_read=len(files.contents), **_shown(counts))


def distinct_states(lakehouse: Lakehouse, table: Table) -> int:
    """How many loans and as-of dates a table tells of: as many as it has rows where none is repeated."""
    rows = lakehouse.row_count(table)
    return lakehouse.known(table, "states", lambda: distinct_keys(lakehouse.read(table), STATE_KEY, rows))


def _rows_of(files: NewFiles, frame: DataFrame) -> DataFrame:
    return frame.where(F.col("_source_sha256").isin(files.contents))


def _shown(counts: MergeCounts) -> dict[str, int]:
    return {
        "rows_inserted": counts.inserted,
        "rows_updated": counts.updated,
        "files_written": counts.files_added,
        "files_replaced": counts.files_removed,
    }


def _upsert(lakehouse: Lakehouse, table: Table, frame: DataFrame, on: list[str], files: NewFiles) -> MergeCounts:
    lakehouse.evolve(table, frame.schema)
    if lakehouse.exists(table):
        known = {name.lower() for name in frame.columns}
        missing = {n: F.lit(None).cast("string") for n in lakehouse.columns(table) if n.lower() not in known}
        if missing:
            frame = frame.withColumns(missing)
    _, counts = lakehouse.merge(table, frame, on=on, key=files.key)
    return counts
