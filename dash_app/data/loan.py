"""One loan: its state now and on each tape, its score, and the loans that it can be compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import polars as pl

from credit_risk_assets.config.tables import EXPECTED_CREDIT_LOSS, LOAN_HISTORY, LOAN_SCORES, LOANS, Table
from credit_risk_assets.tape.contract import ON_BOOK_STATUSES
from dash_app.data.filters import UNKNOWN
from dash_app.data.index import loan_index
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
class Peer:
    """A column over the peers: its quartiles."""

    low: float | None
    median: float | None
    high: float | None


@dataclass(frozen=True)
class Loan:
    """A loan's columns in silver/loans, its states by tape (oldest first), its score, its expected loss and its peers.

    `peers` counts the loans on book of the same purpose and score band; `compared` holds their quartiles.
    """

    state: Mapping[str, Any]
    history: pl.DataFrame
    score: Mapping[str, Any] | None
    loss: Mapping[str, Any] | None
    peers: int
    compared: Mapping[str, Peer]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the champion rates it as it does, the strongest first."""
        if self.score is None:
            return ()
        names = ("reason_1", "reason_2", "reason_3", "reason_4")
        return tuple(str(self.score[name]) for name in names if self.score.get(name))


@dataclass(frozen=True)
class Listed:
    """What the loan index says of a loan; `partition` says in which files of silver/loans it is."""

    loan_id: str
    row: Mapping[str, Any]

    @property
    def partition(self) -> pl.Expr:
        """The loan's partitions leave one file in some thirty to be read."""
        keys = ("risk_category", "loan_purpose")
        words = {key: None if self.row[key] == UNKNOWN else self.row[key] for key in keys}
        return pl.all_horizontal([pl.col(key).eq_missing(pl.lit(word)) for key, word in words.items()])


def find_loan(snapshot: Snapshot, loan_id: str) -> Listed | None:
    """The loan in the index, or None where silver/loans does not hold it."""
    snapshot.need_loan_rows()
    index = loan_index(snapshot)
    listed = index.words(index.frame.lazy().filter(pl.col("loan_id") == loan_id).head(1).collect())
    index.rest()
    return Listed(loan_id, listed.row(0, named=True)) if listed.height else None


def read_score(snapshot: Snapshot, listed: Listed) -> Mapping[str, Any] | None:
    """The loan's row in gold/loan_scores; None where it is not scored."""
    if listed.row.get("pd_12m") is None:
        return None
    return _row(snapshot, LOAN_SCORES, pl.col("risk_rating") == listed.row["risk_rating"], _is(listed.loan_id))


def read_loan(snapshot: Snapshot, loan_id: str) -> Loan | None:
    """The loan, or None where silver/loans does not hold it."""
    listed = find_loan(snapshot, loan_id)
    if listed is None:
        return None
    found, is_loan = listed.row, _is(loan_id)
    rows = snapshot.collect(LOANS, snapshot.scan(LOANS).filter(listed.partition, is_loan))
    state = {name: value for name, value in rows.row(0, named=True).items() if name not in HIDDEN}
    score, loss = read_score(snapshot, listed), None
    if found.get("ecl") is not None:
        loss = _row(snapshot, EXPECTED_CREDIT_LOSS, pl.col("stage") == found["stage"], is_loan)
    return Loan(state, _history(snapshot, is_loan), score, loss, *_peers(snapshot, state))


def _is(loan_id: str) -> pl.Expr:
    return pl.col("loan_id") == loan_id


def _row(snapshot: Snapshot, table: Table, *where: pl.Expr) -> Mapping[str, Any] | None:
    rows = snapshot.collect(table, snapshot.scan(table).filter(*where).head(1))
    return rows.row(0, named=True) if rows.height else None


def _history(snapshot: Snapshot, is_loan: pl.Expr) -> pl.DataFrame:
    if not snapshot.has(LOAN_HISTORY):
        return pl.DataFrame()
    wanted = ("as_of_date", "loan_status", "outstanding_balance", "current_dpd", "risk_category", "risk_score")
    known = [name for name in wanted if name in snapshot.columns(LOAN_HISTORY)]
    rows = snapshot.scan(LOAN_HISTORY).filter(is_loan).select(known).sort("as_of_date")
    return snapshot.collect(LOAN_HISTORY, rows)


def _peers(snapshot: Snapshot, state: Mapping[str, Any]) -> tuple[int, dict[str, Peer]]:
    names = [name for name in COMPARED if name in snapshot.columns(LOANS)]
    alike = snapshot.scan(LOANS).filter(
        pl.col("loan_status").is_in(ON_BOOK_STATUSES),
        pl.col("loan_purpose") == state["loan_purpose"],
        pl.col("score_band").eq_missing(pl.lit(state["score_band"])),
    )

    def count() -> tuple[int, dict[str, Peer]]:
        values = snapshot.collect(LOANS, alike.select(pl.col(names).cast(pl.Float64)))
        quartiles = {name: [values[name].quantile(part, "linear") for part in (0.25, 0.5, 0.75)] for name in names}
        return values.height, {name: Peer(*found) for name, found in quartiles.items()}

    group = (state["loan_purpose"], state["score_band"])
    return snapshot.cached("peers", count, LOANS, reads=COMPARED, more=group, keep=KEPT_GROUPS)


KEPT_GROUPS = 64
"""Groups of peers whose quartiles are remembered: every purpose and score band."""


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
