"""The sealed truth: the exact 12-month PD, the best PD that an observer could compute, and the LGD."""

from __future__ import annotations

from datetime import date

import numpy as np
import pyarrow as pa

from credit_risk_assets.tape.simulation.chain import Hazard, History, Snapshot
from credit_risk_assets.tape.simulation.columns import identifiers
from credit_risk_assets.tape.simulation.parameters import (
    CHARGED_OFF,
    CODE_3,
    CODE_4,
    CODE_5,
    MACRO,
    Parameters,
)
from credit_risk_assets.tape.simulation.population import F32, Population
from credit_risk_assets.tape.simulation.standing import balance_after, collateral_at, recovery_rate
from credit_risk_assets.tape.simulation.timeline import month_end

SCHEMA = pa.schema(
    [
        ("loan_id", pa.string()),
        ("as_of_date", pa.date32()),
        ("pd_12m", pa.float64()),
        ("pd_12m_observable", pa.float64()),
        ("lgd", pa.float64()),
    ]
)
OUTCOME_MONTHS = 12
FRAILTY_NODES = 9


def truth_rows(
    loans: Population,
    history: History,
    snapshot: Snapshot,
    positions: np.ndarray,
    hazard: Hazard,
    as_of: date,
    parameters: Parameters,
    *,
    first_loan: int,
) -> pa.Table:
    """Truth of the on-book loans at these positions; a loan already at 90+ DPD has PD 1."""
    positions = positions[snapshot.state[positions] < CHARGED_OFF]
    performing = snapshot.state[positions] < CODE_3
    known, seen = np.ones(len(positions)), np.ones(len(positions))
    mine = positions[performing]
    stressed = snapshot.stress[positions].astype(np.float64)
    defaults = oracle_defaults(loans, snapshot, mine, hazard)
    known[performing] = defaults.sum(axis=0)
    stressed[performing] = defaults[1] / known[performing]
    seen[performing] = observable_pd(loans, history, snapshot, mine, hazard)
    loss = default_loss(loans, snapshot, positions, stressed, hazard, parameters)
    day = np.full(len(positions), np.datetime64(month_end(as_of, snapshot.month), "D"))
    return pa.table(
        [
            identifiers("L", first_loan + loans.number[positions]),
            pa.array(day),
            pa.array(np.round(known, 6)),
            pa.array(np.round(seen, 6)),
            pa.array(np.round(loss, 4)),
        ],
        schema=SCHEMA,
    )


def oracle_defaults(loans: Population, snapshot: Snapshot, positions: np.ndarray, hazard: Hazard) -> np.ndarray:
    """P(90+ DPD within 12 months) given every latent, split by stress at default (2 × loans).

    A forward recursion over the four states below 90 DPD, with and without stress; the sum over the first
    axis is the true PD.
    """
    stress = snapshot.stress[positions]
    weights = np.stack([~stress, stress]).astype(F32)[:, None, :]
    return _default_mass(loans, snapshot, positions, hazard, loans.frailty[positions][None, :], weights)


def observable_pd(
    loans: Population, history: History, snapshot: Snapshot, positions: np.ndarray, hazard: Hazard
) -> np.ndarray:
    """P(90+ DPD within 12 months) given all that was ever observed of the loan and of its borrower.

    Frailty is integrated by Gauss-Hermite quadrature around its (Gaussian) posterior given the bureau's
    signals, stress by a forward filter over the loan's months; both then enter the recursion.
    """
    chain = hazard.chain
    seen = (snapshot.month - loans.month[loans.head[positions]]).astype(F32)
    precision = 1 + seen / F32(chain.frailty_noise**2)
    mean = snapshot.signal_sum[positions] / F32(chain.frailty_noise**2) / precision
    nodes, weights = np.polynomial.hermite_e.hermegauss(FRAILTY_NODES)
    standard = mean + nodes[:, None].astype(F32) / np.sqrt(precision)
    frailty = F32(chain.frailty_sd) * standard
    filtered = _filter(loans, history, snapshot, positions, hazard, frailty)
    filtered *= (weights / weights.sum())[:, None].astype(F32)
    filtered /= filtered.sum(axis=(0, 1))
    return _default_mass(loans, snapshot, positions, hazard, frailty, filtered).sum(axis=0)


