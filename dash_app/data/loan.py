"""One loan: its state now and on each tape, its score, and the loans that it can be compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import polars as pl

from credit_risk_assets.config.tables import LOAN_HISTORY, LOAN_SCORES, LOANS
from credit_risk_assets.tape.contract import ON_BOOK_STATUSES
from dash_app.data.lake import Snapshot

HIDDEN = frozenset({"customer_id", "age", "education", "family_size", "employment_type"})
"""Never shown for one person: the pseudonym and what could point at them or be held against them."""
COMPARED = (
    "credit_score",
    "interest_rate",
    "debt_to_income",
    "installment_to_income",
    "credit_utilization",
    "loan_to_value",
    "balance_to_amount",
    "current_dpd",
    "late_months_12m",
)


@dataclass(frozen=True)
class Loan:
    """A loan's columns in silver/loans, its states by tape (oldest first), its score and its peers' medians.

    `peers` counts the loans on book of the same purpose and score band; `medians` holds the columns compared.
    """

    state: Mapping[str, Any]
    history: pl.DataFrame
    score: Mapping[str, Any] | None
    peers: int
    medians: Mapping[str, float | None]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the champion rates it as it does, the strongest first."""
        if self.score is None:
            return ()
        names = ("reason_1", "reason_2", "reason_3", "reason_4")
        return tuple(str(self.score[name]) for name in names if self.score.get(name))


def read_loan(snapshot: Snapshot, loan_id: str) -> Loan | None:
    """The loan, or None where silver/loans does not hold it."""
    snapshot.need_loan_rows()
    rows = snapshot.scan(LOANS).filter(pl.col("loan_id") == loan_id).collect()
    if rows.height == 0:
        return None
    state = {name: value for name, value in rows.row(0, named=True).items() if name not in HIDDEN}
    history = pl.DataFrame()
    if snapshot.has(LOAN_HISTORY):
        wanted = ("as_of_date", "loan_status", "outstanding_balance", "current_dpd", "risk_category", "risk_score")
        known = [name for name in wanted if name in snapshot.columns(LOAN_HISTORY)]
        found = snapshot.scan(LOAN_HISTORY).filter(pl.col("loan_id") == loan_id)
        history = found.select(known).sort("as_of_date").collect()
    score = None
    if snapshot.has(LOAN_SCORES):
        scored = snapshot.scan(LOAN_SCORES).filter(pl.col("loan_id") == loan_id).collect()
        score = scored.row(0, named=True) if scored.height else None
    return Loan(state, history, score, *_peers(snapshot, state))


def _peers(snapshot: Snapshot, state: Mapping[str, Any]) -> tuple[int, dict[str, float | None]]:
    names = [name for name in COMPARED if name in snapshot.columns(LOANS)]
    alike = snapshot.scan(LOANS).filter(
        pl.col("loan_status").is_in(ON_BOOK_STATUSES),
        pl.col("loan_purpose") == state["loan_purpose"],
        pl.col("score_band").eq_missing(pl.lit(state["score_band"])),
    )
    sums = alike.select(pl.len().alias("_n"), pl.col(*names).cast(pl.Float64).median()).collect().row(0, named=True)
    return int(sums.pop("_n")), sums


@dataclass(frozen=True)
class Month:
    """One month of a payment history: its code and the month's first day."""

    code: str
    start: date


def payment_months(profile: str | None, as_of: date) -> Sequence[Month]:
    """The months of a payment-history profile, oldest first; its first code is the month that ends at `as_of`."""
    months = []
    for back, code in enumerate(profile or ""):
        index = as_of.year * 12 + as_of.month - 1 - back
        months.append(Month(code, date(index // 12, index % 12 + 1, 1)))
    return months[::-1]
