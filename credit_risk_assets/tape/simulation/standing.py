"""Where a loan stands at a moment: instalments paid, days past due, and what follows from them in money."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from credit_risk_assets.tape.simulation.chain import Snapshot
from credit_risk_assets.tape.simulation.parameters import (
    CHARGED_OFF,
    EARLY,
    MISSED,
    PAID_OFF,
    PURPOSES,
    Severity,
)
from credit_risk_assets.tape.simulation.population import Population

CHARGE_OFF_DPD = 180


@dataclass(frozen=True)
class Standing:
    """State, instalments paid, days past due, month of closing and of default (-1: none) of some loans.

    `month` is the running month, `collecting` the months of collections on a charged-off loan.
    """

    month: int
    state: np.ndarray
    paid: np.ndarray
    dpd: np.ndarray
    closed: np.ndarray
    defaulted: np.ndarray
    collecting: np.ndarray


@dataclass(frozen=True)
class Money:
    """Amounts that follow from a standing, to the cent."""

    balance: np.ndarray
    total_paid: np.ndarray
    charged_off: np.ndarray
    recovered: np.ndarray
    collateral: np.ndarray


def days_past_due(loans: Population, paid: np.ndarray, month: int, day: int) -> np.ndarray:
    """Days since the oldest unpaid instalment fell due, 30/360, on a day (1 to 30) of the month."""
    late = 30 * (month - loans.month - paid - 1) + day - loans.day
    return np.where(paid < loans.term, np.maximum(late, 0), 0)


def state_of(dpd: np.ndarray) -> np.ndarray:
    """The chain's state of an open loan that many days past due."""
    return np.where(dpd == 0, 0, np.where(dpd < 30, EARLY, EARLY + dpd // 30)).astype(np.int32)


def at_month_end(loans: Population, snapshot: Snapshot, positions: np.ndarray) -> Standing:
    """The standing of these loans (their population first) at the month-end of the snapshot."""
    mine = loans.take(positions)
    state = snapshot.state[positions].astype(np.int32)
    closed = snapshot.closed[positions]
    lived = np.where(closed < 0, snapshot.month, closed) - mine.month
    # A loan is charged off on the day that its seventh instalment is missed.
    paid = np.clip(lived - MISSED[state], 0, mine.term)
    paid = np.where((state == PAID_OFF) & (lived < mine.term), lived - 1, paid)
    open_dpd = days_past_due(mine, paid, snapshot.month, 30)
    dpd = np.select([state == CHARGED_OFF, state == PAID_OFF], [CHARGE_OFF_DPD, 0], open_dpd)
    collecting = np.where(state == CHARGED_OFF, snapshot.month - closed, 0)
    return Standing(snapshot.month, state, paid, dpd, closed, snapshot.defaulted[positions], collecting)


def money(loans: Population, standing: Standing, severity: Severity) -> Money:
    """Balance, payments, charge-off, recoveries and collateral of the loans of a standing."""
    written_off, paid_off = standing.state == CHARGED_OFF, standing.state == PAID_OFF
    lived = np.where(standing.closed < 0, standing.month, standing.closed) - loans.month
    owed = balance_after(loans, standing.paid)
    payoff = np.where(paid_off & (lived < loans.term), owed * (1 + loans.rate / 12), 0)
    charged = np.where(written_off, owed, 0)
    value = collateral_at(loans, lived)
    rate = recovery_rate(loans, owed, value, severity, loans.recovery_noise)
    pace = np.where(loans.secured, severity.sale_months, severity.collections_months)
    recovered = np.round(charged * rate * (1 - np.exp(-standing.collecting / pace)), 2)
    return Money(
        balance=np.where(paid_off, 0, np.round(owed - recovered, 2)),
        total_paid=np.round(standing.paid * loans.installment + payoff, 2),
        charged_off=charged,
        recovered=recovered,
        collateral=value,
    )


def balance_after(loans: Population, paid: np.ndarray) -> np.ndarray:
    """Principal still owed after `paid` instalments, to the cent: A·((1+r)^n − (1+r)^k) / ((1+r)^n − 1)."""
    monthly = np.log1p(loans.rate / 12)
    whole = np.exp(monthly * loans.term)
    share = (whole - np.exp(monthly * np.minimum(paid, loans.term))) / (whole - 1)
    return np.round(loans.amount * share, 2)


def collateral_at(loans: Population, months: np.ndarray) -> np.ndarray:
    """Value of the collateral `months` after origination, to the cent; 0 where there is none."""
    drift = np.array([purpose.value_drift for purpose in PURPOSES])[loans.purpose]
    return np.round(loans.collateral * np.exp(drift * months), 2)


def recovery_rate(loans: Population, balance: np.ndarray, value: np.ndarray, severity: Severity,
                  noise: np.ndarray) -> np.ndarray:  # fmt: skip
    """Share of the charged-off balance that comes back in the end, given the loan's draw ~ N(0, 1)."""
    collections = 1 / (1 + np.exp(-(severity.collections_mean - 0.15 * loans.index + severity.collections_sd * noise)))
    sale = np.exp(severity.sale_mean + severity.sale_sd * noise) - severity.sale_costs
    sold = np.minimum(value * np.maximum(sale, 0) / np.maximum(balance, 1.0), 1.0)
    return np.minimum(sold + (1 - sold) * collections, severity.ceiling)
