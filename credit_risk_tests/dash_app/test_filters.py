"""The filter state: in the URL, in the cube and in the loans it is the same."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit_risk_assets.config.tables import RISK_CATEGORIES, RISK_RATINGS, SCORE_BANDS
from credit_risk_assets.tape.contract import LOAN_PURPOSES, ON_BOOK_STATUSES
from dash_app.data.codes import Codes
from dash_app.data.filters import Filters


def some(values: tuple[str, ...]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(values), unique=True).map(tuple)


states = st.builds(
    lambda risk, rating, purpose, score, region, as_of, since, first: Filters(
        as_of,
        {
            key: values
            for key, values in (
                ("risk", risk),
                ("rating", rating),
                ("purpose", purpose),
                ("score", score),
                ("region", region),
            )
            if values
        },
        since,
        as_of_from=first,
    ),
    some(RISK_CATEGORIES),
    some(RISK_RATINGS),
    some(LOAN_PURPOSES),
    some(SCORE_BANDS),
    st.lists(st.text(min_size=1, max_size=8).filter(str.strip), unique=True, max_size=3).map(tuple),
    st.sampled_from(["", "2024-06", "2026-06"]),
    st.sampled_from(["", "2021-Q1"]),
    st.sampled_from(["", "2024-06"]),
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


FRAME = pl.DataFrame(
    {
        "risk_category": ["Low", "High"],
        "risk_rating": ["Very Low", None],
        "loan_purpose": ["home", "auto"],
        "loan_status": ["current", "default"],
        "score_band": ["700-739", "580-619"],
        "dpd_bucket": ["0", "90-119"],
        "region": [None, "North"],
        "origination_quarter": ["2023-Q1", "2024-Q2"],
    }
)


def kept(query: str) -> list[str]:
    """The purposes of the rows that a view keeps."""
    codes = Codes.of({name: FRAME[name].to_list() for name in FRAME.columns})
    coded = FRAME.select(codes.encoded(name) for name in FRAME.columns)
    rows = coded.filter(codes.predicate(Filters.from_query(query)))
    return rows.select(codes.decoded("loan_purpose"))["loan_purpose"].to_list()


@pytest.mark.parametrize(
    "query",
    ["risk=High", "purpose=auto", "status=default", "score=580-619", "dpd=90-119", "region=North", "from=2023-Q2"],
)
def test_every_filter_takes_rows_away(query: str) -> None:
    assert kept(query) == ["auto"]


@pytest.mark.parametrize("query", ["region=unknown", "to=2023-Q1", "rating=Very+Low", "from=2023-Q1&to=2023-Q4"])
def test_gaps_and_bounds_are_words_like_others(query: str) -> None:
    assert kept(query) == ["home"]


def test_a_word_that_does_not_occur_matches_nothing() -> None:
    assert kept("region=Atlantis") == kept("from=2030-Q1") == kept("rating=High") == []


def test_codes_and_words_are_one_another() -> None:
    codes = Codes.of({name: FRAME[name].to_list() for name in FRAME.columns})
    coded = FRAME.select(codes.encoded(name) for name in FRAME.columns)
    assert coded.select(codes.decoded(*FRAME.columns)).equals(FRAME.select(pl.all().fill_null("unknown")))


def test_partitions_are_skipped_by_risk_and_purpose_alone() -> None:
    assert Filters.from_query("region=North&score=700-739").partitions() is None
    partitions = Filters.from_query("risk=High&purpose=auto&region=West").partitions()
    assert FRAME.filter(partitions)["loan_purpose"].to_list() == ["auto"]
