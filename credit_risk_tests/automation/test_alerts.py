"""What people are told: failed checks once, failed runs once, a model outside its limits once."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from hypothesis import given
from hypothesis import strategies as st

from credit_risk_assets.automation import check_alerts as check_alerts_module
from credit_risk_assets.automation import sensors
from credit_risk_assets.automation.check_alerts import CheckWatch, check_alerts
from credit_risk_assets.checks.framework import RESULTS_SCHEMA
from credit_risk_assets.config.settings import Settings
from credit_risk_assets.config.tables import INGESTION_LOG, QUALITY_RESULTS
from credit_risk_assets.definitions import build_defs
from credit_risk_assets.modelling.evaluate import Metric
from credit_risk_assets.resources.notifications import Alert
from credit_risk_assets.resources.platform import Platform
from credit_risk_tests.checks.damage import record_evidence, sound_evidence
from credit_risk_tests.conftest import run_job

QUIET = {"telemetry": {"enabled": False}}
Tape = Callable[..., Path]
Verdict = tuple[str, bool, str, str]
"""Of one check: its name, whether it passes, its severity and what it observed."""


@pytest.fixture(params=["ephemeral", "sqlite"])
def instance(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An event log in one table, and the default one, which has a file for each run."""
    folder = tmp_path / "dagster"
    folder.mkdir()
    made = (
        dg.DagsterInstance.ephemeral()
        if request.param == "ephemeral"
        else dg.DagsterInstance.local_temp(tempdir=str(folder), overrides=QUIET)
    )
    with made as opened:
        yield opened


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Alert]:
    """The alerts that the sensors send."""
    alerts: list[Alert] = []
    monkeypatch.setattr(sensors, "send_alert", lambda alert, _: alerts.append(alert))
    return alerts


def evaluate(instance: dg.DagsterInstance, *verdicts: Verdict, error: str = "", job: str = "nightly") -> str:
    """A run whose one step evaluates the checks and then fails where an error is given; returns its id."""

    @dg.op(name="judge", out={})
    def judge(context: dg.OpExecutionContext) -> Iterator[Any]:
        for name, passed, severity, observed in verdicts:
            yield dg.AssetCheckEvaluation(
                asset_key=dg.AssetKey(["silver", "loans"]),
                check_name=name,
                passed=passed,
                severity=dg.AssetCheckSeverity[severity],
                metadata={"observed": observed, "expected": "none", "failed_rows": 3, "total_rows": 10},
            )
        if error:
            raise RuntimeError(error)

    @dg.job(name=job)
    def nightly() -> None:
        judge()

    return nightly.execute_in_process(instance=instance, raise_on_error=False).run_id


def failing(name: str, observed: str = "3 rows", severity: str = "ERROR") -> Verdict:
    return name, False, severity, observed


def passing(name: str) -> Verdict:
    return name, True, "ERROR", "0 rows"


def tick(settings: Settings, instance: dg.DagsterInstance, sensor: str, cursor: str | None = None) -> Any:
    """One tick of a sensor, made afresh as after a restart; returns its result with the new cursor."""
    defs = build_defs(settings)
    with dg.build_sensor_context(instance=instance, cursor=cursor, repository_def=defs.get_repository_def()) as context:
        return defs.resolve_sensor_def(sensor).evaluate_tick(context)


def test_failed_checks_of_a_run_are_one_alert_with_what_they_saw(
    settings: Settings, instance: dg.DagsterInstance, sent: list[Alert]
) -> None:
    run = evaluate(instance, passing("fine"), failing("late", "1 day", "WARN"), failing("wrong", "3 rows"))
    tick(settings, instance, "check_failure_alert")
    assert sent == [
        Alert(
            f"run {run[:8]} of job nightly: 2 checks failed",
            "ERROR silver/loans wrong: 3 rows: expected none (3 of 10 rows)\n"
            "WARN silver/loans late: 1 day: expected none (3 of 10 rows)",
            "ERROR",
        )
    ]


def test_checks_that_only_warn_make_a_warning(
    settings: Settings, instance: dg.DagsterInstance, sent: list[Alert]
) -> None:
    evaluate(instance, failing("late", severity="WARN"))
    tick(settings, instance, "check_failure_alert")
    assert [alert.severity for alert in sent] == ["WARN"]


