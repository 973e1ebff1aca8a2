"""The one place where assets, checks, jobs, schedules, sensors and resources meet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg

from credit_risk_assets.assets import (
    bronze,
    delinquency,
    gold,
    impairment,
    landing,
    maintenance,
    model,
    monitoring,
    quality,
    silver,
)
from credit_risk_assets.assets.freshness import with_freshness
from credit_risk_assets.automation.jobs import JOBS
from credit_risk_assets.automation.schedules import build_schedules
from credit_risk_assets.automation.sensors import build_sensors
from credit_risk_assets.checks import bronze as bronze_checks
from credit_risk_assets.checks import delinquency as delinquency_checks
from credit_risk_assets.checks import gold as gold_checks
from credit_risk_assets.checks import impairment as impairment_checks
from credit_risk_assets.checks import model as model_checks
from credit_risk_assets.checks import monitoring as monitoring_checks
from credit_risk_assets.checks import silver as silver_checks
from credit_risk_assets.config.settings import Settings, load_settings
from credit_risk_assets.resources.mlflow import mlflow_resource
from credit_risk_assets.resources.platform import Platform

ASSETS = (
    landing.loan_tapes,
    bronze.bronze_tables,
    silver.loan_history,
    silver.loans,
    gold.portfolio_tables,
    gold.development_sample,
    delinquency.delinquency_tables,
    model.default_model,
    model.champion_model,
    model.loan_scores,
    model.challenger_scores,
    impairment.expected_credit_loss,
    monitoring.monitoring_tables,
    quality.quality_results,
    maintenance.compacted_files,
    maintenance.vacuumed_files,
)


def build_defs(
    settings: Settings | None = None,
    *,
    resource_overrides: Mapping[str, Any] | None = None,
    loggers: Mapping[str, dg.LoggerDefinition] | None = None,
) -> dg.Definitions:
    """Everything Dagster needs to know; tests replace resources by name, the shell adds its logger."""
    settings = settings or load_settings()
    resources: dict[str, Any] = {"platform": Platform(settings), "mlflow": mlflow_resource(settings)}
    return dg.Definitions(
        assets=with_freshness(ASSETS, settings.schedules),
        asset_checks=[
            bronze_checks.bronze_checks,
            silver_checks.history_checks,
            silver_checks.loan_checks,
            gold_checks.portfolio_checks,
            gold_checks.sample_checks,
            gold_checks.score_checks,
            delinquency_checks.delinquency_checks,
            impairment_checks.ecl_checks,
            model_checks.model_checks,
            monitoring_checks.monitoring_checks,
        ],
        jobs=list(JOBS),
        schedules=build_schedules(settings),
        sensors=build_sensors(settings),
        resources={**resources, **(resource_overrides or {})},
        loggers=loggers,
        # One process a run: each step of its own process would start an engine of its own.
        executor=dg.in_process_executor,
    )


defs = build_defs()
