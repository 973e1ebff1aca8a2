"""When the jobs run: the lake every four hours, gold and the model daily, maintenance weekly."""

from __future__ import annotations

import dagster as dg

from credit_risk_assets.automation.jobs import gold_job, lake_job, maintenance_job, model_job
from credit_risk_assets.config.settings import Settings


def build_schedules(settings: Settings) -> list[dg.ScheduleDefinition]:
    """The schedules, running as soon as the daemon does."""
    times = settings.schedules

    def schedule(name: str, job: dg.UnresolvedAssetJobDefinition, cron: str, description: str) -> dg.ScheduleDefinition:
        return dg.ScheduleDefinition(
            name=name,
            job=job,
            cron_schedule=cron,
            execution_timezone=times.timezone,
            default_status=dg.DefaultScheduleStatus.RUNNING,
            description=description,
        )

    return [
        schedule("lake_every_four_hours", lake_job, times.lake_cron, "Bronze and silver from landed files."),
        schedule("gold_daily", gold_job, times.gold_cron, "Key figures, cube and scores."),
        schedule("model_daily", model_job, times.model_cron, "Development sample, model and scores."),
        schedule("maintenance_weekly", maintenance_job, settings.maintenance.cron, "Files compacted and vacuumed."),
    ]
