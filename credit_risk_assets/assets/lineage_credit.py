"""Which columns the tables of delinquency and expected loss come from."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import dagster as dg

from credit_risk_assets.config.tables import (
    EXPECTED_CREDIT_LOSS,
    LOAN_HISTORY,
    LOAN_SCORES,
    LOANS,
    RATING_MIGRATION,
    ROLL_RATES,
    VINTAGE_CURVES,
    Table,
)
from credit_risk_assets.credit.delinquency import in_default_sql
from credit_risk_assets.credit.expressions import columns_of
from credit_risk_assets.credit.migration import STATE_SQL
from credit_risk_assets.credit.profile import observed_profile_sql
from credit_risk_assets.credit.vintage import COHORT, EVENTS

Source = tuple[dg.AssetKey, str]


def of(table: Table, columns: Iterable[str]) -> list[Source]:
    """The columns of a table as sources, in order."""
    return [(dg.AssetKey(table.key), column) for column in sorted(set(columns))]


_CODES = columns_of(observed_profile_sql())
_STATE = columns_of(STATE_SQL)
_TAPES = ("tape_kind", "as_of_date")


def _vintage(column: str) -> list[Source]:
    """What a cohort is known by, and what its loans' ages and histories are read from."""
    if column in COHORT:
        return of(LOANS, [column])
    if column in ("mature", "complete"):
        return [*of(LOANS, ["origination_quarter"]), *of(LOAN_HISTORY, _TAPES)]
    if column in ("loans", "loan_amount"):
        return of(LOANS, ["loan_id" if column == "loans" else column])
    if column == "loans_unseen":
        return of(LOANS, {"months_on_book", *_CODES})
    ages = {"months_on_book", "loan_status", "origination_date"}
    events = _CODES if column in EVENTS or column == "ever_90_amount" else set()
    return [
        *of(LOANS, {*ages, *events, *(["loan_amount"] if "amount" in column else [])}),
        *of(LOAN_HISTORY, _TAPES),
    ]


def _rolls(column: str) -> list[Source]:
    if column == "loan_purpose":
        return [*of(LOANS, [column]), *of(LOAN_HISTORY, [column])]
    if column == "month":
        return [*of(LOANS, ["as_of_date"]), *of(LOAN_HISTORY, _TAPES)]
    if column == "balance":
        return of(LOAN_HISTORY, {"outstanding_balance", *_TAPES, *_CODES})
    return [*of(LOANS, _CODES), *of(LOAN_HISTORY, _CODES)]


def _moves(column: str) -> list[Source]:
    if column.endswith("_date"):
        return of(LOAN_HISTORY, _TAPES)
    if column.endswith("_state"):
        return of(LOAN_HISTORY, {"loan_id", *_STATE})
    if column.endswith("_balance"):
        return of(LOAN_HISTORY, {"outstanding_balance", "loan_status"})
    return of(LOAN_HISTORY, [column if column == "loan_purpose" else "loan_id"])


_LOSS_OF = {
    "horizon_months": {"remaining_months"},
    "lgd": {"lgd_estimate"},
    "ead": {"exposure_at_default"},
    "expected_loss_12m": {"lgd_estimate", "exposure_at_default"},
}
_LOSS = {"lgd_estimate", "exposure_at_default", "interest_rate", "remaining_months", *columns_of(in_default_sql())}


def _losses(column: str) -> list[Source]:
    if column in ("loan_id", "as_of_date"):
        return of(LOANS, [column])
    if column in _LOSS_OF:
        score = of(LOAN_SCORES, ["pd_12m"]) if column == "expected_loss_12m" else []
        return [*of(LOANS, _LOSS_OF[column]), *score]
    if column == "pd_12m":
        return of(LOAN_SCORES, [column])
    first = [*of(LOANS, ["pd_proxy"]), *of(LOAN_HISTORY, ["pd_proxy", "as_of_date"]), *of(LOAN_SCORES, ["pd_12m"])]
    if column == "pd_initial":
        return first
    stage = [*of(LOANS, columns_of(in_default_sql())), *first]
    if column in ("stage", "significant_increase"):
        return stage
    if column == "pd_lifetime":
        return [*of(LOANS, {"remaining_months", *columns_of(in_default_sql())}), *of(LOAN_SCORES, ["pd_12m"])]
    losses = [*of(LOANS, _LOSS), *of(LOAN_SCORES, ["pd_12m"])]
    return list(dict.fromkeys([*losses, *stage])) if column == "ecl" else losses


CREDIT_SOURCES: dict[str, Callable[[str], list[Source]]] = {
    VINTAGE_CURVES.path: _vintage,
    ROLL_RATES.path: _rolls,
    RATING_MIGRATION.path: _moves,
    EXPECTED_CREDIT_LOSS.path: _losses,
}
"""Table -> the sources of a column of it."""
