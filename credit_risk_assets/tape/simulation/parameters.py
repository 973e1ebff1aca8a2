"""Every number that the simulated portfolio rests on: a subprime-like consumer book at about 10 % default."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BLOCK_LOANS = 16_384
"""Loans drawn from one random stream; small enough that a month of a block stays in the processor's cache."""
HISTORY_MONTHS = 84
LATEST = HISTORY_MONTHS - 1
"""Index of the latest tape's month; month 0 is the first month of lending."""
RETENTION_MONTHS = 13
MAX_TAPES = 6
MAX_PARTS = 100
MAX_FUTURE_MONTHS = 120

CLEAN, EARLY, CODE_1, CODE_2, CODE_3, CODE_4, CODE_5, CHARGED_OFF, PAID_OFF = range(9)
"""States of the chain: clean, 1-29 days past due, then Metro 2 codes 1 to 5, and the two ways to close."""
STATE_CODES = np.frombuffer(b"0012345LE", dtype=np.uint8)
MISSED = np.array([0, 1, 2, 3, 4, 5, 6, 7, 0], dtype=np.int32)
"""Instalments due and unpaid in each state."""


@dataclass(frozen=True)
class Purpose:
    """What one kind of loan looks like: share, size, terms, security and its own risk."""

    name: str
    share: float
    amount: float
    effect: float
    secured: float = 0.0
    terms: tuple[int, ...] = (24, 36, 48, 60, 72)
    term_shares: tuple[float, ...] = (0.12, 0.36, 0.20, 0.26, 0.06)
    spread: float = 0.0
    ltv_shift: float = 0.0
    value_drift: float = 0.0


PURPOSES: tuple[Purpose, ...] = (
    Purpose("home", 0.08, 42_000, -0.30, 1.0, (84, 120, 180), (0.3, 0.5, 0.2), -0.035, -0.14, 0.0022),
    Purpose("auto", 0.20, 17_500, -0.20, 1.0, (36, 48, 60, 72), (0.2, 0.25, 0.35, 0.2), -0.005, 0.04, -0.013),
    Purpose("education", 0.06, 9_000, 0.10),
    Purpose("personal", 0.22, 8_000, 0.05),
    Purpose("business", 0.08, 19_000, 0.30, 0.4, value_drift=-0.008),
    Purpose("medical", 0.05, 5_500, 0.20),
    Purpose("debt_consolidation", 0.26, 12_500, 0.10),
    Purpose("other", 0.05, 6_500, 0.0),
)

EMPLOYMENT = ("salaried", "self_employed", "part_time", "retired", "unemployed")
EMPLOYMENT_SHARES = (0.66, 0.14, 0.10, 0.06, 0.04)
EMPLOYMENT_EFFECTS = (-0.15, 0.15, 0.25, -0.10, 0.80)
EDUCATION = ("high_school", "some_college", "bachelor", "master", "doctorate")
EDUCATION_SHARES = (0.36, 0.30, 0.23, 0.09, 0.02)
REGIONS = ("Northeast", "Midwest", "South", "West")
REGION_SHARES = (0.17, 0.21, 0.39, 0.23)


@dataclass(frozen=True)
class Chain:
    """Intercepts and slopes of the monthly transitions, the hidden states and their signals.

    Transitions are odds against staying: roll `exp(roll[s] + η)` from clean and `exp(roll[s] + η/2)` from any
    later state, full cure `exp(cure[s] − η/2)`, one step back `exp(back[s] − η/4)`, prepayment (clean only)
    `exp(prepay + …)`. η = slope·index + frailty + stress·S + macro + seasoning(months on book).
    """

    slope: float = 1.02
    frailty_sd: float = 0.50
    stress: float = 2.7
    stress_enter: float = -4.2
    stress_index: float = 0.40
    stress_frailty: float = 0.35
    stress_macro: float = 0.5
    stress_leave: float = 0.08
    roll: tuple[float, ...] = (-3.69, 0.05, -0.92, 0.20, 0.90, 1.60, 2.20)
    cure: tuple[float, ...] = (-30.0, 0.80, 0.45, 0.15, -0.60, -0.90, -1.10)
    back: tuple[float, ...] = (-30.0, -30.0, -0.60, -0.50, -0.60, -0.90, -1.20)
    prepay: float = -4.8
    prepay_score: float = 0.15
    prepay_late: float = 0.5
    season_start: float = 1.9
    season_start_months: float = 4.5
    season_fall: float = 0.25
    season_fall_from: float = 14.0
    season_fall_months: float = 24.0
    frailty_keep: float = 0.94
    frailty_noise: float = 1.8
    stress_keep: float = 0.60
    stress_noise: float = 0.66
    scar_keep: float = 0.93
    score_frailty: float = 44.0
    score_stress: float = 20.0
    score_scar: float = 16.0
    score_noise: float = 3.0
    utilization_stress: float = 0.08
    utilization_scar: float = 0.02
    utilization_noise: float = 0.015
    inquiries_stress: float = 4.0
    debt_stress: float = 0.05


@dataclass(frozen=True)
class Severity:
    """What comes back after charge-off: the sale of the collateral, and collections on the rest."""

    sale_mean: float = -0.60
    sale_sd: float = 0.22
    sale_costs: float = 0.08
    sale_months: float = 2.5
    collections_mean: float = -1.75
    collections_sd: float = 0.60
    collections_months: float = 5.0
    ceiling: float = 0.97
    months_to_charge_off: int = 6


@dataclass(frozen=True)
class Parameters:
    """The whole portfolio: growth of lending, loans a customer, the risk index and the mechanisms above."""

    growth: float = 0.006
    second_loan: float = 0.18
    third_loan: float = 0.04
    index_centre: float = 0.256
    index_scale: float = 1.0295
    chain: Chain = Chain()
    severity: Severity = Severity()


SUBPRIME = Parameters()


def macro_path() -> np.ndarray:
    """The economy a month, on the scale of η, from first lending on: AR(1), φ 0.94, sd 0.15, one frozen path.

    The path is the same for every seed: random paths would move the yearly default rate far more than any
    other assumption.
    """
    months = HISTORY_MONTHS + MAX_FUTURE_MONTHS + 12
    generator = np.random.Generator(np.random.Philox(np.random.SeedSequence(2036)))
    noise = generator.standard_normal(months)
    path = np.empty(months)
    path[0] = 0.15 * noise[0]
    for month in range(1, months):
        path[month] = 0.94 * path[month - 1] + 0.15 * np.sqrt(1 - 0.94**2) * noise[month]
    return (path - path[:HISTORY_MONTHS].mean()).astype(np.float32)


MACRO = macro_path()
