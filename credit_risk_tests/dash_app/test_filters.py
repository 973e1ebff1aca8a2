"""The filter state: in the URL, in the cube and in the loans it is the same."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit_risk_assets.config.tables import RISK_CATEGORIES, SCORE_BANDS
from credit_risk_assets.tape.contract import LOAN_PURPOSES, ON_BOOK_STATUSES
from dash_app.data.filters import Filters


def some(values: tuple[str, ...]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(values), unique=True).map(tuple)


states = st.builds(
    lambda risk, purpose, score, region, as_of, since: Filters(
        as_of,
        {k: v for k, v in {"risk": risk, "purpose": purpose, "score": score, "region": region}.items() if v},
        since,
    ),
    some(RISK_CATEGORIES),
    some(LOAN_PURPOSES),
    some(SCORE_BANDS),
    st.lists(st.text(min_size=1, max_size=8).filter(str.strip), unique=True, max_size=3).map(tuple),
    st.sampled_from(["", "2024-06", "2026-06"]),
    st.sampled_from(["", "2021-Q1"]),
)


@given(states)
def test_a_shared_address_brings_the_same_view_back(filters: Filters) -> None:
    assert Filters.from_query("?" + filters.to_query()) == filters


def test_what_is_no_filter_value_is_left_out() -> None:
    filters = Filters.from_query("risk=High&risk=Dangerous&purpose=%27%3B+DROP+TABLE&as_of=<script>&x=1")
    assert filters == Filters(chosen={"risk": ("High",)})


def test_without_a_status_the_loans_on_book_are_meant() -> None:
    assert Filters().statuses == ON_BOOK_STATUSES
    assert Filters(chosen={"status": ("paid_off",)}).statuses == ("paid_off",)


def test_every_filter_takes_rows_away() -> None:
    frame = pl.DataFrame(
        {
            "risk_category": ["Low", "High"],
            "loan_purpose": ["home", "auto"],
            "loan_status": ["current", "default"],
            "score_band": ["700-739", "580-619"],
            "dpd_bucket": ["0", "90-119"],
            "region": [None, "North"],
            "origination_quarter": ["2023-Q1", "2024-Q2"],
        }
    )
    queries = [
        "risk=High",
        "purpose=auto",
        "status=default",
        "score=580-619",
        "dpd=90-119",
        "region=North",
        "from=2023-Q2",
    ]
    for query in queries:
        kept = frame.filter(Filters.from_query(query).predicate())
        assert kept["loan_purpose"].to_list() == ["auto"], query
    assert frame.filter(Filters.from_query("region=unknown").predicate())["loan_purpose"].to_list() == ["home"]
    assert frame.filter(Filters.from_query("to=2023-Q1").predicate())["loan_purpose"].to_list() == ["home"]


@pytest.mark.parametrize("query", ["", "region=x%27+OR+1%3D1", "score=700-739"])
def test_only_values_of_closed_lists_reach_sql(query: str) -> None:
    assert Filters.from_query(query).partition_predicate() is None


def test_partitions_are_named_in_sql() -> None:
    found = Filters.from_query("risk=High&risk=Very+High&purpose=home").partition_predicate()
    assert found == "risk_category IN ('High', 'Very High') AND loan_purpose IN ('home')"