def _filter(
    loans: Population,
    history: History,
    snapshot: Snapshot,
    positions: np.ndarray,
    hazard: Hazard,
    frailty: np.ndarray,
) -> np.ndarray:
    """Likelihood (2 × nodes × loans) of stress now and of the loan's history, for each frailty node."""
    if history.evidence is None:
        raise ValueError("the observable PD needs a history drawn with evidence=True")
    chain = hazard.chain
    order = np.argsort(loans.month[loans.head[positions]], kind="stable")
    mine = positions[order]
    frailty = np.ascontiguousarray(frailty[:, order])
    head = loans.head[mine]
    head_month, loan_month = loans.month[head], loans.month[mine]
    scale = np.exp(F32(0.25) * frailty)
    lift = F32(np.exp(0.25 * chain.stress))
    fixed = hazard.observed(loans)[mine]
    prepay = hazard.prepay(loans)[mine]
    odds = hazard.stress_odds(loans.index[head], frailty)
    weight = np.zeros((2, *frailty.shape), F32)
    weight[0] = 1
    leave = F32(chain.stress_leave)
    for month in range(max(history.start, int(head_month.min(initial=0)) + 1), snapshot.month + 1):
        k = int(np.searchsorted(head_month, month, side="left"))
        row = month - history.start
        calm, hard = weight[0, :, :k], weight[1, :, :k]
        moved = calm * hazard.stress_enter(odds[:, :k], month)
        likelihood = np.exp(np.clip(history.evidence[row, mine[:k]], -20, 20))
        calm[:], hard[:] = calm - moved + hard * leave, (hard * (1 - leave) + moved) * likelihood
        live = np.flatnonzero(loan_month[:k] < month)
        if len(live):
            old, new = history.states[row - 1, mine[live]], history.states[row, mine[live]]
            old = np.where(loan_month[live] == month - 1, 0, old).astype(np.uint8)
            mob = month - loan_month[live]
            base = np.exp(F32(0.25) * (fixed[live] + hazard.season[mob] + MACRO[month]))
            late = prepay[live] * hazard.late[mob]
            power = np.where(new == old + 1, np.where(old == 0, 4, 2), np.where(new == old - 1, -1, 0))
            power = np.where((new == 0) & (old > 0), -2, power)
            base_odds = _Odds(hazard, old, late)
            for stress in (0, 1):
                quarter = scale[:, live] * (base * (lift if stress else F32(1)))
                step = quarter ** power.astype(F32) if power.any() else F32(1)
                weight[stress][:, live] *= step / base_odds.total(quarter)
        if month % 6 == 0:
            weight[:, :, :k] /= weight[:, :, :k].sum(axis=(0, 1))
    back = np.empty_like(weight)
    back[:, :, order] = weight
    return back


class _Odds:
    """Transition odds of loans in known states, for any level of the hazard."""

    def __init__(self, hazard: Hazard, state: np.ndarray, prepay: np.ndarray) -> None:
        self.roll, self.cure, self.back = hazard.roll[state], hazard.cure[state], hazard.back[state]
        self.clean = state == 0
        self.prepay = np.where(self.clean, prepay, F32(0))

    def total(self, quarter: np.ndarray) -> np.ndarray:
        """Sum of the odds of staying and of every move, `quarter` = exp(η/4)."""
        half = quarter * quarter
        rolled = self.roll * half * np.where(self.clean, half, F32(1))
        return 1 + rolled + self.cure / half + self.back / quarter + self.prepay


