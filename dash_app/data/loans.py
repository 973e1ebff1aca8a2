"""The loan list: server-side filter, search, sort and paging over the loan index."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import polars as pl

from dash_app.data.export import HIGH_RISK, loan_table
from dash_app.data.filters import UNKNOWN, Filters
from dash_app.data.index import MODEL_LOSS, LoanIndex, index_tables, loan_index
from dash_app.data.lake import Snapshot

SHOWN = (
    "loan_id",
    "loan_purpose",
    "loan_status",
    "risk_category",
    "risk_rating",
    "pd_12m",
    "outstanding_balance",
    "loan_amount",
    "interest_rate",
    "term_months",
    "current_dpd",
    "credit_score",
    "debt_to_income",
    "loan_to_value",
    "expected_loss_proxy",
    MODEL_LOSS,
    "stage",
    "ecl",
    "origination_date",
    "months_on_book",
    "region",
    "reason_1",
)
"""The list's columns; those that a portfolio does not have are left out."""
SEARCHED = ("loan_purpose", "region", "loan_status", "risk_category")
BY_SIZE = ("risk_category", "risk_rating", "score_band", "dpd_bucket")
DEFAULT_ORDER = ("outstanding_balance", True)
ORDERED_VIEWS = 4
"""How many sorted views are remembered, so that scrolling sorts once; 4 bytes a loan."""
_PLACE = "_place"


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
    """The rows of one block; ties in the sort are broken by place, so that blocks never overlap."""
    snapshot.need_loan_rows()
    index = _index(snapshot, request.filters)
    view = _view(snapshot, index, request)
    places = view.places.slice(request.start, max(request.end - request.start, 0))
    shown = [name for name in SHOWN if name in index.frame.columns]
    rows = index.words(index.frame.select(pl.col(*shown).gather(places)))
    index.rest()
    return LoanBlock(_for_grid(rows), view.total, view.balance)


def loan_sums(snapshot: Snapshot, request: LoanRequest) -> LoanBlock:
    """How many loans match, and their balance; no rows."""
    snapshot.need_loan_rows()
    view = _view(snapshot, _index(snapshot, request.filters), request, count_only=True)
    return LoanBlock([], view.total, view.balance)


@dataclass(frozen=True)
class _View:
    """The places of the matching loans in the index, in the order asked for, as far as they are known."""

    places: pl.Series
    total: int
    balance: float


def _index(snapshot: Snapshot, filters: Filters) -> LoanIndex:
    table, month = loan_table(snapshot, filters)
    return loan_index(snapshot, table, month)


def _view(snapshot: Snapshot, index: LoanIndex, request: LoanRequest, *, count_only: bool = False) -> _View:
    known = set(index.frame.columns)
    order = [(s["colId"], s.get("sort") == "desc") for s in request.sort if s.get("colId") in known]
    order = order or [DEFAULT_ORDER]
    frame = index.frame.lazy().with_row_index(_PLACE).filter(_predicate(index, request))
    if count_only:
        return _View(pl.Series(dtype=pl.UInt32), *_sums(frame.select("outstanding_balance").collect()))
    # what is shown of a view begins with its first rows: those are found without sorting the rest
    head = request.end <= HEAD_ROWS

    def find() -> _View:
        columns = dict.fromkeys([_PLACE, "outstanding_balance", *[name for name, _ in order]])
        matching = frame.select(list(columns)).collect()
        kept = _first(index, matching, order[0]) if head else matching
        ordered = kept.sort(
            [*[_sort_key(index, name) for name, _ in order], pl.col(_PLACE)],
            descending=[*[down for _, down in order], False],
            nulls_last=True,
        )
        return _View(ordered[_PLACE], *_sums(matching))

    key = (request.filters.to_query(), request.search, request.only, _frozen(request.columns), tuple(order), head)
    tables = index_tables(loan_table(snapshot, request.filters)[0])
    return snapshot.cached("loan views", find, *tables, reads=(), more=key, keep=ORDERED_VIEWS)


