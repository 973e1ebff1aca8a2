"""How old each table may be, in step with the schedule that refreshes it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import dagster as dg

from credit_risk_assets.automation.jobs import CHAMPION_KEY, MODEL_KEY
from credit_risk_assets.config.settings import ScheduleSettings
from credit_risk_assets.config.tables import TABLES


def _hours(settings: ScheduleSettings) -> dict[dg.AssetKey, float]:
    allowed = {
        "lake": settings.lake_fresh_hours,
        "gold": settings.gold_fresh_hours,
        "model": settings.model_fresh_hours,
    }
    return {
        **{dg.AssetKey(table.key): allowed[table.cadence] for table in TABLES},
        MODEL_KEY: settings.model_fresh_hours,
        CHAMPION_KEY: settings.model_fresh_hours,
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
