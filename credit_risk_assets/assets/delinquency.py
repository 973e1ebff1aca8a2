"""Observed delinquency: vintage curves, roll rates and rating migration, computed from silver when silver has moved."""

from collections.abc import Iterator
from datetime import date
from typing import Any

import dagster as dg
import pyarrow as pa
from pyspark.sql import functions as F

from credit_risk_assets.assets.common import asset_attributes, materialized
from credit_risk_assets.assets.gold import full_tape_dates
from credit_risk_assets.assets.inputs import DELINQUENCY_TABLES, delinquency_inputs
from credit_risk_assets.assets.retries import RETRIES, retried
from credit_risk_assets.config.tables import LOAN_HISTORY, LOANS, RATING_MIGRATION, ROLL_RATES, VINTAGE_CURVES, Table
from credit_risk_assets.credit.migration import MIGRATION_SCHEMA, rating_migration, tape_pairs
from credit_risk_assets.credit.roll_rates import bucket_pairs, roll_rates
from credit_risk_assets.credit.vintage import first_events, vintage_curves
from credit_risk_assets.resources.lakehouse import Lakehouse
from credit_risk_assets.resources.platform import Platform


@dg.multi_asset(
    name="delinquency",
    specs=[dg.AssetSpec(**asset_attributes(table), deps=[LOANS.key, LOAN_HISTORY.key]) for table in DELINQUENCY_TABLES],
    retry_policy=RETRIES,
)
@retried
def delinquency_tables(platform: dg.ResourceParam[Platform]) -> Iterator[dg.MaterializeResult[Any]]:
    """What the payment histories and the tapes tell of each cohort, month and risk category."""
    lakehouse = platform.lakehouse
    inputs = delinquency_inputs(lakehouse)
    if any(lakehouse.inputs(table) != inputs for table in DELINQUENCY_TABLES):
        tapes = observed_tapes(lakehouse)
        for table, rows in delinquency_rows(lakehouse, tapes).items():
            lakehouse.overwrite(table, rows, inputs=inputs)
    for table in DELINQUENCY_TABLES:
        yield materialized(lakehouse, table)


def observed_tapes(lakehouse: Lakehouse) -> list[date]:
    """The full tapes' dates; a lake of change files alone is looked at as of its newest date."""
    tapes = full_tape_dates(lakehouse)
    if tapes:
        return tapes
    newest = lakehouse.read(LOANS).agg(F.max("as_of_date")).head()
    return [newest[0] if newest and newest[0] else date(1900, 1, 1)]


def delinquency_rows(lakehouse: Lakehouse, tapes: list[date]) -> dict[Table, pa.Table]:
    """The rows of the three tables: counted by the engine, put together here, small whatever the portfolio's size."""
    loans, history = lakehouse.read(LOANS), lakehouse.read(LOAN_HISTORY)
    first, newest = min(tapes), max(tapes)
    curves = vintage_curves(first_events(loans, newest).toArrow(), first, newest)
    rates = roll_rates(bucket_pairs(loans, history, tapes).toArrow(), tapes)
    # One pair of tapes after the other: a join holds two tapes and no more.
    moves = [rating_migration(history, start, end).toArrow() for start, end in tape_pairs(tapes)]
    migration = pa.concat_tables(moves) if moves else MIGRATION_SCHEMA.empty_table()
    return {VINTAGE_CURVES: curves, ROLL_RATES: rates, RATING_MIGRATION: migration}
