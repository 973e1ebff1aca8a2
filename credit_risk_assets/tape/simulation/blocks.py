"""Blocks of loans: the unit of randomness, of memory and of parallel work.

Block b draws from Philox streams `SeedSequence(seed, spawn_key=(b, s))`: s = 0 for borrowers and loans, 1 for
the chain, (2, month) for what the bureau reports on a tape. Nothing crosses a block, so the output depends
neither on the order nor on the number of processes. A tape of N rows is the first N rows of the endless
portfolio of its seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa

from credit_risk_assets.tape.simulation.bureau import report
from credit_risk_assets.tape.simulation.chain import Hazard, History, run_chain
from credit_risk_assets.tape.simulation.parameters import (
    BLOCK_LOANS,
    CHARGED_OFF,
    CODE_3,
    LATEST,
    SUBPRIME,
    Parameters,
)
from credit_risk_assets.tape.simulation.population import (
    Population,
    draw_population,
    history_origination_months,
)
from credit_risk_assets.tape.simulation.rows import on_tape, tape_rows
from credit_risk_assets.tape.simulation.standing import at_month_end
from credit_risk_assets.tape.simulation.timeline import month_end
from credit_risk_assets.tape.simulation.truth import truth_rows


@dataclass(frozen=True)
class BlockTask:
    """One block to simulate: which, until when, and how many rows of the latest tape are still wanted."""

    seed: int
    block: int
    as_of: date
    months: tuple[int, ...]
    truth: bool = False
    limit: int | None = None
    parameters: Parameters = SUBPRIME


@dataclass(frozen=True)
class BlockResult:
    """The rows of one block for each month asked for, oldest first, and their truth where asked for.

    `outcomes` has, for each tape with another one a year later, the loans on book below 90 DPD and how many
    of them reached 90 DPD within the year.
    """

    block: int
    tapes: dict[int, pa.Table]
    truths: dict[int, pa.Table]
    outcomes: dict[int, tuple[int, int]]

    @property
    def latest_rows(self) -> int:
        """Rows on the newest of the tapes."""
        return self.tapes[max(self.tapes)].num_rows


def stream(seed: int, *key: int) -> np.random.Generator:
    """The random stream of a key: Philox, seeded by the portfolio's seed and the key."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=key)))


def draw_block(
    task: BlockTask, hazard: Hazard, *, end: int | None = None, tapes: tuple[int, ...] | None = None
) -> tuple[Population, History]:
    """Borrowers and chain of a block, up to `end` (the newest month asked for by default)."""
    generator = stream(task.seed, task.block, 0)
    months = history_origination_months(generator, BLOCK_LOANS, task.parameters)
    loans = draw_population(generator, months, task.parameters)
    history = run_chain(
        loans,
        stream(task.seed, task.block, 1),
        hazard,
        start=0,
        end=max(task.months) if end is None else end,
        tapes=task.months if tapes is None else tapes,
        evidence=task.truth,
    )
    return loans, history


def simulate_block(task: BlockTask) -> BlockResult:
    """Tape rows (and truth) of one block; with a limit, its first loans that give the latest tape that many.

    The latest tape is month 83; rows are in order of loan number.
    """
    hazard = Hazard(task.parameters.chain)
    loans, history = draw_block(task, hazard)
    newest = on_tape(loans, history.snapshots[max(task.months)])
    last = len(loans)
    if task.limit is not None and task.limit < len(newest):
        last = int(loans.number[newest[task.limit - 1]])
    tapes, truths, outcomes = {}, {}, {}
    for month in sorted(task.months):
        snapshot = history.snapshots[month]
        positions = on_tape(loans, snapshot)
        positions = positions[loans.number[positions] <= last]
        tapes[month] = tape_rows(
            loans,
            history,
            positions,
            at_month_end(loans, snapshot, positions),
            report(loans, snapshot, stream(task.seed, task.block, 2, month)),
            latest=task.as_of,
            day=month_end(task.as_of, month),
            first_loan=task.block * BLOCK_LOANS,
            parameters=task.parameters,
        )
        if month + 12 in task.months:
            performing = positions[snapshot.state[positions] < CODE_3]
            year = history.states[month + 1 : month + 13, performing]
            defaults = ((year >= CODE_3) & (year <= CHARGED_OFF)).any(axis=0)
            outcomes[month] = (len(performing), int(defaults.sum()))
        if task.truth:
            truths[month] = truth_rows(
                loans, history, snapshot, positions, hazard, task.as_of, task.parameters,
                first_loan=task.block * BLOCK_LOANS,
            )  # fmt: skip
    return BlockResult(task.block, tapes, truths, outcomes)


def tape_months(tapes: int) -> tuple[int, ...]:
    """Month indices of the yearly tapes, oldest first; the latest is month 83."""
    return tuple(LATEST - 12 * back for back in range(tapes - 1, -1, -1))
