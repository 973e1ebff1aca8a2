"""How old each table may be, in step with the schedule that refreshes it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import dagster as dg

from credit_risk_assets.automation.jobs import MODEL_KEY
from credit_risk_assets.config.settings import ScheduleSettings
from credit_risk_assets.config.tables import (
    DEVELOPMENT_SAMPLE,
    INGESTION_LOG,
    LOAN_HISTORY,
    LOAN_SCORES,
    LOAN_TAPE,
    LOANS,
    MODEL_PERFORMANCE,
    PORTFOLIO_CUBE,
    PORTFOLIO_KPIS,
    QUALITY_RESULTS,
    REJECTED_RECORDS,
)


def _hours(settings: ScheduleSettings) -> dict[dg.AssetKey, float]:
    # Every job closes the register of check results, so it is as fresh as the most frequent one.
    lake = (LOAN_TAPE, REJECTED_RECORDS, INGESTION_LOG, LOAN_HISTORY, LOANS, QUALITY_RESULTS)
    gold = (PORTFOLIO_KPIS, PORTFOLIO_CUBE, LOAN_SCORES)
    model = (DEVELOPMENT_SAMPLE, MODEL_PERFORMANCE)
    return {
        **{dg.AssetKey(table.key): settings.lake_fresh_hours for table in lake},
        **{dg.AssetKey(table.key): settings.gold_fresh_hours for table in gold},
        **{dg.AssetKey(table.key): settings.model_fresh_hours for table in model},
        MODEL_KEY: settings.model_fresh_hours,
    }


def with_freshness(
    assets: Iterable[dg.AssetsDefinition | dg.AssetSpec], settings: ScheduleSettings
) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """The assets with their freshness policies: late after the settings' hours, failing after twice as long."""
    hours = _hours(settings)

    def fresh(spec: dg.AssetSpec) -> dg.AssetSpec:
        allowed = hours.get(spec.key)
        if allowed is None:
            return spec
        late = timedelta(hours=allowed)
        return spec.replace_attributes(freshness_policy=dg.FreshnessPolicy.time_window(2 * late, late))

    return list(dg.map_asset_specs(fresh, assets))
