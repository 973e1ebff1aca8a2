"""Dagster's instance under the home: its run history, its concurrency and its retries."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from credit_risk_assets.config.settings import Settings

if TYPE_CHECKING:
    from dagster import DagsterInstance

INSTANCE_CONFIG = {
    # The lake has one writer: runs wait for each other.
    "concurrency": {"runs": {"max_concurrent_runs": 1}},
    # A run whose process ended unseen would hold the lake for ever: it is failed after six hours.
    "run_monitoring": {"enabled": True, "start_timeout_seconds": 300, "max_runtime_seconds": 6 * 3600},
    # A run that died is started again; one whose asset failed is not, its steps have retries of their own.
    "run_retries": {"enabled": True, "max_retries": 1, "retry_on_asset_or_op_failure": False},
    "freshness": {"enabled": True},
    "telemetry": {"enabled": False},
}


def prepare_instance(settings: Settings) -> Path:
    """Make the instance's folder and configuration, and point DAGSTER_HOME at it unless it is set already."""
    settings.make_home()
    file = settings.dagster_home / "dagster.yaml"
    if not file.exists():
        file.write_text(yaml.safe_dump(INSTANCE_CONFIG, sort_keys=False), encoding="utf-8")
    os.environ.setdefault("DAGSTER_HOME", str(settings.dagster_home))
    # One that was set from outside may not be there yet, and Dagster would not say so in one line.
    Path(os.environ["DAGSTER_HOME"]).mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "yes")
    return settings.dagster_home


def open_instance(settings: Settings) -> DagsterInstance:
    """The persistent instance of this home."""
    prepare_instance(settings)
    from dagster import DagsterInstance

    return DagsterInstance.get()
