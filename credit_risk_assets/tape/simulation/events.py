"""What happens within a month: payments, missed due days, charge-offs, recoveries and new loans, by the minute.

The monthly chain stays the truth. Events are placed inside the month so that their fold at its end is the chain's
month-end, and so that no day in between shows a delinquency which the month-end codes would not know of.
"""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import date

import numpy as np

from credit_risk_assets.tape.simulation.future import Source
from credit_risk_assets.tape.simulation.parameters import CHARGED_OFF, CLEAN, CODE_3, PAID_OFF, RETENTION_MONTHS
from credit_risk_assets.tape.simulation.standing import (
    CHARGE_OFF_DPD,
    Standing,
    at_month_end,
    days_past_due,
    state_of,
)

NEVER = np.int64(2**62)
DAY = 24 * 60


@dataclass(frozen=True)
class Events:
    """Minutes since the month began at which each loan (one array cell a loan) sees each event; NEVER for none."""

    lent: np.ndarray
    paid: np.ndarray
    missed: np.ndarray
    charged_off: np.ndarray
    collected: np.ndarray
    start: Standing
    end: Standing

    def within(self, after: int, until: int) -> np.ndarray:
        """Positions of the loans with an event in (after, until]."""
        times = (self.lent, self.paid, self.missed, self.charged_off, self.collected)
        return np.flatnonzero(np.any([(time > after) & (time <= until) for time in times], axis=0))


def month_events(source: Source, month_end: date) -> Events:
    """Place the events of the month that ends on `month_end`."""
    loans, month = source.loans, source.after.month
    everyone = np.arange(len(loans))
    start, end = at_month_end(loans, source.before, everyone), at_month_end(loans, source.after, everyone)
    length = monthrange(month_end.year, month_end.month)[1] * DAY
    uniform = source.times.random((4, len(loans)))
    member = loans.number <= source.last
    on_book = member & (start.state < CHARGED_OFF) & (loans.month < month)
    new = member & (loans.month == month)
    due_end = loans.day * DAY
    lent = np.where(new, due_end - DAY + 540 + (uniform[0] * 480).astype(np.int64), NEVER)

    pays = on_book & ((end.paid > start.paid) | (end.state == PAID_OFF))
    days_off = np.where(uniform[1] < 0.7, 0, np.floor((uniform[1] - 0.7) / 0.3 * 8) - 3)
    usual = due_end - DAY + days_off * DAY + 60 + uniform[2] * 1_320
    # Who is behind, or pays off early, pays before the next instalment falls due.
    early = 1 + uniform[2] * (due_end - 2)
    regular = (start.state == CLEAN) & (end.state != PAID_OFF)
    paid = np.clip(np.where(regular, usual, early), 1, length - 1).astype(np.int64)
    paid = np.where(pays, paid, NEVER)

    reached = np.where(paid <= due_end, end.paid, start.paid)
    behind = on_book & (end.state < CHARGED_OFF) & (reached < np.minimum(month - loans.month, loans.term))
    missed = np.where(behind, np.minimum(due_end + 1 + (uniform[3] * 90).astype(np.int64), length - 1), NEVER)
    charged_off = np.where(on_book & (end.state == CHARGED_OFF), due_end - DAY + 1, NEVER)
    collecting = member & (start.state == CHARGED_OFF) & (month - start.closed <= RETENTION_MONTHS)
    collected = np.where(collecting, 1 + (uniform[0] * (length - 2)).astype(np.int64), NEVER)
    return Events(lent, paid, missed, charged_off, collected, start, end)


def on_tape_at(source: Source, events: Events, minute: int) -> np.ndarray:
    """Positions, in output order, of the loans that a tape of this minute would show."""
    loans, month = source.loans, source.after.month
    kept = (events.start.closed < 0) | (month - events.start.closed <= RETENTION_MONTHS)
    begun = (loans.month < month) | (events.lent <= minute)
    positions = np.flatnonzero(kept & begun & (loans.number <= source.last))
    return positions[np.argsort(loans.number[positions], kind="stable")]


def standing_at(source: Source, events: Events, positions: np.ndarray, minute: int, day: date) -> Standing:
    """The standing of these loans at a minute of the month, `day` being the as-of date of that minute."""
    month = source.after.month
    mine = source.loans.take(positions)
    start, end = events.start, events.end
    has_paid = events.paid[positions] <= minute
    gone = events.charged_off[positions] <= minute
    paid = np.where(has_paid, end.paid[positions], start.paid[positions])
    last_day = monthrange(day.year, day.month)[1]
    dpd = days_past_due(mine, paid, month, 30 if day.day == last_day else min(day.day, 30))
    closed_before = start.state[positions] >= CHARGED_OFF
    state = np.where(closed_before, start.state[positions], state_of(np.minimum(dpd, CHARGE_OFF_DPD - 1)))
    state = np.where(has_paid & (end.state[positions] == PAID_OFF), PAID_OFF, state)
    state = np.where(gone, CHARGED_OFF, state)
    closed = np.where(closed_before, start.closed[positions], np.where(state >= CHARGED_OFF, month, -1))
    dpd = np.select([state == CHARGED_OFF, state == PAID_OFF], [CHARGE_OFF_DPD, 0], dpd)
    known = (start.state[positions] >= CODE_3) & (start.state[positions] <= CHARGED_OFF)
    defaulted = np.where(known, start.defaulted[positions], month)
    collected = events.collected[positions] <= minute
    collecting = np.where(closed_before, month - closed - ~collected, 0) * (state == CHARGED_OFF)
    return Standing(month, state.astype(np.int32), paid, dpd, closed, defaulted, collecting)
