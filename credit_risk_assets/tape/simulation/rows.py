"""From the chain to the tape: one Arrow row per loan, with every column of the contract."""

from __future__ import annotations

from datetime import date

import numpy as np
import pyarrow as pa

from credit_risk_assets.tape import contract
from credit_risk_assets.tape.simulation.bureau import Report, bureau_columns
from credit_risk_assets.tape.simulation.chain import History, Snapshot
from credit_risk_assets.tape.simulation.columns import identifiers, labels, profiles
from credit_risk_assets.tape.simulation.parameters import (
    CHARGED_OFF,
    CODE_3,
    EDUCATION,
    EMPLOYMENT,
    HISTORY_MONTHS,
    MAX_FUTURE_MONTHS,
    PURPOSES,
    REGIONS,
    RETENTION_MONTHS,
    STATE_CODES,
    Parameters,
)
from credit_risk_assets.tape.simulation.population import Population
from credit_risk_assets.tape.simulation.standing import Standing, money
from credit_risk_assets.tape.simulation.timeline import month_starts

ARROW_TYPES = {"string": pa.string(), "date": pa.date32(), "double": pa.float64(), "int": pa.int32()}
COLUMNS: tuple[str, ...] = tuple(name for name in contract.NAMES if name != "default_flag")
SCHEMA = pa.schema([(name, ARROW_TYPES[contract.BY_NAME[name].type]) for name in COLUMNS])
STATUS_BY_STATE = np.array([0, 0, 1, 1, 2, 2, 2, 3, 4], np.int32)
LONGEST_TERM = max(max(purpose.terms) for purpose in PURPOSES)


def on_tape(loans: Population, snapshot: Snapshot) -> np.ndarray:
    """Positions of the loans on the month's tape, in output order: on book, or closed in 13 months."""
    kept = (snapshot.closed < 0) | (snapshot.month - snapshot.closed <= RETENTION_MONTHS)
    positions = np.flatnonzero(kept & (loans.month <= snapshot.month))
    return positions[np.argsort(loans.number[positions], kind="stable")]


def tape_rows(
    loans: Population,
    history: History,
    positions: np.ndarray,
    standing: Standing,
    seen: Report,
    *,
    latest: date,
    day: date,
    first_loan: int,
    parameters: Parameters,
) -> pa.Table:
    """The tape's rows of these loans as they stand on a day, typed as the contract has them.

    `latest` is the end of month 83, `first_loan` the number of the first loan of the population.
    """
    mine = loans.take(positions)
    month, state = standing.month, standing.state
    age_months = month - mine.month
    amounts = money(mine, standing, parameters.severity)
    depth = min(month - history.start + 1, contract.PROFILE_MAX_MONTHS)
    row = month - history.start
    codes = STATE_CODES[history.states[row - depth + 1 : row + 1, positions][::-1]].T
    codes[:, 0] = STATE_CODES[state]
    starts = month_starts(latest, np.arange(HISTORY_MONTHS + MAX_FUTURE_MONTHS + LONGEST_TERM))
    default_days = starts[np.maximum(standing.defaulted, 0)] + (mine.day - 1)
    years = mine.employment_years.astype(np.float64) + np.where(mine.employment < 3, age_months / 12, 0)
    columns: dict[str, pa.Array] = bureau_columns(loans, positions, seen, parameters) | {
        "loan_id": identifiers("L", first_loan + mine.number),
        "customer_id": identifiers("C", first_loan + mine.customer.astype(np.int64)),
        "as_of_date": pa.array(np.full(len(mine), np.datetime64(day, "D"))),
        "origination_date": pa.array(starts[mine.month] + (mine.day - 1)),
        "maturity_date": pa.array(starts[mine.month + mine.term] + (mine.day - 1)),
        "default_date": pa.array(default_days, mask=(state < CODE_3) | (state > CHARGED_OFF)),
        "loan_purpose": labels([purpose.name for purpose in PURPOSES], mine.purpose),
        "loan_status": labels(contract.LOAN_STATUSES, STATUS_BY_STATE[state]),
        "loan_amount": pa.array(mine.amount),
        "interest_rate": pa.array(np.round(mine.rate * 100, 2)),
        "term_months": pa.array(mine.term),
        "installment": pa.array(mine.installment),
        "outstanding_balance": pa.array(amounts.balance),
        "collateral_value": pa.array(amounts.collateral, mask=~mine.secured),
        "total_paid": pa.array(amounts.total_paid),
        "recoveries": pa.array(amounts.recovered),
        "charge_off_amount": pa.array(amounts.charged_off),
        "current_dpd": pa.array(standing.dpd.astype(np.int32)),
        "payment_history_profile": profiles(codes, age_months),
        "age": pa.array(np.floor(mine.age + (month - loans.month[mine.head]) / 12).astype(np.int32)),
        "annual_income": pa.array(mine.income),
        "employment_type": labels(EMPLOYMENT, mine.employment),
        "employment_years": pa.array(np.round(years, 1)),
        "education": labels(EDUCATION, mine.education),
        "family_size": pa.array(mine.family),
        "region": labels(REGIONS, mine.region),
    }
    return pa.table([columns[name] for name in COLUMNS], schema=SCHEMA)
