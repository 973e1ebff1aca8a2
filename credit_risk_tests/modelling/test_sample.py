"""The development sample knows at each observation date only what was known then."""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import Any

import polars as pl

from credit_risk_assets.credit.features import add_features
from credit_risk_assets.modelling.sample import development_sample, drawn_sql, observation_pairs, sample_counts
from credit_risk_tests.credit.test_features import LOAN, SCHEMA

FIRST, SECOND, THIRD = dt.date(2022, 12, 31), dt.date(2023, 12, 31), dt.date(2024, 12, 31)


def history(*rows: dict[str, Any]) -> pl.DataFrame:
    base = LOAN | {"origination_date": dt.date(2021, 1, 1), "payment_history_profile": "0" * 24}
    tape = pl.DataFrame([base | row for row in rows], schema=SCHEMA)
    return add_features(tape).with_columns(pl.lit("sha").alias("_source_sha256"), pl.lit("full").alias("tape_kind"))


def sample(sail: Any, frame: pl.DataFrame, dates: list[dt.date]) -> pl.DataFrame:
    found = development_sample(sail.createDataFrame(frame.to_arrow()), dates).toArrow()
    return pl.DataFrame(pl.from_arrow(found)).sort("observation_date", "loan_id")


def test_pairs_are_twelve_months_apart_by_calendar_month() -> None:
    dates = [THIRD, FIRST, SECOND, dt.date(2024, 2, 29), dt.date(2025, 2, 28)]
    assert observation_pairs(dates) == [
        (FIRST, SECOND),
        (SECOND, THIRD),
        (dt.date(2024, 2, 29), dt.date(2025, 2, 28)),
    ]
    assert observation_pairs([FIRST]) == []


def test_outcomes_come_from_the_profile_twelve_months_later(sail: Any) -> None:
    cases: dict[str, tuple[dict[str, Any], dict[str, Any] | None]] = {
        "good": ({}, {}),
        "cured": ({}, {"payment_history_profile": "000000333222100"}),
        "charged off": ({}, {"loan_status": "charged_off", "payment_history_profile": "LLL6543210"}),
        "old default": ({}, {"payment_history_profile": "0" * 12 + "3"}),
        "paid off": ({}, {"loan_status": "paid_off", "payment_history_profile": "EEEE00000000"}),
        "already 90": (
            {"current_dpd": 91, "loan_status": "delinquent"},
            {"payment_history_profile": "3" * 12},
        ),
        "declared": ({"loan_status": "default"}, {"payment_history_profile": "6" * 12}),
        "coded now": ({"payment_history_profile": "G00"}, {"payment_history_profile": "G" * 12}),
        "closed": ({"loan_status": "paid_off"}, {"loan_status": "paid_off"}),
        "vanished": ({}, None),
    }
    rows = []
    for name, (then, later) in cases.items():
        rows.append({"loan_id": name, "as_of_date": FIRST} | then)
        if later is not None:
            rows.append({"loan_id": name, "as_of_date": SECOND, "credit_score": 333.0} | later)
    frame = history(*rows)
    found = sample(sail, frame, [FIRST, SECOND])
    outcomes = dict(zip(found["loan_id"], found["default_12m"], strict=True))
    assert outcomes == {"good": 0, "cured": 1, "charged off": 1, "old default": 0, "paid off": 0}
    assert set(found["observation_date"]) == {FIRST}
    # features as of then, nothing of the later tape
    assert set(found["credit_score"]) == {640.0}
    assert not [name for name in found.columns if name.startswith("_")]

    counts = sample_counts(sail.createDataFrame(frame.to_arrow()), [FIRST, SECOND]).toArrow().to_pylist()
    assert counts == [{"observation_date": FIRST, "performing": 6, "found": 5, "defaults": 2, "lost": 1}]


def test_each_pair_of_tapes_gives_its_own_observation(sail: Any) -> None:
    frame = history(
        {"as_of_date": FIRST},
        {"as_of_date": SECOND},
        {"as_of_date": THIRD, "payment_history_profile": "6543210"},
    )
    found = sample(sail, frame, [FIRST, SECOND, THIRD])
    assert list(zip(found["observation_date"], found["default_12m"], strict=True)) == [
        (FIRST, 0),
        (SECOND, 1),
    ]


def test_without_a_later_tape_the_sample_is_empty_but_has_its_columns(sail: Any) -> None:
    found = sample(sail, history({"as_of_date": FIRST}), [FIRST])
    assert found.height == 0
    assert {"observation_date", "default_12m", "loan_id", "risk_score"} <= set(found.columns)


def test_a_large_sample_is_drawn_by_whole_customers_and_always_the_same(sail: Any) -> None:
    customers = [hashlib.sha256(str(number // 3).encode()).hexdigest() for number in range(12_000)]
    frame = sail.createDataFrame(pl.DataFrame({"customer_id": customers}).to_arrow())
    assert frame.where(drawn_sql(12_000, 12_000)).count() == 12_000
    drawn = frame.where(drawn_sql(12_000, 3_000)).toArrow()["customer_id"].to_pylist()
    assert abs(len(drawn) - 3_000) < 300
    assert {drawn.count(customer) for customer in set(drawn)} == {3}
    fewer = frame.where(drawn_sql(12_000, 1_000)).toArrow()["customer_id"].to_pylist()
    assert set(fewer) < set(drawn)