def _default_mass(
    loans: Population,
    snapshot: Snapshot,
    positions: np.ndarray,
    hazard: Hazard,
    frailty: np.ndarray,
    weights: np.ndarray,
) -> np.ndarray:
    """Mass that reaches 90+ DPD in 12 months from the observed state, by stress at default (2 × loans).

    `weights` (2 × nodes × loans) share a loan's mass over stress now and the frailty nodes.
    """
    chain = hazard.chain
    mine = loans.take(positions)
    fixed, prepay = hazard.observed(mine), hazard.prepay(mine)
    odds = hazard.stress_odds(loans.index[mine.head], frailty)
    state = snapshot.state[positions]
    mass = np.zeros((CODE_3, *weights.shape), F32)
    for begin in range(CODE_3):
        mass[begin] = np.where(state == begin, weights, F32(0))
    scale = np.exp(F32(0.25) * frailty)
    lift, leave = F32(np.exp(0.25 * chain.stress)), F32(chain.stress_leave)
    defaulted = np.zeros((2, len(positions)))
    for ahead in range(1, OUTCOME_MONTHS + 1):
        month = snapshot.month + ahead
        mob = month - mine.month
        enter = hazard.stress_enter(odds, month)
        moved = mass[:, 0] * enter
        freed = mass[:, 1] * leave
        mass[:, 0] += freed - moved
        mass[:, 1] += moved - freed
        base = np.exp(F32(0.25) * (fixed + hazard.season[mob] + MACRO[month]))
        late = prepay * hazard.late[mob]
        for stress in (0, 1):
            quarter = scale * (base * (lift if stress else F32(1)))
            half = quarter * quarter
            now = mass[:, stress]
            roll = [hazard.roll[s] * half * (half if s == 0 else F32(1)) for s in range(CODE_3)]
            cure = [hazard.cure[s] / half if s else late for s in range(CODE_3)]
            back = [hazard.back[s] / quarter if s >= 2 else F32(0) for s in range(CODE_3)]
            unit = [now[s] / (1 + roll[s] + cure[s] + back[s]) for s in range(CODE_3)]
            mass[3, stress] = unit[3] + unit[2] * roll[2]
            mass[2, stress] = unit[2] + unit[1] * roll[1] + unit[3] * back[3]
            mass[1, stress] = unit[1] + unit[0] * roll[0] + unit[2] * back[2]
            mass[0, stress] = unit[0] + sum(unit[s] * cure[s] for s in range(1, CODE_3))
            defaulted[stress] += (unit[3] * roll[3]).sum(axis=0)
        # Paid in full at maturity: as many instalments paid as the term has.
        for s in range(CODE_3):
            mass[s, :, :, mob - s >= mine.term] = 0
    return np.clip(defaulted, 5e-7, 1 - 1e-6)


def default_loss(
    loans: Population,
    snapshot: Snapshot,
    positions: np.ndarray,
    stressed: np.ndarray,
    hazard: Hazard,
    parameters: Parameters,
) -> np.ndarray:
    """Expected share of today's balance lost for good, should the loan reach 90 DPD within the year.

    Chance that the default ends in charge-off times one minus the expected recovery, the collateral being
    sold about six months from now; `stressed` is the chance of stress at default. Not discounted.
    """
    severity = parameters.severity
    mine = loans.take(positions)
    mob = snapshot.month - mine.month
    state = snapshot.state[positions]
    calm = (
        hazard.observed(mine)
        + mine.frailty
        + hazard.season[mob + severity.months_to_charge_off]
        + MACRO[snapshot.month + severity.months_to_charge_off]
    )
    written_off = (1 - stressed) * _charge_off(hazard, state, calm)
    written_off += stressed * _charge_off(hazard, state, calm + hazard.chain.stress)

    paid = np.clip(mob - np.minimum(state, 6), 0, mine.term)
    balance = balance_after(mine, paid)
    value = collateral_at(mine, mob + severity.months_to_charge_off)
    nodes, weights = np.polynomial.hermite_e.hermegauss(7)
    recovered = sum(
        (w / weights.sum()) * recovery_rate(mine, balance, value, severity, np.full(len(mine), x))
        for x, w in zip(nodes, weights, strict=True)
    )
    return written_off * (1 - recovered)


def _charge_off(hazard: Hazard, state: np.ndarray, eta: np.ndarray) -> np.ndarray:
    """Chance of charge-off before a return below 90 DPD, from codes 4 and 5 or (any other) from code 3."""
    quarter = np.exp(0.25 * eta.astype(np.float64))
    half = quarter * quarter
    up = [hazard.roll[s] * half for s in (CODE_3, CODE_4, CODE_5)]
    cure = [hazard.cure[s] / half for s in (CODE_3, CODE_4, CODE_5)]
    back = [hazard.back[s] / quarter for s in (CODE_3, CODE_4, CODE_5)]
    leave = [u + c + b for u, c, b in zip(up, cure, back, strict=True)]
    u3, u4, u5 = (u / every for u, every in zip(up, leave, strict=True))
    d4, d5 = back[1] / leave[1], back[2] / leave[2]
    # x3 = u3·x4, x4 = u4·x5 + d4·x3, x5 = u5 + d5·x4; from code 3 a step back leaves 90+ DPD.
    from_4 = u4 * u5 / (1 - d4 * u3 - u4 * d5)
    return np.select([state == CODE_4, state == CODE_5], [from_4, u5 + d5 * from_4], u3 * from_4)
