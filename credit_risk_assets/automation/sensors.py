"""What starts runs and alerts by itself: landed files, failed runs, failed checks, the model and drift."""

import json
from hashlib import sha256

import dagster as dg

from credit_risk_assets.assets.inputs import score_inputs, shadow_inputs, stale_scores
from credit_risk_assets.automation.check_alerts import CheckWatch, check_alerts
from credit_risk_assets.automation.failures import failure_alert, will_be_retried
from credit_risk_assets.automation.jobs import gold_job, main_job, model_job
from credit_risk_assets.automation.model_watch import newest_model, retraining
from credit_risk_assets.config.settings import Settings
from credit_risk_assets.config.tables import MODEL_PERFORMANCE, QUALITY_RESULTS
from credit_risk_assets.resources.ingestion import known_contents, waiting_files
from credit_risk_assets.resources.lake_log import LakeLog
from credit_risk_assets.resources.landing import being_written
from credit_risk_assets.resources.notifications import send_alert
from credit_risk_assets.tape.intake import fingerprint

UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def build_sensors(settings: Settings) -> list[dg.SensorDefinition]:
    """The sensors, running as soon as the daemon does."""

    @dg.sensor(
        name="landing_folder",
        job=main_job,
        minimum_interval_seconds=settings.schedules.landing_interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Starts the main job when a complete file with new content lies in the landing folder.",
    )
    def landing_folder(_: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        files = waiting_files(settings, known_contents(LakeLog.of(settings)))
        busy = being_written([file.path for file in files])
        ready = [file for file in files if file.path not in busy]
        if not ready:
            waiting = f"{len(files)} still being written" if files else "no new file"
            return dg.SkipReason(f"landing folder: {waiting}")
        contents = sorted(fingerprint(file.path) for file in ready)
        # The same content asks for one run only, whatever the file is called and however often the sensor looks.
        key = sha256("".join(contents).encode()).hexdigest()
        names = ", ".join(file.name for file in ready)
        return dg.SensorResult([dg.RunRequest(run_key=key, tags={"landed_files": names[:200]})], cursor=key)

    @dg.run_failure_sensor(
        name="run_failure_alert",
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="One alert for each failed run; an attempt that Dagster starts again is no failure yet.",
        # Runs of the shell belong to no code location.
        monitor_all_code_locations=True,
    )
    def run_failure_alert(context: dg.RunFailureSensorContext) -> None:
        if will_be_retried(context.instance, context.dagster_run):
            return
        message = context.failure_event.message or ""
        send_alert(failure_alert(context.dagster_run, message, context.get_step_failure_events()), settings.alerts)

    @dg.sensor(
        name="check_failure_alert",
        minimum_interval_seconds=settings.schedules.watch_interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="One alert for each run whose checks failed anew: observed, expected and failed rows of each.",
    )
    def check_failure_alert(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        watch = CheckWatch.from_text(context.cursor)
        alerts = check_alerts(context.instance, watch)
        for alert in alerts:
            send_alert(alert, settings.alerts)
        said = f"{len(alerts)} alerts; failing now: {', '.join(sorted(watch.failing)) or 'no check'}"
        return dg.SensorResult(skip_reason=said, cursor=watch.to_text())

    @dg.sensor(
        name="model_performance",
        job=model_job,
        minimum_interval_seconds=settings.schedules.watch_interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "One alert for each model version outside its limits; trains again, once a full tape, when loans or scores "
            "have drifted or predictions do not come true."
        ),
    )
    def model_performance(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        lake = LakeLog.of(settings)
        seen = json.loads(context.cursor) if context.cursor else {}
        now = {"performance": lake.version(MODEL_PERFORMANCE), "results": lake.version(QUALITY_RESULTS)}
        if now == {name: seen.get(name) for name in now}:
            return dg.SensorResult(skip_reason="no new model version, no new check result", cursor=context.cursor)
        judged = seen.get("model_version")
        found = newest_model(lake, settings.model)
        if found and found[0] != judged:
            judged, alert = found
            if alert:
                send_alert(alert, settings.alerts)
        wanted = retraining(lake)
        told: dict[str, list[str]] = seen.get("told", {})
        requests = []
        if wanted:
            before = told.get(wanted.key, [])
            for name in sorted(set(wanted.reasons) - set(before)):
                send_alert(wanted.reasons[name], settings.alerts)
            told = {wanted.key: sorted({*before, *wanted.reasons})}
            # Dagster starts one run a key: each set of full tapes asks for one training, whatever fails on it.
            requests = [dg.RunRequest(run_key=wanted.key, tags={"reason": ", ".join(wanted.reasons)})]
        skipped = None if requests else f"model version {judged}: no drift, and predictions come true"
        cursor = json.dumps({**now, "model_version": judged, "told": told})
        return dg.SensorResult(run_requests=requests, skip_reason=skipped, cursor=cursor)

    @dg.sensor(
        name="stale_scores",
        job=gold_job,
        minimum_interval_seconds=settings.schedules.watch_interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Scores the loans again where the gate stopped a run before it could, or a champion was changed.",
    )
    def stale_scores_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        lake = LakeLog.of(settings)
        left = stale_scores(lake)
        if not left:
            return dg.SkipReason("every score is of the present loans and champion")
        if context.instance.get_runs_count(dg.RunsFilter(statuses=UNFINISHED)):
            return dg.SkipReason(f"{', '.join(left)}: a run that may score is under way")
        state = json.dumps([score_inputs(lake), shadow_inputs(lake)], sort_keys=True)
        key = f"scores/{sha256(state.encode()).hexdigest()[:16]}"
        return dg.SensorResult([dg.RunRequest(run_key=key, tags={"reason": "stale scores"})])

    return [landing_folder, run_failure_alert, check_failure_alert, model_performance, stale_scores_sensor]
