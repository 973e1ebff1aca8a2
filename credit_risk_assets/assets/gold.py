"""Gold: what people and the model read, computed from silver when silver has moved."""

from collections.abc import Iterator
from datetime import date
from typing import Any

import dagster as dg

from credit_risk_assets.assets.common import asset_attributes, materialized
from credit_risk_assets.assets.inputs import portfolio_inputs, sample_inputs
from credit_risk_assets.assets.retries import RETRIES, retried
from credit_risk_assets.config.tables import (
    DEVELOPMENT_SAMPLE,
    LOAN_HISTORY,
    LOANS,
    PORTFOLIO_CUBE,
    PORTFOLIO_KPIS,
)
from credit_risk_assets.credit import portfolio
from credit_risk_assets.modelling.sample import development_sample as sample_of
from credit_risk_assets.resources.lakehouse import Lakehouse
from credit_risk_assets.resources.platform import Platform


def full_tape_dates(lakehouse: Lakehouse) -> list[date]:
    """The as-of dates of full tapes."""

    def find() -> list[date]:
        rows = lakehouse.read(LOAN_HISTORY).where("tape_kind = 'full'").select("as_of_date").distinct().collect()
        return sorted(row[0] for row in rows)

    return lakehouse.known(LOAN_HISTORY, "full tapes", find)


@dg.multi_asset(
    name="portfolio",
    specs=[
        dg.AssetSpec(**asset_attributes(PORTFOLIO_KPIS), deps=[LOANS.key, LOAN_HISTORY.key]),
        dg.AssetSpec(**asset_attributes(PORTFOLIO_CUBE), deps=[LOANS.key, LOAN_HISTORY.key]),
    ],
    retry_policy=RETRIES,
)
@retried
def portfolio_tables(platform: dg.ResourceParam[Platform]) -> Iterator[dg.MaterializeResult[Any]]:
    """Counts and sums per segment once over the loans; key figures and cube come from them."""
    lakehouse = platform.lakehouse
    inputs = portfolio_inputs(lakehouse)
    tables = (PORTFOLIO_KPIS, PORTFOLIO_CUBE)
    if any(lakehouse.inputs(table) != inputs for table in tables):
        sums = portfolio.segment_sums(lakehouse.read(LOANS), lakehouse.read(LOAN_HISTORY), full_tape_dates(lakehouse))
        # Small whatever the portfolio's size: computed once, then read twice.
        segments = lakehouse.frame_of(sums.toArrow())
        lakehouse.overwrite(PORTFOLIO_CUBE, portfolio.portfolio_cube(segments), inputs=inputs)
        lakehouse.overwrite(PORTFOLIO_KPIS, portfolio.portfolio_kpis(segments), inputs=inputs)
    for table in tables:
        yield materialized(lakehouse, table)


@dg.asset(**asset_attributes(DEVELOPMENT_SAMPLE), deps=[LOAN_HISTORY.key], retry_policy=RETRIES)
@retried
def development_sample(platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult[Any]:
    """Loans as they stood at each observation date, with what became of them within twelve months."""
    lakehouse = platform.lakehouse
    tapes = full_tape_dates(lakehouse)
    sample = sample_of(lakehouse.read(LOAN_HISTORY), tapes)
    lakehouse.overwrite(DEVELOPMENT_SAMPLE, sample, inputs=sample_inputs(lakehouse, tapes))
    return materialized(lakehouse, DEVELOPMENT_SAMPLE)
