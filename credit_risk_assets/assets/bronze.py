"""Bronze: landed files as tables, each content once, every row accounted for."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from credit_risk_assets.assets.common import asset_attributes, materialized
from credit_risk_assets.assets.landing import LANDING_KEY
from credit_risk_assets.assets.retries import RETRIES, retried
from credit_risk_assets.config.tables import INGESTION_LOG, LOAN_TAPE, REJECTED_RECORDS
from credit_risk_assets.resources.ingestion import FileReport, Ingestion
from credit_risk_assets.resources.platform import Platform


def _files_table(reports: list[FileReport]) -> dg.MarkdownMetadataValue:
    if not reports:
        return dg.MetadataValue.md("no new file")
    rows = [
        f"| {r.name} | {r.kind} | {r.outcome} | {r.rows_read:,} | {r.rows_accepted:,} | {r.rows_rejected:,} "
        f"| {r.message} |"
        for r in reports
    ]
    head = "| file | kind | outcome | read | accepted | rejected | message |\n|---|---|---|---|---|---|---|"
    return dg.MetadataValue.md("\n".join([head, *rows]))


@dg.multi_asset(
    name="bronze",
    specs=[
        dg.AssetSpec(**asset_attributes(LOAN_TAPE), deps=[LANDING_KEY]),
        dg.AssetSpec(**asset_attributes(REJECTED_RECORDS), deps=[LANDING_KEY]),
        dg.AssetSpec(**asset_attributes(INGESTION_LOG), deps=[LANDING_KEY]),
    ],
    retry_policy=RETRIES,
)
@retried
def bronze_tables(
    context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]
) -> Iterator[dg.MaterializeResult[Any]]:
    """Take every complete file of the landing folder into bronze."""
    reports = Ingestion(
        platform.lakehouse,
        platform.settings,
        context.run_id,
        log=lambda line: context.log.info(line),
        landed=platform.landed,
    ).run()
    files = _files_table(reports)
    for table in (LOAN_TAPE, REJECTED_RECORDS, INGESTION_LOG):
        yield materialized(platform.lakehouse, table, files=files)
