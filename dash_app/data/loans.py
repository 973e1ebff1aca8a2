"""The loan list: server-side filter, search, sort and paging over silver/loans with their scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import polars as pl

from credit_risk_assets.config.tables import LOAN_SCORES, Table
from dash_app.data.export import loan_table
from dash_app.data.filters import Filters
from dash_app.data.lake import Snapshot

LOAN_COLUMNS = (
    "loan_id",
    "loan_purpose",
    "loan_status",
    "risk_category",
    "risk_score",
    "outstanding_balance",
    "loan_amount",
    "interest_rate",
    "term_months",
    "current_dpd",
    "dpd_bucket",
    "credit_score",
    "score_band",
    "debt_to_income",
    "loan_to_value",
    "origination_date",
    "origination_quarter",
    "months_on_book",
    "expected_loss_proxy",
    "early_warning",
    "region",
)
SCORE_COLUMNS = ("pd_12m", "risk_rating", "score_points", "reason_1")
SEARCHED = ("loan_id", "loan_purpose", "region", "loan_status", "risk_category")
MEMORY_ROWS = 1_000_000
"""Up to this many loans the list's columns are kept in memory; beyond it every page is a scan."""


@dataclass(frozen=True)
class LoanRequest:
    """One block of the list: rows [start, end) of the filtered, searched and sorted loans.

    `columns` is the grid's filter model and `sort` its sort model, as AG Grid sends them.
    """

    filters: Filters
    start: int = 0
    end: int = 100
    search: str = ""
    only: str = ""
    columns: Mapping[str, Any] = field(default_factory=dict)
    sort: Sequence[Mapping[str, str]] = ()


@dataclass(frozen=True)
class LoanBlock:
    """Rows ready for the grid, and sums over all that match."""

    rows: list[dict[str, Any]]
    total: int
    balance: float


def loan_block(snapshot: Snapshot, request: LoanRequest) -> LoanBlock:
    """The rows of one block; ties in the sort are broken by loan_id, so that blocks never overlap."""
    snapshot.need_loan_rows()
    frame = _loans(snapshot, request.filters)
    known = set(frame.collect_schema().names())
    predicate = request.filters.predicate() & _quick(request.only, known) & _search(request.search, known)
    for name, model in request.columns.items():
        if name in known:
            predicate &= grid_filter(name, model)
    matching = frame.filter(predicate)
    order = [(s["colId"], s.get("sort") == "desc") for s in request.sort if s.get("colId") in known]
    order = order or [("outstanding_balance", True)]
    names, falling = [name for name, _ in order], [down for _, down in order]
    if "loan_id" not in names:
        names, falling = [*names, "loan_id"], [*falling, False]
    page = matching.sort(names, descending=falling, nulls_last=True).slice(
        request.start, max(request.end - request.start, 0)
    )
    sums = matching.select(pl.len().alias("n"), pl.col("outstanding_balance").sum().alias("balance"))
    rows, total = pl.collect_all([page, sums])
    return LoanBlock(_for_grid(rows), int(total["n"][0]), float(total["balance"][0] or 0))


def _loans(snapshot: Snapshot, filters: Filters) -> pl.LazyFrame:
    table, month = loan_table(snapshot, filters)
    if snapshot.rows(table) <= MEMORY_ROWS:
        tables: tuple[Table, ...] = (table, LOAN_SCORES)
        frame: pl.DataFrame = snapshot.cached(
            f"loan list {month}",
            lambda: _joined(snapshot, table, month).collect(),
            *tables,
            reads=(*LOAN_COLUMNS, *SCORE_COLUMNS),
        )
        return frame.lazy()
    return _joined(snapshot, table, month)


