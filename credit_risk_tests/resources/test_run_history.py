"""A run's history is Dagster's own, whether its SQLite files were kept open or not."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import pytest
import yaml

from credit_risk_assets.config.settings import Settings
from credit_risk_assets.resources.instance import open_for_run, open_instance, prepare_instance
from credit_risk_assets.resources.run_history import OpenEventLogStorage, OpenRunStorage


@dg.asset
def ledger() -> dg.MaterializeResult[None]:
    return dg.MaterializeResult(metadata={"rows": 3}, data_version=dg.DataVersion("7"))


@dg.multi_asset_check(specs=[dg.AssetCheckSpec(name, asset="ledger") for name in ("complete", "balanced")])
def ledger_checks() -> object:
    yield dg.AssetCheckResult(asset_key="ledger", check_name="complete", passed=True)
    yield dg.AssetCheckResult(asset_key="ledger", check_name="balanced", passed=False, metadata={"difference": 2})


def run_ledger(instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    defs = dg.Definitions(assets=[ledger], asset_checks=[ledger_checks], jobs=[dg.define_asset_job("books")])
    return defs.resolve_job_def("books").execute_in_process(instance=instance)


def told(instance: dg.DagsterInstance, run_id: str) -> list[str]:
    """The kinds of a run's events, in their order."""
    return [event.dagster_event.event_type_value for event in instance.all_logs(run_id) if event.dagster_event]


@pytest.fixture(autouse=True)
def home_of_dagster(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(settings.dagster_home))


def test_daemon_and_web_server_read_a_run_while_it_is_kept_open_and_after(settings: Settings) -> None:
    with open_for_run(settings) as instance:
        assert isinstance(instance.event_log_storage, OpenEventLogStorage)
        assert isinstance(instance.run_storage, OpenRunStorage)
        run = run_ledger(instance)
        with open_instance(settings) as beside:
            assert type(beside.event_log_storage) is not OpenEventLogStorage
            assert told(beside, run.run_id) == told(instance, run.run_id)
    with open_instance(settings) as instance:
        assert instance.get_run_by_id(run.run_id).status == dg.DagsterRunStatus.SUCCESS  # type: ignore[union-attr]
        version = instance.get_latest_materialization_event(dg.AssetKey("ledger"))
        assert version is not None
        assert version.asset_materialization is not None
        assert version.asset_materialization.metadata["rows"].value == 3
        keys = [dg.AssetCheckKey(dg.AssetKey("ledger"), name) for name in ("complete", "balanced")]
        found = instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
        assert [found[key].status.value for key in keys] == ["SUCCEEDED", "FAILED"]
        again = run_ledger(instance)
        assert told(instance, again.run_id) == told(instance, run.run_id)


def test_files_kept_open_see_what_others_write(settings: Settings) -> None:
    with open_for_run(settings) as instance, open_instance(settings) as beside:
        run = run_ledger(beside)
        assert instance.get_run_by_id(run.run_id) is not None
        assert told(instance, run.run_id) == told(beside, run.run_id)
        assert run_ledger(instance).success
        assert run_ledger(beside).success
        assert len(beside.get_run_ids()) == 3


def test_threads_share_the_files(settings: Settings) -> None:
    with open_for_run(settings) as instance:
        run = run_ledger(instance)

        def say(number: int) -> None:
            event = dg.AssetMaterialization("ledger", metadata={"number": number})
            instance.report_runless_asset_event(event)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(say, range(40)))
        records = instance.fetch_materializations(dg.AssetKey("ledger"), limit=100).records
        assert {record.asset_materialization.metadata["number"].value for record in records[:40]} == set(range(40))  # type: ignore[union-attr]
        assert told(instance, run.run_id)[-1] == "PIPELINE_SUCCESS"


def test_closing_leaves_whole_files_and_no_log_beside_them(settings: Settings) -> None:
    with open_for_run(settings) as instance:
        run = run_ledger(instance)
    history = settings.dagster_home / "history"
    assert not list(history.rglob("*.db-wal"))
    file = history / "runs" / f"{run.run_id}.db"
    with sqlite3.connect(file) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_storage_of_the_configuration_stays(settings: Settings, tmp_path: Path) -> None:
    file = prepare_instance(settings) / "dagster.yaml"
    elsewhere = tmp_path / "elsewhere"
    held = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump({**held, "storage": {"sqlite": {"base_dir": str(elsewhere)}}}))
    with open_for_run(settings) as instance:
        assert not isinstance(instance.event_log_storage, OpenEventLogStorage)
        assert run_ledger(instance).success
    assert (elsewhere / "history" / "runs.db").exists()
    assert not (settings.dagster_home / "history" / "runs.db").exists()
