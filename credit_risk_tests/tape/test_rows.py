"""Each rule of the tape contract, proven on a row that breaks it; nothing is lost and nobody is named."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from credit_risk_assets.tape.pseudonym import marked, pseudonym
from credit_risk_assets.tape.rows import Block, check_rows
from credit_risk_tests.conftest import GOOD_ROW

KEY = b"secret"
TODAY = date(2026, 11, 23)


def check(*rows: dict[str, Any]) -> Block:
    full = [{**GOOD_ROW, **row} for row in rows]
    names = list(dict.fromkeys(name for row in full for name in row))
    frame = pl.DataFrame(
        {name: [row.get(name) for row in full] for name in names}, schema=dict.fromkeys(names, pl.String)
    )
    return check_rows(frame.with_row_index("_row_number", 1).cast({"_row_number": pl.Int64}), KEY, TODAY)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ({"loan_id": None}, "loan_id is missing: expected a value"),
        ({"customer_id": None}, "customer_id is missing: expected a value"),
        ({"as_of_date": "2026-02-30"}, "as_of_date is '2026-02-30': expected a date (yyyy-mm-dd)"),
        ({"as_of_date": "31.10.2026"}, "as_of_date is '31.10.2026': expected a date (yyyy-mm-dd)"),
        ({"as_of_date": "2026-12-31"}, "as_of_date is '2026-12-31': expected today (2026-11-23, UTC) or earlier"),
        ({"origination_date": "2026-11-01"}, "expected origination on or before as_of_date"),
        ({"origination_date": "0026-11-01"}, "origination_date is '0026-11-01': expected 1900-01-01 or later"),
        ({"maturity_date": "2024-01-01"}, "expected maturity after origination"),
        ({"loan_purpose": "yacht"}, "loan_purpose is 'yacht': expected one of home, auto"),
        ({"loan_status": "lost"}, "loan_status is 'lost': expected one of current"),
        ({"loan_amount": "-5"}, "loan_amount is '-5': expected more than 0 currency"),
        ({"loan_amount": "0"}, "loan_amount is '0': expected more than 0 currency"),
        ({"loan_amount": "1,000"}, "loan_amount is '1,000': expected a number"),
        ({"loan_amount": "nan"}, "loan_amount is 'nan': expected a number"),
        ({"interest_rate": "101"}, "interest_rate is '101': expected 0 to 100 percent"),
        ({"term_months": "481"}, "term_months is '481': expected 1 to 480 months"),
        ({"term_months": "36.5"}, "term_months is '36.5': expected a whole number"),
        ({"outstanding_balance": "-0.01"}, "outstanding_balance is '-0.01': expected 0 currency or more"),
        ({"current_dpd": "-1"}, "current_dpd is '-1': expected 0 days or more"),
        ({"current_dpd": "99999999999"}, "current_dpd is '99999999999': expected a whole number"),
        ({"loan_status": "paid_off", "current_dpd": "3"}, "expected 0 days past due on a paid_off loan"),
        ({"payment_history_profile": "00X0"}, "payment_history_profile is '00X0': expected codes out of"),
        ({"payment_history_profile": "0" * 85}, "expected at most 84 months"),
        ({"credit_score": "299"}, "credit_score is '299': expected 300 to 900 points"),
        ({"credit_utilization": "-0.1"}, "credit_utilization is '-0.1': expected 0 ratio or more"),
        ({"age": "17"}, "age is '17': expected 18 to 100 years"),
        ({"annual_income": "0"}, "annual_income is '0': expected more than 0 currency"),
        ({"family_size": "0"}, "family_size is '0': expected 1 people or more"),
        ({"default_flag": "2"}, "default_flag is '2': expected 0 to 1"),
    ],
)
def test_a_row_that_breaks_a_rule_is_rejected_with_its_reason(broken: dict[str, Any], reason: str) -> None:
    block = check({}, broken)
    assert block.accepted.height == 1
    assert block.rejected.height == 1
    assert any(reason in found for found in block.rejected["reasons"].to_list()[0]), block.rejected["reasons"].to_list()


def test_a_row_that_breaks_several_rules_shows_every_reason() -> None:
    block = check({"loan_amount": "-5", "interest_rate": "x", "age": "5"})
    assert len(block.rejected["reasons"].to_list()[0]) == 3


def test_a_rejected_row_keeps_its_values_but_not_the_customer() -> None:
    block = check({"loan_amount": "-5", "note": "see file"})
    raw = json.loads(block.rejected["raw"].to_list()[0])
    assert raw["loan_amount"] == "-5"
    assert raw["note"] == "see file"
    assert raw["customer_id"] == pseudonym("C1", KEY)


def test_a_marked_pseudonym_passes_as_it_is_and_a_damaged_one_is_rejected() -> None:
    held = pseudonym("C1", b"another key")
    damaged = [marked(held[:-1]), marked(held.upper()), marked(held) + "0", marked(""), marked(held).upper()]
    block = check({"customer_id": marked(held)}, {"customer_id": held}, *[{"customer_id": text} for text in damaged])
    accepted = dict(block.accepted.select("_row_number", "customer_id").iter_rows())
    # Without the mark it is an id like any other.
    assert accepted == {1: held, 2: pseudonym(held, KEY)}
    assert block.rejected["_row_number"].to_list() == [3, 4, 5, 6, 7]
    reason = "customer_id: expected 64 hexadecimal digits after hmac-sha256:"
    assert block.rejected["reasons"].to_list() == [[reason]] * 5


def test_what_may_be_missing_is_accepted_missing() -> None:
    block = check({"credit_score": None, "annual_income": None, "payment_history_profile": None})
    assert block.accepted.height == 1
    assert block.accepted["credit_score"].to_list() == [None]


@pytest.mark.parametrize(
    ("written", "name", "read"),
    [
        ("Debt-Consolidation", "loan_purpose", "debt_consolidation"),
        ("PAID OFF", "loan_status", "paid_off"),
        ("36.0", "term_months", 36),
        ("2026-10-31T00:00:00", "as_of_date", date(2026, 10, 31)),
        ("1e4", "loan_amount", 10000.0),
    ],
)
def test_harmless_ways_of_writing_are_read(written: str, name: str, read: Any) -> None:
    assert check({name: written}).accepted[name].to_list() == [read]


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {
                "loan_id": st.one_of(st.none(), st.text(min_size=1, max_size=5)),
                "loan_amount": st.one_of(st.none(), st.floats().map(repr), st.text(max_size=6)),
                "as_of_date": st.one_of(st.dates().map(str), st.text(max_size=10)),
                "current_dpd": st.one_of(st.integers().map(str), st.none(), st.text(max_size=4)),
                "payment_history_profile": st.one_of(st.none(), st.text("01236LBX", max_size=90)),
            }
        ),
        min_size=1,
        max_size=12,
    )
)
def test_every_row_is_either_accepted_or_rejected_with_a_reason(rows: list[dict[str, Any]]) -> None:
    block = check(*rows)
    numbers = block.accepted["_row_number"].to_list() + block.rejected["_row_number"].to_list()
    assert sorted(numbers) == list(range(1, len(rows) + 1))
    assert all(reasons for reasons in block.rejected["reasons"].to_list())
    assert block.accepted["loan_amount"].is_finite().all()
    assert (block.accepted["loan_amount"] > 0).all()
    assert (block.accepted["current_dpd"] >= 0).all()


@given(st.text(min_size=1, max_size=30), st.binary(min_size=1, max_size=40))
def test_a_pseudonym_is_stable_keyed_and_shows_nothing_of_the_id(customer: str, key: bytes) -> None:
    found = pseudonym(customer, key)
    assert found == pseudonym(customer, key)
    assert found != pseudonym(customer, key + b"x")
    assert len(found) == 64
    assert set(found) <= set("0123456789abcdef")
