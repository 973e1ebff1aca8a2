"""Failed checks as people are told of them: once per run, and again only when what they saw has changed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from typing import Any

import dagster as dg
from dagster._core.event_api import EventLogCursor

from credit_risk_assets.resources.notifications import Alert

RUNS_A_TICK = 50
EVENTS_A_PAGE = 200
HISTORY_SECONDS = 24 * 3600.0
ENDS = (dg.DagsterEventType.RUN_SUCCESS, dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_CANCELED)


@dataclass
class CheckWatch:
    """Where the sensor stands: the last run end it has seen, and what each failing check saw last.

    `failing` maps a check to a digest of its observation; a check that passes leaves it. Runs that ended before
    `since` (epoch seconds) are history: a day before the watch began, so that an old home sends no flood.
    """

    since: float
    last_event: int = -1
    failing: dict[str, str] = field(default_factory=dict)

    @classmethod
    def from_text(cls, text: str | None) -> CheckWatch:
        """The watch that a cursor holds; a new one where there is none."""
        return cls(**json.loads(text)) if text else cls(time.time() - HISTORY_SECONDS)

    def to_text(self) -> str:
        """The watch as a cursor."""
        return json.dumps(asdict(self), sort_keys=True)

    def news(self, evaluation: dg.AssetCheckEvaluation) -> bool:
        """Take in one evaluation; return whether it is a failure that was not there before."""
        name = _name(evaluation)
        before = self.failing.pop(name, None)
        if evaluation.passed:
            return False
        seen = f"{evaluation.severity.value} {_fact(evaluation, 'observed', evaluation.description or '')}"
        self.failing[name] = sha256(seen.encode()).hexdigest()[:16]
        return before != self.failing[name]


def _name(evaluation: dg.AssetCheckEvaluation) -> str:
    return f"{evaluation.asset_key.to_user_string()} {evaluation.check_name}"


def _fact(evaluation: dg.AssetCheckEvaluation, name: str, default: Any) -> Any:
    return getattr(evaluation.metadata.get(name), "value", default)


def _line(evaluation: dg.AssetCheckEvaluation) -> str:
    observed = _fact(evaluation, "observed", evaluation.description or "failed")
    expected = _fact(evaluation, "expected", "")
    failed, total = _fact(evaluation, "failed_rows", 0), _fact(evaluation, "total_rows", 0)
    rows = f" ({failed:,} of {total:,} rows)" if failed and total else f" ({failed:,} rows)" if failed else ""
    wanted = f": expected {expected}" if expected else ""
    text = " ".join(f"{observed}{wanted}".split())
    return f"{evaluation.severity.value} {_name(evaluation)}: {text}{rows}"


def _ended_runs(instance: dg.DagsterInstance, after: int, limit: int) -> list[tuple[int, str, float]]:
    """Ends of runs after an event, oldest first.

    Walked by the event log's own number, which no two events share; a run's checks are all there when it ends.
    """
    found: list[tuple[int, str, float]] = []
    horizon: int | None = None
    cursor = EventLogCursor.from_storage_id(after).to_string()
    for kind in ENDS:
        page = instance.fetch_run_status_changes(kind, limit=limit, cursor=cursor, ascending=True)
        found += [(record.storage_id, record.run_id, record.timestamp) for record in page.records]
        if page.has_more and page.records:
            # Nothing beyond the end of a cut page may be passed over.
            last = page.records[-1].storage_id
            horizon = last if horizon is None else min(horizon, last)
    return sorted(end for end in found if horizon is None or end[0] <= horizon)[:limit]


def _evaluations(instance: dg.DagsterInstance, run_id: str) -> Iterator[dg.AssetCheckEvaluation]:
    cursor, more = None, True
    while more:
        page = instance.get_records_for_run(
            run_id, cursor, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION, limit=EVENTS_A_PAGE
        )
        for record in page.records:
            event = record.event_log_entry.get_dagster_event()
            yield event.asset_check_evaluation_data
        cursor, more = page.cursor, page.has_more


def check_alerts(instance: dg.DagsterInstance, watch: CheckWatch, *, limit: int = RUNS_A_TICK) -> list[Alert]:
    """The alerts of the runs that ended since the watch last looked, one a run with news; moves the watch on."""
    alerts = []
    for number, run_id, ended_at in _ended_runs(instance, watch.last_event, limit):
        watch.last_event = number
        if ended_at < watch.since:
            continue
        # A check whose step was tried again speaks through its last evaluation.
        last = {_name(evaluation): evaluation for evaluation in _evaluations(instance, run_id)}
        new = [evaluation for evaluation in last.values() if watch.news(evaluation)]
        if new:
            alerts.append(_alert(instance, run_id, new))
    return alerts


def _alert(instance: dg.DagsterInstance, run_id: str, new: list[dg.AssetCheckEvaluation]) -> Alert:
    run = instance.get_run_by_id(run_id)
    checks = "1 check" if len(new) == 1 else f"{len(new)} checks"
    errors = [evaluation for evaluation in new if evaluation.severity == dg.AssetCheckSeverity.ERROR]
    ordered = [*errors, *[evaluation for evaluation in new if evaluation not in errors]]
    return Alert(
        f"run {run_id[:8]} of job {run.job_name if run else 'unknown'}: {checks} failed",
        "\n".join(_line(evaluation) for evaluation in ordered),
        "ERROR" if errors else "WARN",
    )
