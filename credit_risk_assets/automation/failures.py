"""Failed runs as people are told of them: the step and the innermost reason, in one line each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dagster as dg

from credit_risk_assets.resources.notifications import Alert
from credit_risk_assets.resources.transient import one_line

WILL_RETRY_TAG = "dagster/will_retry"
FAILURE_REASON_TAG = "dagster/failure_reason"


def step_reason(event: dg.DagsterEvent) -> str:
    """Why a step failed, in one line: the innermost error's."""
    error: Any = event.step_failure_data.error
    while error is not None and error.cause is not None:
        error = error.cause
    if error is not None and error.cls_name == "DagsterAssetCheckFailedError":
        names = "; ".join(line.strip() for line in error.message.splitlines()[1:] if line.strip())
        return f"a check stopped what comes after it: {names}"
    return one_line(error.message if error else "")


def failure_alert(run: dg.DagsterRun, run_message: str, failed_steps: Sequence[dg.DagsterEvent]) -> Alert:
    """The alert of a failed run: a line per failed step, or the run's own where no step failed."""
    lines = [f"{event.step_key}: {step_reason(event)}" for event in failed_steps]
    return Alert(f"run {run.run_id[:8]} of job {run.job_name} failed", "\n".join(lines) or one_line(run_message))


def will_be_retried(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether Dagster starts the failed run again by itself, so that this attempt is not the last word."""
    # The run is read again: Dagster writes the tag a moment after the failure that wakes the sensor.
    run = instance.get_run_by_id(run.run_id) or run
    # Tagged or not, a run that the shell made is never started again: its code lies in no server.
    if run.remote_job_origin is None:
        return False
    tag = run.tags.get(WILL_RETRY_TAG)
    if tag is not None or not instance.run_retries_enabled:
        return tag == "true"
    from dagster._core.events import RunFailureReason
    from dagster._core.execution.retries import auto_reexecution_should_retry_run

    reason = run.tags.get(FAILURE_REASON_TAG)
    return bool(auto_reexecution_should_retry_run(instance, run, RunFailureReason(reason) if reason else None))
