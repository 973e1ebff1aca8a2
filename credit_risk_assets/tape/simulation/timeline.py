"""Months as indices: month 0 is the first month of lending, month 83 ends at the latest tape's as-of date."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np

from credit_risk_assets.tape.simulation.parameters import LATEST


class SimulationError(ValueError):
    """What was asked of the simulator cannot be done; the message is one line that says what to change."""


def last_month_end(today: date | None = None) -> date:
    """The last month-end before today (UTC)."""
    today = today or datetime.now(UTC).date()
    return today.replace(day=1) - timedelta(days=1)


def month_end(as_of: date, month: int) -> date:
    """The last day of a month index on the timeline whose month 83 ends at `as_of`."""
    index = as_of.year * 12 + as_of.month - 1 + month - LATEST + 1
    return date(index // 12, index % 12 + 1, 1) - timedelta(days=1)


def check_as_of(as_of: date) -> date:
    """The date itself where it is a month-end that has passed; `SimulationError` otherwise."""
    if as_of != month_end(as_of, LATEST):
        raise SimulationError(f"as-of {as_of}: no month-end; expected one such as {month_end(as_of, LATEST)}")
    if as_of > datetime.now(UTC).date():
        raise SimulationError(f"as-of {as_of}: in the future; expected {last_month_end()} or an earlier month-end")
    return as_of


def month_starts(as_of: date, months: np.ndarray) -> np.ndarray:
    """First days (datetime64[D]) of month indices."""
    latest = np.datetime64(as_of, "M")
    return (latest + (months.astype(np.int64) - LATEST)).astype("datetime64[D]")