def test_a_check_that_keeps_failing_is_told_once_until_it_changes_or_recovers(
    settings: Settings, instance: dg.DagsterInstance, sent: list[Alert]
) -> None:
    cursor: str | None = None

    def told(*verdicts: Verdict) -> int:
        nonlocal cursor
        before = len(sent)
        evaluate(instance, *verdicts)
        cursor = tick(settings, instance, "check_failure_alert", cursor).cursor
        return len(sent) - before

    assert told(failing("wrong")) == 1
    assert told(failing("wrong")) == 0
    assert told(failing("wrong", "4 rows")) == 1
    assert told(failing("wrong", "4 rows"), failing("other")) == 1
    assert "wrong" not in sent[-1].text
    assert told(passing("wrong")) == 0
    assert told(failing("wrong", "4 rows")) == 1


@given(st.lists(st.tuples(st.sampled_from("ab"), st.booleans(), st.sampled_from(["3 rows", "4 rows"])), max_size=30))
def test_news_is_a_failure_that_did_not_stand_just_so_before(seen: list[tuple[str, bool, str]]) -> None:
    watch, standing = CheckWatch(since=0.0), dict[str, str]()
    for name, passed, observed in seen:
        watch = CheckWatch.from_text(watch.to_text())
        evaluation = dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey("loans"), check_name=name, passed=passed, metadata={"observed": observed}
        )
        assert watch.news(evaluation) == (not passed and standing.get(name) != observed)
        if passed:
            standing.pop(name, None)
        else:
            standing[name] = observed
        assert {key.split()[1] for key in watch.failing} == set(standing)


def test_no_failed_check_is_missed_over_restarts_and_batches(instance: dg.DagsterInstance) -> None:
    runs = [evaluate(instance, failing(f"check_{n}"), error="" if n % 3 else "disk full") for n in range(7)]
    text: str | None = None
    told: list[str] = []
    for _ in range(10):
        watch = CheckWatch.from_text(text)
        told += [alert.title for alert in check_alerts(instance, watch, limit=2)]
        text = watch.to_text()
    assert told == [f"run {run[:8]} of job nightly: 1 check failed" for run in runs]
    late = evaluate(instance, failing("late"))
    watch = CheckWatch.from_text(text)
    assert [alert.title[:12] for alert in check_alerts(instance, watch, limit=2)] == [f"run {late[:8]}"]
    assert check_alerts(instance, watch) == []


def test_runs_from_long_before_the_watch_began_are_history(instance: dg.DagsterInstance) -> None:
    evaluate(instance, failing("wrong"))
    watch = CheckWatch(since=datetime.now(UTC).timestamp() + 60)
    assert check_alerts(instance, watch) == []
    watch.since = 0.0
    assert check_alerts(instance, watch) == []
    evaluate(instance, failing("wrong"))
    assert len(check_alerts(instance, watch)) == 1


