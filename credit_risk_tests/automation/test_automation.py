"""Schedules and sensors, ticked on an instance of the test's own."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
import yaml

from credit_risk_assets.automation.jobs import JOBS
from credit_risk_assets.config import tables
from credit_risk_assets.config.settings import Settings
from credit_risk_assets.definitions import build_defs
from credit_risk_assets.resources.instance import prepare_instance
from credit_risk_assets.resources.platform import Platform
from credit_risk_tests.conftest import run_job

ROOT = Path(__file__).parents[2]
Tape = Callable[..., Path]
HOUR = timedelta(hours=1)


@pytest.fixture
def defs(settings: Settings) -> dg.Definitions:
    return build_defs(settings)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def tick(defs: dg.Definitions, instance: dg.DagsterInstance, cursor: str | None = None) -> list[dg.RunRequest]:
    with dg.build_sensor_context(instance=instance, cursor=cursor, repository_def=defs.get_repository_def()) as context:
        return list(defs.resolve_sensor_def("landing_folder").evaluate_tick(context).run_requests or [])


def test_the_landing_sensor_asks_for_one_run_per_content(
    defs: dg.Definitions, instance: dg.DagsterInstance, tape: Tape
) -> None:
    assert tick(defs, instance) == []
    first = tape("a.csv", [{}])
    asked = tick(defs, instance)
    assert len(asked) == 1
    assert asked[0].job_name in (None, "main")
    assert tick(defs, instance)[0].run_key == asked[0].run_key
    first.rename(first.with_name("renamed.csv"))
    assert tick(defs, instance)[0].run_key == asked[0].run_key
    tape("b.csv", [{"loan_id": "L2"}])
    assert tick(defs, instance)[0].run_key != asked[0].run_key


def test_the_landing_sensor_leaves_a_file_that_is_being_written(
    defs: dg.Definitions, instance: dg.DagsterInstance, tape: Tape
) -> None:
    file = tape("a.csv", [{}])
    with file.open("a"):
        assert tick(defs, instance) == []
    assert len(tick(defs, instance)) == 1


def test_the_landing_sensor_is_quiet_once_the_lake_holds_the_content(platform: Platform, tape: Tape) -> None:
    tape("a.csv", [{}])
    assert run_job(platform, "refresh_lake").success
    with dg.DagsterInstance.ephemeral() as instance:
        assert tick(build_defs(platform.settings), instance) == []


@pytest.mark.parametrize(
    ("schedule", "job", "hours"),
    [
        ("lake_every_four_hours", "refresh_lake", {0, 4, 8, 12, 16, 20}),
        ("gold_daily", "refresh_gold", {5}),
        ("model_daily", "train_model", {6}),
        ("maintenance_weekly", "maintain_lake", {3}),
    ],
)
def test_the_schedules_run_their_jobs_at_their_hours(
    defs: dg.Definitions, instance: dg.DagsterInstance, schedule: str, job: str, hours: set[int]
) -> None:
    found = defs.resolve_schedule_def(schedule)
    now = datetime(2026, 11, 22, 4, tzinfo=UTC)
    with dg.build_schedule_context(instance=instance, scheduled_execution_time=now) as context:
        asked = found.evaluate_tick(context).run_requests or []
    assert [request.job_name or found.job_name for request in asked] == [job]
    assert found.job_name == job
    assert found.default_status == dg.DefaultScheduleStatus.RUNNING
    assert found.execution_timezone == "UTC"
    from dagster._utils.schedules import schedule_execution_time_iterator

    start = datetime(2026, 11, 23, tzinfo=UTC).timestamp()
    times = schedule_execution_time_iterator(start, str(found.cron_schedule), "UTC")
    found_times = [next(times) for _ in range(2 * len(hours))]
    assert {time.hour for time in found_times} == hours
    if job == "maintain_lake":
        assert found_times[1] - found_times[0] == timedelta(days=7)


def test_every_schedule_is_on_by_default(defs: dg.Definitions) -> None:
    schedules = [schedule for schedule in defs.schedules or [] if isinstance(schedule, dg.ScheduleDefinition)]
    assert {schedule.name for schedule in schedules} == {
        "lake_every_four_hours",
        "gold_daily",
        "model_daily",
        "maintenance_weekly",
    }
    assert {schedule.default_status for schedule in schedules} == {dg.DefaultScheduleStatus.RUNNING}


def test_every_sensor_is_on_by_default(defs: dg.Definitions) -> None:
    sensors = {sensor.name: sensor.default_status for sensor in defs.sensors or []}  # type: ignore[union-attr]
    assert sensors == dict.fromkeys(
        ("landing_folder", "run_failure_alert", "check_failure_alert", "model_performance", "stale_scores"),
        dg.DefaultSensorStatus.RUNNING,
    )


def test_every_table_has_a_freshness_policy_in_step_with_its_schedule(defs: dg.Definitions) -> None:
    graph = defs.resolve_asset_graph()
    late = {key: graph.get(key).freshness_policy for key in graph.materializable_asset_keys}
    hours = {key.to_user_string(): policy.warn_window.to_timedelta() / HOUR for key, policy in late.items() if policy}  # type: ignore[attr-defined,union-attr]
    assert {table.path for table in tables.TABLES} | {"default_model", "champion_model"} == set(hours)
    assert hours["silver/loans"] == 5
    assert hours["gold/portfolio_kpis"] == 25
    assert hours["default_model"] == 25


def test_every_job_resolves_and_the_main_one_holds_every_table(defs: dg.Definitions) -> None:
    for job in JOBS:
        assert defs.resolve_job_def(job.name)
    main = defs.resolve_job_def("main").asset_layer.executable_asset_keys
    assert {dg.AssetKey(table.key) for table in tables.TABLES} < set(main)


def test_every_asset_says_what_it_is_and_whose(defs: dg.Definitions) -> None:
    graph = defs.resolve_asset_graph()
    for key in graph.materializable_asset_keys:
        node = graph.get(key)
        assert node.description, key
        assert node.description.rstrip().endswith("."), key
        assert node.owners, key
        assert node.group_name in ("bronze", "silver", "gold", "model", "maintenance"), key
        assert node.kinds in ({"delta", "spark"}, {"xgboost", "mlflow"}, {"mlflow"}, {"delta"}), key


def test_workspace_and_project_name_the_same_code(defs: dg.Definitions) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    workspace = yaml.safe_load((ROOT / "workspace.yaml").read_text())["load_from"][0]["python_module"]
    assert workspace["module_name"] == project["dagster"]["module_name"]
    assert workspace["module_name"] == project["dg"]["project"]["code_location_target_module"]
    assert workspace["location_name"] == project["dagster"]["code_location_name"]
    assert workspace["location_name"] == project["dg"]["project"]["code_location_name"]


def test_the_instance_runs_one_writer_at_a_time(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    folder = prepare_instance(settings)
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        assert instance.get_concurrency_config().run_queue_config.max_concurrent_runs == 1
        assert instance.run_monitoring_enabled
        assert instance.run_retries_enabled
        assert instance.freshness_enabled
        assert instance.run_monitoring_max_runtime_seconds == 6 * 3600
        assert not instance.telemetry_enabled


def test_an_older_home_gains_what_it_lacks_and_keeps_what_it_says(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    file = settings.dagster_home / "dagster.yaml"
    file.write_text("run_monitoring: {enabled: true, start_timeout_seconds: 60}\nretention: {}\n")
    prepare_instance(settings)
    made = yaml.safe_load(file.read_text())
    assert made["run_monitoring"] == {"enabled": True, "start_timeout_seconds": 60, "max_runtime_seconds": 6 * 3600}
    assert made["retention"] == {}
    assert made["concurrency"]["runs"]["max_concurrent_runs"] == 1
    before = file.stat().st_mtime_ns
    prepare_instance(settings)
    assert file.stat().st_mtime_ns == before


def test_the_operations_page_names_what_there_is(defs: dg.Definitions, settings: Settings) -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    watchers = [*(defs.schedules or []), *(defs.sensors or [])]
    for watcher in watchers:
        assert f"`{watcher.name}`" in page  # type: ignore[union-attr]
    known = settings.model_dump()
    named = re.findall(r"`(schedules|alerts|maintenance|model)\.(\w+)`", page)
    named += [(a.lower(), b.lower()) for a, b in re.findall(r"CREDIT_RISK__([A-Z]+)__(\w+)=", page)]
    assert len(named) > 10
    for section, key in named:
        assert key in known[section], f"{section}.{key}"
    for cron in ("lake_cron", "gold_cron", "model_cron"):
        assert ("schedules", cron) in named
    assets = {key.to_user_string() for key in defs.resolve_asset_graph().materializable_asset_keys}
    selected = re.findall(r"--select (\S+)", page)
    assert selected
    assert set(selected) <= assets
