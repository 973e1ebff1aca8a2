"""From the chain to the tape: one Arrow row per loan, with every column of the contract."""

from __future__ import annotations

from datetime import date

import numpy as np
import pyarrow as pa

from credit_risk_assets.tape import contract
from credit_risk_assets.tape.simulation.chain import Snapshot
from credit_risk_assets.tape.simulation.parameters import (
    CHARGED_OFF,
    CODE_3,
    EDUCATION,
    EMPLOYMENT,
    MISSED,
    PAID_OFF,
    PURPOSES,
    REGIONS,
    RETENTION_MONTHS,
    STATE_CODES,
    Parameters,
    Severity,
)
from credit_risk_assets.tape.simulation.population import Population
from credit_risk_assets.tape.simulation.timeline import month_end, month_starts

ARROW_TYPES = {"string": pa.string(), "date": pa.date32(), "double": pa.float64(), "int": pa.int32()}
COLUMNS: tuple[str, ...] = tuple(name for name in contract.NAMES if name != "default_flag")
SCHEMA = pa.schema([(name, ARROW_TYPES[contract.BY_NAME[name].type]) for name in COLUMNS])
STATUS_BY_STATE = np.array([0, 0, 1, 1, 2, 2, 2, 3, 4], np.int32)
BUREAU_COLUMNS = (
    "credit_score",
    "credit_history_months",
    "credit_utilization",
    "open_accounts",
    "inquiries_6m",
    "existing_monthly_debt",
)


def on_tape(loans: Population, snapshot: Snapshot) -> np.ndarray:
    """Positions of the loans on the month's tape, in output order: on book, or closed in 13 months."""
    kept = (snapshot.closed < 0) | (snapshot.month - snapshot.closed <= RETENTION_MONTHS)
    positions = np.flatnonzero(kept & (loans.month <= snapshot.month))
    return positions[np.argsort(loans.number[positions], kind="stable")]


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
    collections = 1 / (
        1 + np.exp(-(severity.collections_mean - 0.15 * loans.index + severity.collections_sd * noise))
    )
    sale = np.exp(severity.sale_mean + severity.sale_sd * noise) - severity.sale_costs
    sold = np.minimum(value * np.maximum(sale, 0) / np.maximum(balance, 1.0), 1.0)
    return np.minimum(sold + (1 - sold) * collections, severity.ceiling)


def tape_rows(
    loans: Population,
    snapshot: Snapshot,
    states: np.ndarray,
    positions: np.ndarray,
    generator: np.random.Generator,
    as_of: date,
    parameters: Parameters,
    *,
    first_loan: int,
    start: int,
    prefix: str = "",
) -> pa.Table:
    """The tape's rows at these positions, typed as the contract has them.

    `states` are the chain's months from `start`; `generator` gives the measurement noise of the bureau
    columns and is drawn for every loan of the block; `first_loan` is the number of the block's first loan.
    """
    noise = generator.standard_normal((3, len(loans)), dtype=np.float32)[:, loans.head[positions]]
    counts = generator.poisson(0.7, len(loans))[loans.head[positions]]
    month, size = snapshot.month, len(positions)
    tape_day = month_end(as_of, month)
    mine = loans.take(positions)
    state = snapshot.state[positions].astype(np.int32)
    closed, defaulted = snapshot.closed[positions], snapshot.defaulted[positions]
    open_, written_off, paid_off = state < CHARGED_OFF, state == CHARGED_OFF, state == PAID_OFF
    age_months = month - mine.month
    lived = np.where(open_, age_months, closed - mine.month)
    # A loan is charged off when its seventh instalment is missed.
    paid = np.clip(lived - MISSED[state], 0, mine.term)
    prepaid = paid_off & (lived < mine.term)
    paid = np.where(prepaid, lived - 1, np.where(paid_off, mine.term, paid))
    owed = balance_after(mine, paid)
    total = paid * mine.installment + np.where(prepaid, owed * (1 + mine.rate / 12), 0)
    charged = np.where(written_off, owed, 0)
    value = collateral_at(mine, lived)
    severity = parameters.severity
    rate = recovery_rate(mine, owed, value, severity, mine.recovery_noise)
    pace = np.where(mine.secured, severity.sale_months, severity.collections_months)
    recovered = np.round(charged * rate * (1 - np.exp(-np.where(written_off, month - closed, 0) / pace)), 2)
    dpd = np.where(state == 1, 30 - mine.day, 30 * (state - 1) + 30 - mine.day)
    dpd = np.where(state == 0, 0, np.where(written_off, 180, np.where(paid_off, 0, dpd)))

    starts = month_starts(as_of, np.arange(-1, 84 + 120 + 200))
    first_day = lambda index, day: starts[index + 1] + (day - 1)  # noqa: E731
    columns: dict[str, pa.Array] = bureau_columns(
        mine, snapshot, positions, noise, counts, month - loans.month[mine.head], parameters
    )
    numbers = first_loan + mine.number
    columns |= {
        "loan_id": identifiers(f"{prefix}L", numbers),
        "customer_id": identifiers(f"{prefix}C", first_loan + mine.customer),
        "as_of_date": pa.array(np.full(size, np.datetime64(tape_day, "D"))),
        "origination_date": pa.array(first_day(mine.month, mine.day)),
        "maturity_date": pa.array(first_day(mine.month + mine.term, mine.day)),
        "default_date": pa.array(
            first_day(np.maximum(defaulted, 0), mine.day), mask=~((state >= CODE_3) & (state <= CHARGED_OFF))
        ),
        "loan_purpose": labels([purpose.name for purpose in PURPOSES], mine.purpose),
        "loan_status": labels(contract.LOAN_STATUSES, STATUS_BY_STATE[state]),
        "loan_amount": pa.array(mine.amount),
        "interest_rate": pa.array(np.round(mine.rate * 100, 2)),
        "term_months": pa.array(mine.term),
        "installment": pa.array(mine.installment),
        "outstanding_balance": pa.array(np.where(paid_off, 0, np.round(owed - recovered, 2))),
        "collateral_value": pa.array(value, mask=~mine.secured),
        "total_paid": pa.array(np.round(total, 2)),
        "recoveries": pa.array(recovered),
        "charge_off_amount": pa.array(charged),
        "current_dpd": pa.array(dpd.astype(np.int32)),
        "payment_history_profile": profiles(states, positions, month - start, age_months),
        "age": pa.array(np.floor(mine.age + (month - loans.month[mine.head]) / 12).astype(np.int32)),
        "annual_income": pa.array(mine.income),
        "employment_type": labels(EMPLOYMENT, mine.employment),
        "employment_years": pa.array(
            np.round(
                mine.employment_years.astype(np.float64) + np.where(mine.employment < 3, age_months / 12, 0),
                1,
            )
        ),
        "education": labels(EDUCATION, mine.education),
        "family_size": pa.array(mine.family),
        "region": labels(REGIONS, mine.region),
    }
    return pa.table([columns[name] for name in COLUMNS], schema=SCHEMA)