def test_a_run_with_more_checks_than_a_page_tells_them_all(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_alerts_module, "EVENTS_A_PAGE", 3)
    evaluate(instance, *[failing(f"check_{n}") for n in range(8)])
    (alert,) = check_alerts(instance, CheckWatch.from_text(None))
    assert [line.split()[2] for line in alert.text.splitlines()] == [f"check_{n}:" for n in range(8)]


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the runs of the test look as if the daemon had launched them from a code location."""
    found = dg.DagsterInstance.get_run_by_id
    location = RegisteredCodeLocationOrigin("credit_risk")
    origin = RemoteJobOrigin(RemoteRepositoryOrigin(location, "__repository__"), "nightly")

    def from_a_location(self: dg.DagsterInstance, run_id: str) -> dg.DagsterRun | None:
        run = found(self, run_id)
        return run and run._replace(remote_job_origin=origin)

    monkeypatch.setattr(dg.DagsterInstance, "get_run_by_id", from_a_location)


def failure_tick(settings: Settings, instance: dg.DagsterInstance, run_id: str) -> None:
    run = instance.get_run_by_id(run_id)
    (event,) = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.RUN_FAILURE).records
    context = dg.build_run_status_sensor_context(
        "run_failure_alert",
        dagster_event=event.event_log_entry.get_dagster_event(),
        dagster_instance=instance,
        dagster_run=run,
    ).for_run_failure()
    build_defs(settings).resolve_sensor_def("run_failure_alert")(context)


def test_a_failed_run_is_one_alert_that_names_step_and_reason(
    settings: Settings, instance: dg.DagsterInstance, sent: list[Alert]
) -> None:
    cursor = tick(settings, instance, "run_failure_alert").cursor
    first = evaluate(instance, error="disk full\n  at line 3")
    cursor = tick(settings, instance, "run_failure_alert", cursor).cursor
    assert sent == [Alert(f"run {first[:8]} of job nightly failed", "judge: RuntimeError: disk full", "ERROR")]
    evaluate(instance, passing("fine"))
    cursor = tick(settings, instance, "run_failure_alert", cursor).cursor
    second = evaluate(instance, error="disk full")
    tick(settings, instance, "run_failure_alert", cursor)
    assert [alert.title[4:12] for alert in sent] == [first[:8], second[:8]]


@pytest.mark.usefixtures("launched")
def test_an_attempt_that_is_tried_again_is_silent_and_the_last_one_speaks(
    settings: Settings, instance: dg.DagsterInstance, sent: list[Alert]
) -> None:
    first, last = (evaluate(instance, error="machine lost") for _ in range(2))
    instance.add_run_tags(first, {"dagster/will_retry": "true"})
    instance.add_run_tags(last, {"dagster/will_retry": "false"})
    for run in (first, last):
        failure_tick(settings, instance, run)
    assert [alert.title for alert in sent] == [f"run {last[:8]} of job nightly failed"]


def test_a_run_of_the_shell_is_never_started_again_and_so_never_silent(
    settings: Settings, instance: dg.DagsterInstance, sent: list[Alert]
) -> None:
    run = evaluate(instance, error="machine lost")
    instance.add_run_tags(run, {"dagster/will_retry": "true"})
    failure_tick(settings, instance, run)
    assert [alert.title for alert in sent] == [f"run {run[:8]} of job nightly failed"]


@pytest.mark.usefixtures("launched")
def test_a_failure_that_dagster_has_not_tagged_yet_is_judged_as_dagster_will(
    settings: Settings, tmp_path: Path, sent: list[Alert], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "retrying"
    folder.mkdir()
    retries = {"run_retries": {"enabled": True, "max_retries": 1, "retry_on_asset_or_op_failure": True}}
    with dg.DagsterInstance.local_temp(tempdir=str(folder), overrides={**QUIET, **retries}) as instance:
        monkeypatch.setattr(dg.DagsterInstance, "add_run_tags", lambda *_: None)
        run = evaluate(instance, error="machine lost")
        found = instance.get_run_by_id(run)
        assert found is not None
        assert "dagster/will_retry" not in found.tags
        failure_tick(settings, instance, run)
        assert sent == []


def performance(platform: Platform, version: str, **figures: float) -> None:
    """Record a model version's evidence: sound, but for the figures given."""
    evidence = sound_evidence(version, champion=None)
    tested = {**evidence.tested, **{name: Metric(value) for name, value in figures.items()}}
    record_evidence(platform.lakehouse, replace(evidence, metrics={**evidence.metrics, "out_of_time": tested}))


@pytest.mark.parametrize(
    ("figures", "named"),
    [
        ({"auc": 0.55}, "auc_in_range"),
        ({"auc": 0.99}, "auc_in_range"),
        ({"ece": 0.2}, "calibrated"),
        ({"mean_pd": 0.2}, "mean_pd_fits"),
    ],
)
def test_a_model_version_outside_its_limits_is_one_alert(
    platform: Platform, sent: list[Alert], figures: dict[str, float], named: str
) -> None:
    settings = platform.settings
    with dg.DagsterInstance.ephemeral() as instance:
        assert tick(settings, instance, "model_performance").skip_message
        performance(platform, "1")
        cursor = tick(settings, instance, "model_performance").cursor
        assert sent == []
        performance(platform, "2", **figures)
        cursor = tick(settings, instance, "model_performance", cursor).cursor
        assert [(alert.title, alert.severity) for alert in sent] == [("model version 2 is outside its limits", "ERROR")]
        assert named in sent[0].text
        cursor = tick(settings, instance, "model_performance", cursor).cursor
        performance(platform, "3")
        tick(settings, instance, "model_performance", cursor)
        assert len(sent) == 1


def drift(platform: Platform, run: str, *, passed: bool) -> None:
    """Record that the tape's distribution was looked at, with another check beside it."""
    lakehouse, now = platform.lakehouse, datetime.now(UTC)
    common = {"run_id": run, "evaluated_at": now, "severity": "WARN", "observed": "PSI 0.4"}
    found = [
        {**common, "asset": "silver/loans", "check_name": "one_row_per_loan", "passed": True},
        {**common, "asset": "silver/loan_history", "check_name": "distribution_steady", "passed": passed},
    ]
    rows = [tuple(row.get(name) for name in RESULTS_SCHEMA.names) for row in found]
    lakehouse.append(QUALITY_RESULTS, lakehouse.session.createDataFrame(rows, RESULTS_SCHEMA))


