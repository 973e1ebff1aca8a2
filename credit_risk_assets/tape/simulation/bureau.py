"""The bureau's record of a borrower: outcomes of the hidden states, never causes of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from credit_risk_assets.tape.simulation.chain import Snapshot
from credit_risk_assets.tape.simulation.parameters import Parameters
from credit_risk_assets.tape.simulation.population import Population


@dataclass(frozen=True)
class Report:
    """What the bureau knows at a month-end: the chain's signals, and this report's own noise, per loan."""

    snapshot: Snapshot
    noise: np.ndarray
    inquiries: np.ndarray


def report(loans: Population, snapshot: Snapshot, generator: np.random.Generator) -> Report:
    """The bureau's report of a month; the draw covers every loan, so that it depends on no selection."""
    noise = generator.standard_normal((3, len(loans)), dtype=np.float32)
    return Report(snapshot, noise[:, loans.head], generator.poisson(0.3, len(loans))[loans.head])


def bureau_columns(
    loans: Population, positions: np.ndarray, seen: Report, parameters: Parameters
) -> dict[str, pa.Array]:
    """The bureau columns of the tape for these loans."""
    chain, snapshot = parameters.chain, seen.snapshot
    mine = loans.take(positions)
    noise = seen.noise[:, positions]
    known_months = np.maximum(snapshot.month - loans.month[mine.head], 0)
    e1, e2, scar = (
        values[positions].astype(np.float64)
        for values in (snapshot.frailty_signal, snapshot.stress_signal, snapshot.scar)
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
            np.maximum(seen.inquiries[positions] + np.round(chain.inquiries_stress * e2 + 0.2 * scar), 0.0)
        ),
        "existing_monthly_debt": pa.array(np.round(debt.astype(np.float64), 2)),
    }
