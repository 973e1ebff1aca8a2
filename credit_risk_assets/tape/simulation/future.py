"""The portfolio after its latest tape: the same loans month by month, and new customers every month.

New lending of month m draws from streams `SeedSequence(seed, spawn_key=(j, 3, m))` for loans, `(j, 4, m)` for the
chain and `(j, 5, m, month)` for the bureau, j counting blocks; payment times of month m come from `(b, 6, m)` for
the history's blocks and `(j, 7, cohort, m)` for later ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np

from credit_risk_assets.tape.simulation.blocks import BlockTask, draw_block, stream
from credit_risk_assets.tape.simulation.bureau import Report, report
from credit_risk_assets.tape.simulation.chain import Hazard, History, Snapshot, run_chain
from credit_risk_assets.tape.simulation.parameters import (
    BLOCK_LOANS,
    HISTORY_MONTHS,
    LATEST,
    SUBPRIME,
    Parameters,
)
from credit_risk_assets.tape.simulation.population import Population, draw_population
from credit_risk_assets.tape.simulation.rows import on_tape

FUTURE_LOANS = 5_000_000_000
MONTH_LOANS = 10_000_000
"""Numbers of loans made after the latest tape: one range a month, above every number of the history."""


@dataclass(frozen=True)
class Portfolio:
    """What makes a simulated portfolio: its size and date at the latest tape, and its seed."""

    loans: int
    seed: int
    as_of: date
    parameters: Parameters = SUBPRIME


@dataclass(frozen=True)
class Source:
    """Loans drawn together, with their chain up to a month and the snapshots of that month and the one before.

    Loans numbered above `last` are no part of the portfolio.
    """

    loans: Population
    history: History
    before: Snapshot
    after: Snapshot
    first_loan: int
    last: int
    bureau: Callable[[Snapshot], Report]
    times: np.random.Generator


def sources(portfolio: Portfolio, month: int) -> Iterator[Source]:
    """Every block of the portfolio as of a month after the latest tape, one at a time, oldest lending first."""
    hazard = Hazard(portfolio.parameters.chain)
    seed, rows, lent, block = portfolio.seed, 0, 0, 0
    while rows < portfolio.loans:
        task = BlockTask(seed, block, portfolio.as_of, (LATEST,), parameters=portfolio.parameters)
        loans, history = draw_block(task, hazard, end=month, tapes=(LATEST, month - 1, month))
        newest = on_tape(loans, history.snapshots[LATEST])[: portfolio.loans - rows]
        rows += len(newest)
        last = int(loans.number[newest[-1]]) if rows == portfolio.loans else len(loans) - 1
        lent += last + 1
        yield Source(
            loans, history, history.snapshots[month - 1], history.snapshots[month],
            block * BLOCK_LOANS, last, _bureau(seed, loans, block, 2), stream(seed, block, 6, month),
        )  # fmt: skip
        block += 1
    for made in range(HISTORY_MONTHS, month + 1):
        size = new_loans(lent, made, portfolio.parameters)
        for block in range(-(-size // BLOCK_LOANS)):
            yield _cohort(portfolio, hazard, made, month, block, min(size - block * BLOCK_LOANS, BLOCK_LOANS))


def new_loans(lent: int, month: int, parameters: Parameters) -> int:
    """Loans made in a month after the history, in which `lent` loans were made: lending keeps growing."""
    weights = (1 + parameters.growth) ** np.arange(HISTORY_MONTHS)
    return round(lent * (1 + parameters.growth) ** month / float(weights.sum()))


def _cohort(portfolio: Portfolio, hazard: Hazard, made: int, month: int, block: int, size: int) -> Source:
    seed = portfolio.seed
    months = np.full(size, made, np.int32)
    loans = draw_population(stream(seed, block, 3, made), months, portfolio.parameters)
    tapes = (month - 1, month)
    history = run_chain(loans, stream(seed, block, 4, made), hazard, start=made, end=month, tapes=tapes)
    after = history.snapshots[month]
    # In the month of lending there is no month before; nothing has happened yet either.
    before = history.snapshots.get(month - 1, after)
    first_loan = FUTURE_LOANS + (made - HISTORY_MONTHS) * MONTH_LOANS + block * BLOCK_LOANS
    return Source(
        loans, history, before, after, first_loan, size - 1,
        _bureau(seed, loans, block, 5, made), stream(seed, block, 7, made, month),
    )  # fmt: skip


def _bureau(seed: int, loans: Population, *key: int) -> Callable[[Snapshot], Report]:
    return lambda snapshot: report(loans, snapshot, stream(seed, *key, snapshot.month))
