"""The monthly delinquency chain: every loan's state at every month-end, and what the bureau sees of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from credit_risk_assets.tape.simulation.parameters import (
    CHARGED_OFF,
    CLEAN,
    CODE_2,
    CODE_3,
    HISTORY_MONTHS,
    MACRO,
    MAX_FUTURE_MONTHS,
    MISSED,
    PAID_OFF,
    Chain,
)
from credit_risk_assets.tape.simulation.population import F32, Population


@dataclass(frozen=True)
class Snapshot:
    """What is known of every loan at one month-end; hidden values beside the observed ones.

    `stress`, the two bureau signals and the scar belong to the customer and are already spread over the
    loans. `defaulted` is the month of entry into the present spell of 90+ DPD, `closed` the month of closing
    (-1: open).
    """

    month: int
    state: np.ndarray
    stress: np.ndarray
    frailty_signal: np.ndarray
    stress_signal: np.ndarray
    scar: np.ndarray
    signal_sum: np.ndarray
    defaulted: np.ndarray
    closed: np.ndarray


@dataclass
class History:
    """States a month (rows) and loan (columns), the monthly evidence on stress, and snapshots at tapes.

    Row t holds month `start + t`; cells before a loan's first month on book are meaningless.
    """

    start: int
    states: np.ndarray
    evidence: np.ndarray | None
    snapshots: dict[int, Snapshot] = field(default_factory=dict)


class Hazard:
    """The chain's transition odds, tabulated once: shared by the draw, the true PD and the filter."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        pad = [0.0, 0.0]
        self.roll = np.array([*np.exp(chain.roll), *pad], F32)
        self.cure = np.array([*(np.exp(v) if v > -20 else 0.0 for v in chain.cure), *pad], F32)
        self.back = np.array([*(np.exp(v) if v > -20 else 0.0 for v in chain.back), *pad], F32)
        mob = np.arange(HISTORY_MONTHS + MAX_FUTURE_MONTHS + 13)
        late = np.maximum(mob - chain.season_fall_from, 0)
        self.season = (
            -chain.season_start * np.exp(-mob / chain.season_start_months)
            - chain.season_fall * (1 - np.exp(-late / chain.season_fall_months))
        ).astype(F32)
        self.late = np.where(mob > 6, np.exp(chain.prepay_late), 1.0).astype(F32)

    def observed(self, loans: Population) -> np.ndarray:
        """The part of η that is fixed for a loan: slope·index."""
        return (self.chain.slope * loans.index).astype(F32)

    def prepay(self, loans: Population) -> np.ndarray:
        """Odds of prepaying in a month of the first half-year, from clean."""
        return np.exp(self.chain.prepay + self.chain.prepay_score * loans.z).astype(F32)

    def stress_odds(self, index: np.ndarray, frailty: np.ndarray) -> np.ndarray:
        """Odds of falling into stress in a month with a neutral economy."""
        c = self.chain
        return np.exp(c.stress_enter + c.stress_index * index + c.stress_frailty * frailty).astype(F32)

    def stress_enter(self, odds: np.ndarray, month: int) -> np.ndarray:
        """Probability of falling into stress in this month."""
        scaled = odds * F32(np.exp(self.chain.stress_macro * MACRO[month]))
        return scaled / (1 + scaled)


def run_chain(
    loans: Population,
    generator: np.random.Generator,
    hazard: Hazard,
    *,
    start: int,
    end: int,
    tapes: tuple[int, ...],
    evidence: bool = False,
) -> History:
    """Draw every month from `start` to `end`; loans must be ordered by origination month.

    A month's draws depend only on how many loans are on the stream by then, so that neither the tapes asked
    for nor a longer horizon changes what happened before.
    """
    chain = hazard.chain
    n = len(loans)
    months = end - start + 1
    states = np.zeros((months, n), np.uint8)
    llr = np.zeros((months, n), F32) if evidence else None
    state = np.zeros(n, np.uint8)
    stress = np.zeros(n, bool)
    e1, e2, scar, signal_sum = (np.zeros(n, F32) for _ in range(4))
    defaulted, closed = np.full(n, -1, np.int32), np.full(n, -1, np.int32)
    head = loans.head
    siblings = np.flatnonzero(head != np.arange(n))
    fixed = hazard.observed(loans) + loans.frailty
    prepay = hazard.prepay(loans)
    odds = hazard.stress_odds(loans.index, loans.frailty)
    standard = loans.frailty / F32(chain.frailty_sd)
    history = History(start, states, llr)

    for month in range(start, end + 1):
        k = int(np.searchsorted(loans.month, month, side="left"))
        if k:
            uniform = generator.random((2, k), dtype=F32)
            normal = generator.standard_normal((2, k), dtype=F32)
            h = head[:k]
            enter = hazard.stress_enter(odds[:k], month)
            now = stress[:k]
            stress[:k] = np.where(now, uniform[1] >= F32(chain.stress_leave), uniform[1] < enter)
            mob = month - loans.month[:k]
            eta = fixed[:k] + F32(chain.stress) * stress[h] + hazard.season[mob] + MACRO[month]
            old = state[:k]
            new = _step(hazard, old, eta, prepay[:k] * hazard.late[mob], uniform[0])
            new[(new < CHARGED_OFF) & (mob - MISSED[new] >= loans.term[:k])] = PAID_OFF
            closed[:k][(new >= CHARGED_OFF) & (old < CHARGED_OFF)] = month
            defaulted[:k][(new == CODE_3) & (old == CODE_2)] = month
            state[:k] = new

            x1 = standard[:k] + F32(chain.frailty_noise) * normal[0]
            x2 = stress[:k] + F32(chain.stress_noise) * normal[1]
            signal_sum[:k] += x1
            e1[:k] += F32(1 - chain.frailty_keep) * (x1 - e1[:k])
            e2[:k] += F32(1 - chain.stress_keep) * (x2 - e2[:k])
            if llr is not None:
                llr[month - start, :k] = ((x2 - F32(0.5)) / F32(chain.stress_noise**2))[h]
            worst = np.where(new < CHARGED_OFF, np.maximum(new, 1) - 1, 0).astype(np.int8)
            mine = siblings[: np.searchsorted(siblings, k)]
            np.maximum.at(worst, head[mine], worst[mine])
            added = np.where(worst > 0, F32(0.1) + F32(0.25) * np.minimum(worst, 4), F32(0))
            scar[:k] = F32(chain.scar_keep) * scar[:k] + added
        states[month - start] = state
        if month in tapes:
            history.snapshots[month] = Snapshot(
                month, state.copy(), stress[head], e1[head], e2[head], scar[head], signal_sum[head],
                defaulted.copy(), closed.copy(),
            )  # fmt: skip
    return history


def _step(hazard: Hazard, old: np.ndarray, eta: np.ndarray, prepay: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """One month of every loan: roll, cure, step back, prepay or stay, in this order on the unit interval."""
    quarter = np.exp(F32(0.25) * eta)
    half = quarter * quarter
    clean = old == CLEAN
    roll = hazard.roll[old] * half * np.where(clean, half, F32(1))
    cure = roll + hazard.cure[old] / half
    back = cure + hazard.back[old] / quarter
    gone = back + np.where(clean, prepay, F32(0))
    drawn = uniform * (1 + gone)
    new = old.copy()
    new[drawn < gone] = PAID_OFF
    new[drawn < back] = (old - 1)[drawn < back]
    new[drawn < cure] = CLEAN
    new[drawn < roll] = (old + 1)[drawn < roll]
    return new