HEAD_ROWS = 1_000
"""So many first rows are found without sorting the whole view."""


def _first(index: LoanIndex, matching: pl.DataFrame, order: tuple[str, bool]) -> pl.DataFrame:
    """The rows that can be among the first `HEAD_ROWS` in an order, and whatever is equal to the last of them."""
    if matching.height <= HEAD_ROWS:
        return matching
    name, down = order
    key = _sort_key(index, name)
    ranked = matching.lazy().select(key).sort(name, descending=down, nulls_last=True)
    last = ranked.slice(HEAD_ROWS - 1, 1).collect().item()
    if last is None:  # a gap: every value comes before it
        return matching
    return matching.filter(key >= last if down else key <= last)


def _sums(matching: pl.DataFrame) -> tuple[int, float]:
    return matching.height, float(matching["outstanding_balance"].sum() or 0)


def _frozen(model: Mapping[str, Any]) -> str:
    return json.dumps(model, sort_keys=True, default=str)


def _sort_key(index: LoanIndex, name: str) -> pl.Expr:
    """Risks are sorted by size, other words by alphabet; gaps come last."""
    words = index.codes.words.get(name)
    if words is None:
        return pl.col(name)
    ranks: dict[str, int | None] = {word: place for place, word in enumerate(words)}
    if name not in BY_SIZE:
        ranks = {word: place for place, word in enumerate(sorted(words))}
    ranks |= {word: None for word in ranks if word == UNKNOWN}
    return pl.lit(pl.Series([ranks[word] for word in words], dtype=pl.UInt32)).gather(pl.col(name)).alias(name)


def _predicate(index: LoanIndex, request: LoanRequest) -> pl.Expr:
    known = set(index.frame.columns)
    if request.filters.values("rating") and "risk_rating" not in known:
        return pl.lit(value=False)  # only the newest tape's loans have ratings
    predicate = index.codes.predicate(request.filters)
    if request.only == "high":
        predicate &= index.codes.is_in("risk_category", HIGH_RISK)
    if request.only == "warning":
        predicate &= pl.col("early_warning") > 0 if "early_warning" in known else pl.lit(value=False)
    for word in request.search.strip().split()[:5]:
        predicate &= _found(index, word)
    for name, model in request.columns.items():
        if name in index.codes.words:
            predicate &= index.codes.is_in(name, _words_that_pass(index.codes.words[name], name, model))
        elif name in known:
            predicate &= grid_filter(name, model)
    return predicate


def _found(index: LoanIndex, word: str) -> pl.Expr:
    """Whether a loan's number begins with the word, or the word is part of its purpose, status, risk or region."""
    ids = pl.col("loan_id")
    predicate = pl.any_horizontal([ids.str.starts_with(form) for form in {word, word.upper(), word.lower()}])
    for name in SEARCHED:
        words = index.codes.words.get(name, ())
        # "debt consolidation" is typed as two words and stored as one
        alike = [value for value in words if word.lower() in value.lower() and value != UNKNOWN]
        if alike:
            predicate |= index.codes.is_in(name, alike)
    return predicate


def _words_that_pass(words: Sequence[str], name: str, model: Mapping[str, Any]) -> list[str]:
    """The words of a coded column that the grid's filter lets through."""
    column = pl.Series(name, [None if word == UNKNOWN else word for word in words], dtype=pl.String)
    passed = column.to_frame().select(grid_filter(name, model).alias("passed"))["passed"]
    if passed.len() == 1:
        passed = passed.new_from_index(0, len(words))
    return [word for word, good in zip(words, passed, strict=True) if good]


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
    shaped = [pl.col(name).dt.to_string() for name, kind in rows.schema.items() if kind == pl.Date]
    shaped += [
        pl.when(pl.col(name) != UNKNOWN).then(pl.col(name)).alias(name)
        for name, kind in rows.schema.items()
        if kind == pl.String and name != "loan_id"
    ]
    return rows.with_columns(shaped).to_dicts()