def test_one_drift_asks_for_one_training(platform: Platform, tape: Tape, sent: list[Alert]) -> None:
    settings = platform.settings
    tape("a.csv", [{}])
    assert run_job(platform, "refresh_lake").success
    with dg.DagsterInstance.ephemeral() as instance:
        cursor: str | None = None

        def asked() -> list[str | None]:
            nonlocal cursor
            result = tick(settings, instance, "model_performance", cursor)
            cursor = result.cursor
            assert {request.job_name for request in result.run_requests or []} <= {None, "train_model"}
            return [request.run_key for request in result.run_requests or []]

        drift(platform, "r1", passed=True)
        assert asked() == []
        drift(platform, "r2", passed=False)
        (first,) = asked()
        assert asked() == []
        tape("more.csv", [{"loan_id": "L2"}], changes=True)
        assert run_job(platform, "refresh_lake").success
        drift(platform, "r3", passed=False)
        assert asked() == [first]
        tape("b.csv", [{"as_of_date": "2026-11-20"}])
        assert run_job(platform, "refresh_lake").success
        drift(platform, "r4", passed=False)
        (second,) = asked()
        assert second != first
        drift(platform, "r5", passed=True)
        assert asked() == []
    assert platform.lake_log.row_count(INGESTION_LOG) == 3


def judged(platform: Platform, run: str, **verdicts: tuple[str, str, bool]) -> None:
    """Record evaluations: check name -> its asset, its severity, whether it passed."""
    lakehouse, now = platform.lakehouse, datetime.now(UTC)
    rows = []
    for name, (asset, severity, passed) in verdicts.items():
        row = {"run_id": run, "evaluated_at": now, "asset": asset, "check_name": name, "severity": severity}
        row |= {"passed": passed, "observed": f"{name} seen in {run}", "expected": "less"}
        rows.append(tuple(row.get(column) for column in RESULTS_SCHEMA.names))
    lakehouse.append(QUALITY_RESULTS, lakehouse.session.createDataFrame(rows, RESULTS_SCHEMA))


def test_drift_and_broken_predictions_ask_for_one_training_a_tape_and_are_told_once_each(
    platform: Platform, tape: Tape, sent: list[Alert]
) -> None:
    settings, drifted, realised = platform.settings, "gold/feature_drift", "gold/model_monitoring"
    tape("a.csv", [{}])
    assert run_job(platform, "refresh_lake").success
    with dg.DagsterInstance.ephemeral() as instance:
        cursor: str | None = None

        def asked() -> list[tuple[str | None, str]]:
            nonlocal cursor
            result = tick(settings, instance, "model_performance", cursor)
            cursor = result.cursor
            return [(request.run_key, request.tags["reason"]) for request in result.run_requests or []]

        judged(platform, "r1", score_stable=(drifted, "WARN", True), segments_tie=(realised, "ERROR", False))
        assert asked() == []
        assert sent == []
        judged(platform, "r2", features_stable=(drifted, "WARN", False))
        ((first, reason),) = asked()
        assert reason == "gold/feature_drift features_stable"
        assert [(alert.title, alert.severity) for alert in sent] == [("training asked for: features_stable", "WARN")]
        assert sent[0].text == "gold/feature_drift features_stable: features_stable seen in r2: expected less"
        judged(
            platform,
            "r3",
            features_stable=(drifted, "WARN", False),
            realised_rate_not_off=(realised, "ERROR", False),
        )
        ((again, reason),) = asked()
        assert again == first
        assert reason == "gold/feature_drift features_stable, gold/model_monitoring realised_rate_not_off"
        assert [(alert.title, alert.severity) for alert in sent[1:]] == [
            ("training asked for: realised_rate_not_off", "ERROR")
        ]
        judged(platform, "r4", features_stable=(drifted, "WARN", True), realised_rate_not_off=(realised, "ERROR", True))
        assert asked() == []
        judged(platform, "r5", features_stable=(drifted, "WARN", False))
        assert [key for key, _ in asked()] == [first]
        assert len(sent) == 2
        tape("b.csv", [{"as_of_date": "2026-11-20"}])
        assert run_job(platform, "refresh_lake").success
        judged(platform, "r6", features_stable=(drifted, "WARN", False))
        ((second, _),) = asked()
        assert second != first
        assert len(sent) == 3
