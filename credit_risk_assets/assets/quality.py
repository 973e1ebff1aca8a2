"""The register of check results: written by the checks themselves, closed at the end of each run."""

from typing import Any

import dagster as dg

from credit_risk_assets.assets.common import asset_attributes, materialized
from credit_risk_assets.assets.retries import RETRIES, retried
from credit_risk_assets.checks.framework import record_findings
from credit_risk_assets.config.tables import LOANS, PORTFOLIO_KPIS, QUALITY_RESULTS
from credit_risk_assets.resources.platform import Platform


@dg.asset(**asset_attributes(QUALITY_RESULTS), deps=[LOANS.key, PORTFOLIO_KPIS.key], retry_policy=RETRIES)
@retried
def quality_results(
    context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]
) -> dg.MaterializeResult[Any]:
    """Show what this run's checks found; each of them has recorded its findings before Dagster acted on them."""
    lakehouse = platform.lakehouse
    if not lakehouse.exists(QUALITY_RESULTS):
        record_findings(lakehouse, context.run_id, "none", [])
    rows = lakehouse.rows(QUALITY_RESULTS, ["run_id", "asset", "check_name", "severity", "passed", "observed"])
    mine = [row for row in rows if row["run_id"] == context.run_id]
    failed = [row for row in mine if not row["passed"]]
    lines = [f"- {r['severity']} `{r['asset']}` {r['check_name']}: {r['observed']}" for r in failed]
    return materialized(
        lakehouse,
        QUALITY_RESULTS,
        checks_evaluated=len(mine),
        checks_failed=len(failed),
        failed=dg.MetadataValue.md("\n".join(lines) or "none"),
    )