def bureau_columns(
    mine: Population,
    snapshot: Snapshot,
    positions: np.ndarray,
    noise: np.ndarray,
    counts: np.ndarray,
    known_months: np.ndarray,
    parameters: Parameters,
) -> dict[str, pa.Array]:
    """The bureau's view at the tape's date: outcomes of the hidden states, never causes of them."""
    chain = parameters.chain
    e1, e2, scar = (
        getattr(snapshot, name)[positions].astype(np.float64)
        for name in ("frailty_signal", "stress_signal", "scar")
    )
    score = mine.score - chain.score_frailty * e1 - chain.score_stress * e2 - chain.score_scar * scar
    score = score + chain.score_noise * noise[0]
    used = mine.utilization + chain.utilization_stress * e2 + chain.utilization_scar * scar
    used = np.maximum(used + chain.utilization_noise * noise[1], 0)
    debt = mine.dti * mine.income / 12 * np.exp(chain.debt_stress * e2 + 0.03 * noise[2])
    return {
        "credit_score": pa.array(np.clip(np.round(score), 300, 900).astype(np.float64)),
        "credit_history_months": pa.array((mine.history_months + known_months).astype(np.float64)),
        "credit_utilization": pa.array(np.round(used.astype(np.float64), 4)),
        "open_accounts": pa.array((mine.accounts + np.floor(known_months / 30)).astype(np.float64)),
        "inquiries_6m": pa.array(
            np.maximum(counts + np.round(chain.inquiries_stress * e2 + 0.2 * scar), 0.0)
        ),
        "existing_monthly_debt": pa.array(np.round(debt.astype(np.float64), 2)),
    }


def profiles(states: np.ndarray, positions: np.ndarray, row: int, age_months: np.ndarray) -> pa.Array:
    """Payment history, latest month first, one code per month on book, at most 84; B in the first month."""
    depth = min(row + 1, contract.PROFILE_MAX_MONTHS)
    codes = STATE_CODES[states[row - depth + 1 : row + 1, positions][::-1]].T
    length = np.clip(age_months, 1, depth)
    flat = np.ascontiguousarray(codes)
    flat[age_months == 0, 0] = ord("B")
    kept = flat[np.arange(depth) < length[:, None]]
    offsets = np.zeros(len(positions) + 1, np.int32)
    np.cumsum(length, out=offsets[1:])
    return pa.StringArray.from_buffers(len(positions), pa.py_buffer(offsets), pa.py_buffer(kept))


def identifiers(prefix: str, numbers: np.ndarray) -> pa.Array:
    """Identifiers of a fixed width: the prefix and ten digits."""
    lead = len(prefix)
    digits = np.empty((len(numbers), lead + 10), np.uint8)
    digits[:, :lead] = np.frombuffer(prefix.encode(), np.uint8)
    rest = numbers.astype(np.int64)
    for place in range(lead + 9, lead - 1, -1):
        rest, digits[:, place] = np.divmod(rest, 10)
    digits[:, lead:] += ord("0")
    offsets = np.arange(0, digits.size + 1, lead + 10, dtype=np.int32)
    return pa.StringArray.from_buffers(len(numbers), pa.py_buffer(offsets), pa.py_buffer(digits))


def labels(values: list[str] | tuple[str, ...], index: np.ndarray) -> pa.Array:
    """The values at these indices as an Arrow string column."""
    return pa.array(values, pa.string()).take(pa.array(index.astype(np.int32)))
