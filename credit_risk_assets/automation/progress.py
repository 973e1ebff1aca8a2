"""A run as people follow it in a shell: one line a step, with its seconds."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import dagster as dg


@dataclass(frozen=True)
class StepSpan:
    """When a step began and ended (seconds since 1970), and how: done, FAILED or skipped."""

    step: str
    began: float
    ended: float
    outcome: str


@dataclass
class StepTimes:
    """The steps of a run, in the order they ended."""

    spans: list[StepSpan] = field(default_factory=list)


class _ProgressHandler(logging.Handler):
    def __init__(self, say: Callable[[str], None], times: StepTimes) -> None:
        super().__init__()
        self._say = say
        self._times = times
        self._began: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        meta: dict[str, Any] = getattr(record, "dagster_meta", {})
        event = meta.get("dagster_event") or getattr(record, "dagster_event", None)
        if event is None:
            text = str(meta.get("orig_message") or record.getMessage())
            # which steps a failed one takes with it follows from the line of the failed one
            if record.levelno >= logging.WARNING and not text.startswith("Dependencies for step"):
                self._say(f"    {text}")
            return
        step = event.step_key or ""
        if event.is_step_start:
            self._began[step] = time.time()
        elif event.is_step_success or event.is_step_failure or event.is_step_skipped:
            now = time.time()
            word = "done" if event.is_step_success else "FAILED" if event.is_step_failure else "skipped"
            span = StepSpan(step, self._began.get(step, now), now, word)
            self._times.spans.append(span)
            took = "" if event.is_step_skipped else f"{span.ended - span.began:7.1f} s"
            self._say(f"  {word:8}{step:28}{took}".rstrip())
        elif event.is_step_up_for_retry:
            self._say(f"  retry   {step}")


def progress_logger(say: Callable[[str], None], times: StepTimes) -> dg.LoggerDefinition:
    """A Dagster logger that says each step's end."""

    @dg.logger(None, description="One line a step.")
    def progress(_: dg.InitLoggerContext) -> logging.Logger:
        logger = logging.Logger("credit_risk.progress", level=logging.DEBUG)
        logger.addHandler(_ProgressHandler(say, times))
        return logger

    return progress
