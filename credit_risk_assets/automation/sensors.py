"""What starts runs and alerts by itself: files in the landing folder, failed runs."""

from hashlib import sha256

import dagster as dg

from credit_risk_assets.automation.jobs import main_job
from credit_risk_assets.config.settings import Settings
from credit_risk_assets.resources.ingestion import known_contents, waiting_files
from credit_risk_assets.resources.lakehouse import LakeLog
from credit_risk_assets.resources.landing import being_written
from credit_risk_assets.resources.notifications import Alert, send_alert
from credit_risk_assets.tape.intake import fingerprint


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
        files = waiting_files(settings, known_contents(LakeLog(settings.lake)))
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
        description="One alert for each failed run, to the log and to the channels of the settings.",
        monitor_all_code_locations=False,
    )
    def run_failure_alert(context: dg.RunFailureSensorContext) -> None:
        run = context.dagster_run
        if run.tags.get("dagster/will_retry") == "true":
            return
        send_alert(
            Alert(f"run {run.run_id[:8]} of job {run.job_name} failed", context.failure_event.message or "no message"),
            settings.alerts,
        )

    return [landing_folder, run_failure_alert]
