"""Dagster's instance under the home: its run history, its concurrency and its retries.

The run history is SQLite under the home, or the PostgreSQL database of `dagster.postgres_url`. The configuration
names the variable that holds the address, never the address.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from credit_risk_assets.config.settings import ENV_PREFIX, Settings, SettingsError, with_driver
from credit_risk_assets.resources.database import require_databases

if TYPE_CHECKING:
    from dagster import DagsterInstance

INSTANCE_CONFIG: dict[str, Any] = {
    # The lake has one writer: runs wait for each other.
    "concurrency": {"runs": {"max_concurrent_runs": 1}},
    # A run whose process ended unseen would hold the lake for ever: it is failed after six hours.
    "run_monitoring": {"enabled": True, "start_timeout_seconds": 300, "max_runtime_seconds": 6 * 3600},
    # A run that died is started again; one whose asset failed is not, its steps have retries of their own.
    "run_retries": {"enabled": True, "max_retries": 1, "retry_on_asset_or_op_failure": False},
    "freshness": {"enabled": True},
    "telemetry": {"enabled": False},
}


_RUN_HISTORY = "credit_risk_assets.resources.run_history"
OPEN_SQLITE = {
    "run_storage": ("OpenRunStorage", "history"),
    "event_log_storage": ("OpenEventLogStorage", "history/runs"),
}
"""What keeps the files of Dagster's default storage open, and the folders where Dagster has them."""
POSTGRES_VARIABLE = f"{ENV_PREFIX}DAGSTER__POSTGRES_URL"
POSTGRES_STORAGE: dict[str, Any] = {"postgres": {"postgres_url": {"env": POSTGRES_VARIABLE}}}


def _completed(held: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """What is held, with what an older release did not write yet; a value that is there stays."""
    found = dict(held)
    for name, value in wanted.items():
        if name not in found:
            found[name] = value
        elif isinstance(value, dict) and isinstance(found[name], dict):
            found[name] = _completed(found[name], value)
    return found


def _with_storage(held: dict[str, Any], settings: Settings, file: Path) -> dict[str, Any]:
    """What is held, with the storage of the settings; one that somebody wrote by hand stays, or is refused."""
    others = {name: value for name, value in held.items() if name != "storage" or value != POSTGRES_STORAGE}
    if not settings.dagster.postgres_url.get_secret_value():
        return others
    if "storage" in others:
        raise SettingsError(
            f"setting dagster.postgres_url: {file} has a storage of its own; remove it there, or unset "
            f"{POSTGRES_VARIABLE}"
        )
    return {**others, "storage": POSTGRES_STORAGE}


def prepare_instance(settings: Settings) -> Path:
    """Make the instance's folder and configuration, and point DAGSTER_HOME at it unless it is set already.

    Raises `SettingsError` where the configuration and the settings name different stores.
    """
    settings.make_home()
    file = settings.dagster_home / "dagster.yaml"
    held = (yaml.safe_load(file.read_text(encoding="utf-8")) or {}) if file.exists() else {}
    wanted = _completed(_with_storage(held, settings, file), INSTANCE_CONFIG)
    if wanted != held:
        # Several services start at once, and none may read half of it.
        draft = file.with_name(f".{file.name}.{os.getpid()}")
        draft.write_text(yaml.safe_dump(wanted, sort_keys=False), encoding="utf-8")
        draft.replace(file)
    if postgres_url := settings.dagster.postgres_url.get_secret_value():
        # It may have come from a secret file, and Dagster's processes read the variable.
        os.environ[POSTGRES_VARIABLE] = with_driver(postgres_url)
    os.environ.setdefault("DAGSTER_HOME", str(settings.dagster_home))
    # One that was set from outside may not be there yet, and Dagster would not say so in one line.
    Path(os.environ["DAGSTER_HOME"]).mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "yes")
    return settings.dagster_home


def open_instance(settings: Settings) -> DagsterInstance:
    """The persistent instance of this home. Raises `DatabaseError` where its database does not answer."""
    require_databases(settings)
    prepare_instance(settings)
    from dagster import DagsterInstance

    return DagsterInstance.get()


def open_for_run(settings: Settings) -> DagsterInstance:
    """The persistent instance of this home for a run in this process, which keeps SQLite's files open meanwhile.

    A storage that the configuration names stays as it is. Raises `DatabaseError` where its database does not answer.
    """
    require_databases(settings)
    prepare_instance(settings)
    from dagster import DagsterInstance
    from dagster._core.instance import InstanceRef

    home = Path(os.environ["DAGSTER_HOME"]).expanduser()
    if not home.is_absolute():
        return DagsterInstance.get()  # which refuses it, and says why
    ref = InstanceRef.from_dir(str(home))
    if ref.storage_data != InstanceRef.config_defaults(str(home))["storage"]:
        return DagsterInstance.from_ref(ref)
    storages = {
        kind: {"module": _RUN_HISTORY, "class": name, "config": {"base_dir": str(home / folder)}}
        for kind, (name, folder) in OPEN_SQLITE.items()
    }
    return DagsterInstance.from_ref(InstanceRef.from_dir(str(home), overrides=storages))
