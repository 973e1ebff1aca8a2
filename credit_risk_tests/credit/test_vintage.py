"""Vintage curves, against a walk through each loan's life month by month."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings

from credit_risk_assets.credit import vintage
from credit_risk_tests.credit.histories import TAPES, frame, history, month, portfolios

SEEN = {"ever_30": "123456GHJKL", "ever_60": "23456GHJKL", "ever_90": "3456GHJKL"}
FIRST, NEWEST = TAPES[0], TAPES[-1]


def curves_of(session: Any, loans: list[dict[str, Any]]) -> pl.DataFrame:
    events = vintage.first_events(frame(session, loans), NEWEST).toArrow()
    return pl.DataFrame(pl.from_arrow(vintage.vintage_curves(events, FIRST, NEWEST)))


def walked(loans: list[dict[str, Any]]) -> dict[tuple[str, str, int], Counter[str]]:
    """The same counts, from every loan at every age."""
    found: dict[tuple[str, str, int], Counter[str]] = defaultdict(Counter)
    for loan in loans:
        began, codes = month(loan["origination_date"]), history(loan)
        until = month(loan["as_of_date"])
        if loan["loan_status"] in ("paid_off", "charged_off"):
            until = max(until, month(NEWEST))
        happened = dict.fromkeys(SEEN, False)
        for age in range(min(until - began, vintage.LAST_AGE) + 1):
            count = found[loan["origination_quarter"], loan["loan_purpose"], age]
            count["loans_observed"] += 1
            count["cents"] += round(loan["loan_amount"] * 100)
            for name, late in SEEN.items():
                happened[name] |= codes.get(began + age, "0") in late
                count[name] += happened[name]
            count["late cents"] += happened["ever_90"] * round(loan["loan_amount"] * 100)
    return found


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(loans=portfolios())
def test_the_curves_equal_a_walk_through_every_loan(sail: Any, loans: list[dict[str, Any]]) -> None:
    expected = walked(loans)
    curves = curves_of(sail, loans)
    assert curves.height == len(expected)
    blind = Counter(
        (loan["origination_quarter"], loan["loan_purpose"])
        for loan in loans
        if month(loan["origination_date"]) + 1 < min(history(loan))
    )
    sizes = Counter((loan["origination_quarter"], loan["loan_purpose"]) for loan in loans)
    for row in curves.iter_rows(named=True):
        count = expected[row["origination_quarter"], row["loan_purpose"], row["months_on_book"]]
        for name in ("loans_observed", *SEEN):
            assert row[name] == count[name], (name, row)
        assert round(row["amount_observed"] * 100) == count["cents"]
        assert round(row["ever_90_amount"] * 100) == count["late cents"]
        assert row["loans"] == sizes[row["origination_quarter"], row["loan_purpose"]]
        assert row["loans_unseen"] == blind[row["origination_quarter"], row["loan_purpose"]]


def loan(number: int, **changes: Any) -> dict[str, Any]:
    made = {
        "loan_id": f"L{number}",
        "as_of_date": NEWEST,
        "as_of_month": "2026-10",
        "origination_date": TAPES[1].replace(month=1, day=15),
        "origination_quarter": "2025-Q1",
        "months_on_book": 21,
        "loan_purpose": "auto",
        "loan_status": "current",
        "loan_amount": 1000.0,
        "outstanding_balance": 500.0,
        "current_dpd": 0,
        "payment_history_profile": "0" * 21,
        "risk_category": "Low",
    }
    return {**made, **changes}


def test_a_loan_that_closed_stays_in_its_cohort_and_one_that_vanished_leaves_it(sail: Any) -> None:
    closed = {"as_of_date": TAPES[1], "months_on_book": 9}
    loans = [
        loan(0),
        loan(1, **closed, loan_status="charged_off", payment_history_profile="L54321000"),
        loan(2, **closed, payment_history_profile="0" * 9),
    ]
    curves = {row["months_on_book"]: row for row in curves_of(sail, loans).iter_rows(named=True)}
    assert [curves[age]["loans_observed"] for age in (0, 9, 10, 21)] == [3, 3, 2, 2]
    assert [curves[age]["ever_30"] for age in (3, 4, 21)] == [0, 1, 1]
    assert [curves[age]["ever_90"] for age in (5, 6, 21)] == [0, 1, 1]
    assert curves[21]["loans"] == 3
    assert max(curves) == 21


@pytest.mark.parametrize(
    ("quarter", "mature_until", "complete"), [("2025-Q1", 19, True), ("2023-Q4", 34, True), ("2023-Q3", 37, False)]
)
def test_a_point_is_mature_when_the_youngest_loan_of_the_quarter_has_reached_it(
    sail: Any, quarter: str, mature_until: int, complete: bool
) -> None:
    year, place = int(quarter[:4]), int(quarter[-1])
    began = TAPES[0].replace(year=year, month=place * 3 - 2, day=1)
    age = month(NEWEST) - month(began)
    made = loan(0, origination_date=began, origination_quarter=quarter, months_on_book=age)
    curves = curves_of(sail, [made])
    assert curves.filter(pl.col("mature"))["months_on_book"].max() == mature_until
    assert set(curves["complete"]) == {complete}
