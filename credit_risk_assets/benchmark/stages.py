"""Steps of a run summed up into the stages that people compare: seconds, rows, memory and bytes of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from credit_risk_assets.automation.progress import StepSpan
from credit_risk_assets.benchmark.memory import Sample, peaks

STAGE_OF: dict[str, str] = {
    "bronze": "bronze",
    "silver__loan_history": "silver",
    "silver__loans": "silver",
    "portfolio": "gold",
    "delinquency": "gold",
    "bronze_checks": "checks",
    "loan_history_checks": "checks",
    "loan_checks": "checks",
    "portfolio_checks": "checks",
    "delinquency_checks": "checks",
    "gold__development_sample": "sample",
    "default_model": "train",
    "champion_model": "train",
    "gold__loan_scores": "score",
    "gold__challenger_scores": "score",
    "gold__expected_credit_loss": "expected loss",
    "monitoring": "monitoring",
    "sample_checks": "model checks",
    "model_checks": "model checks",
    "score_checks": "model checks",
    "ecl_checks": "model checks",
    "monitoring_checks": "model checks",
    "gold__quality_results": "model checks",
}
"""Step of the main job -> stage; the first four stages need no model."""
TABLE_WORK = ("bronze", "silver", "gold", "checks")
"""What a pipeline without a model has to do: the tapes to the figures of the portfolio, with their checks."""
PHASE_MARK = "train: "


@dataclass(frozen=True)
class Stage:
    """One stage: its part of the benchmark, how long it took and what it took for that.

    `written_bytes` is what it left in the lake. `processor_seconds` counts all cores, and is read ten times a second.
    """

    part: str
    name: str
    seconds: float
    processor_seconds: float
    rows: int
    rows_per_second: float
    written_bytes: int
    peak_bytes: int
    peak_own_bytes: int
    peak_python_bytes: int
    peak_java_bytes: int

    def to_json(self) -> dict[str, Any]:
        """As the result file holds it, times to the millisecond."""
        found = asdict(self)
        for name in ("seconds", "processor_seconds"):
            found[name] = round(found[name], 3)
        return {**found, "rows_per_second": round(self.rows_per_second)}


def stage_of(
    part: str, name: str, spans: Iterable[tuple[float, float]], samples: list[Sample], rows: int, written: int
) -> Stage:
    """A stage that ran in these stretches of time (beginning and end, seconds since 1970)."""
    found = [(ended - began, peaks(samples, began, ended)) for began, ended in spans]
    seconds = sum(took for took, _ in found)

    def highest(attribute: str) -> int:
        return max((getattr(peak, attribute) for _, peak in found), default=0)

    return Stage(
        part=part,
        name=name,
        seconds=seconds,
        processor_seconds=sum(peak.processor_seconds for _, peak in found),
        rows=rows,
        rows_per_second=rows / seconds if seconds else 0.0,
        written_bytes=written,
        peak_bytes=highest("peak_bytes"),
        peak_own_bytes=highest("peak_own_bytes"),
        peak_python_bytes=highest("peak_python_bytes"),
        peak_java_bytes=highest("peak_java_bytes"),
    )


def job_stages(
    part: str, spans: Iterable[StepSpan], samples: list[Sample], lake: Path, rows: Mapping[str, int]
) -> list[Stage]:
    """The stages of a run of the main job, in the order of `STAGE_OF`; `rows` by stage."""
    done = [span for span in spans if span.outcome != "skipped"]
    files = [(state.st_mtime, state.st_size) for f in lake.rglob("*") if f.is_file() and (state := f.stat())]
    by_stage: dict[str, list[StepSpan]] = {}
    for span in done:
        by_stage.setdefault(STAGE_OF.get(span.step, span.step), []).append(span)
    stages = []
    for name in sorted(by_stage, key=_place):
        times = [(span.began, span.ended) for span in by_stage[name]]
        written = sum(size for at, size in files if any(began <= at <= ended for began, ended in times))
        stages.append(stage_of(part, name, times, samples, rows.get(name, 0), written))
    return stages


def _place(stage: str) -> int:
    order = list(dict.fromkeys(STAGE_OF.values()))
    return order.index(stage) if stage in order else len(order)