def _joined(snapshot: Snapshot, table: Table, month: str) -> pl.LazyFrame:
    names = [name for name in LOAN_COLUMNS if name in snapshot.columns(table)]
    frame = snapshot.scan(table)
    if month:
        frame = frame.filter(pl.col("as_of_month") == month)
    frame = frame.select(names)
    if not month and snapshot.has(LOAN_SCORES):  # scores describe the loans as they stand now
        known = [name for name in SCORE_COLUMNS if name in snapshot.columns(LOAN_SCORES)]
        frame = frame.join(snapshot.scan(LOAN_SCORES).select("loan_id", *known), on="loan_id", how="left")
    return frame


def _quick(only: str, known: set[str]) -> pl.Expr:
    if only == "high":
        return pl.col("risk_category").is_in(["High", "Very High"])
    if only == "warning" and "early_warning" in known:
        return pl.col("early_warning").cast(pl.Int64, strict=False).fill_null(0) > 0
    return pl.lit(True)


def _search(text: str, known: set[str]) -> pl.Expr:
    words = text.strip().lower().split()
    predicate = pl.lit(True)
    for word in words[:5]:
        # "debt consolidation" is typed as two words and stored as one
        found = [
            pl.col(n).cast(pl.String).str.to_lowercase().str.contains(word, literal=True)
            for n in SEARCHED
            if n in known
        ]
        predicate &= pl.any_horizontal(found)
    return predicate


_TEXT = {
    "contains": lambda c, v: c.str.contains(v, literal=True),
    "notContains": lambda c, v: ~c.str.contains(v, literal=True).fill_null(False),
    "equals": lambda c, v: c == v,
    "notEqual": lambda c, v: (c != v).fill_null(True),
    "startsWith": lambda c, v: c.str.starts_with(v),
    "endsWith": lambda c, v: c.str.ends_with(v),
}
_ORDERED = {
    "equals": lambda c, v: c == v,
    "notEqual": lambda c, v: (c != v).fill_null(True),
    "greaterThan": lambda c, v: c > v,
    "greaterThanOrEqual": lambda c, v: c >= v,
    "lessThan": lambda c, v: c < v,
    "lessThanOrEqual": lambda c, v: c <= v,
}


def grid_filter(name: str, model: Mapping[str, Any]) -> pl.Expr:
    """One column's filter, as AG Grid describes it, as a predicate; what is not understood filters nothing."""
    if "conditions" in model:
        parts = [grid_filter(name, part) for part in model["conditions"]]
        together = pl.any_horizontal if model.get("operator") == "OR" else pl.all_horizontal
        return together(parts) if parts else pl.lit(True)
    kind, how = model.get("filterType"), str(model.get("type"))
    column = pl.col(name)
    if how in ("blank", "notBlank"):
        return column.is_null() if how == "blank" else column.is_not_null()
    if kind == "text" and how in _TEXT and model.get("filter") is not None:
        text: pl.Expr = _TEXT[how](
            column.cast(pl.String).str.to_lowercase(),
            str(model["filter"]).strip().lower().replace(" ", "_")
            if name in ("loan_purpose", "loan_status")
            else str(model["filter"]).lower(),
        )
        return text
    low, high = _bounds(model)
    if low is None:
        return pl.lit(True)
    if how == "inRange" and high is not None:
        return column.is_between(low, high)
    ordered: pl.Expr = _ORDERED[how](column, low) if how in _ORDERED else pl.lit(True)
    return ordered


def _bounds(model: Mapping[str, Any]) -> tuple[Any, Any]:
    try:
        if model.get("filterType") == "date":
            texts = (model.get("dateFrom"), model.get("dateTo"))
            low, high = (date.fromisoformat(text[:10]) if text else None for text in texts)
            return low, high
        numbers = (model.get("filter"), model.get("filterTo"))
        return tuple(None if n is None else float(n) for n in numbers)  # type: ignore[return-value]
    except (TypeError, ValueError):
        return None, None


def _for_grid(rows: pl.DataFrame) -> list[dict[str, Any]]:
    dates = [pl.col(name).dt.to_string() for name, kind in rows.schema.items() if kind == pl.Date]
    return rows.with_columns(dates).to_dicts()
