"""Roll rates and rating migration, against a plain reading of the profiles and tapes."""

from __future__ import annotations

from collections import Counter
from typing import Any

import polars as pl
from hypothesis import HealthCheck, given, settings

from credit_risk_assets.config.tables import ROLL_BUCKETS
from credit_risk_assets.credit import migration, roll_rates
from credit_risk_tests.credit.histories import TAPES, frame, history, month, portfolios

BUCKET = {
    **{str(code): ROLL_BUCKETS[code] for code in range(7)},
    **dict.fromkeys("GHJKL", "collections or charge-off"),
    "E": "closed",
    "B": "not observed",
    "D": "not observed",
}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(loans=portfolios())
def test_the_rates_equal_a_walk_through_every_profile(sail: Any, loans: list[dict[str, Any]]) -> None:
    expected: Counter[tuple[str, str, str, str]] = Counter()
    for loan in loans:
        codes = history(loan)
        for number, code in codes.items():
            if month(TAPES[-1]) - 36 < number <= month(TAPES[-1]):
                label = f"{number // 12}-{number % 12 + 1:02d}"
                before = BUCKET[codes.get(number - 1, "B")]
                expected[label, loan["loan_purpose"], before, BUCKET[code]] += 1
    taped = [loan for loan in loans if loan["as_of_date"] in TAPES]
    pairs = roll_rates.bucket_pairs(frame(sail, loans), frame(sail, taped), TAPES).toArrow()
    rates = pl.DataFrame(pl.from_arrow(roll_rates.roll_rates(pairs, TAPES)))
    keys = ("month", "loan_purpose", "from_bucket", "to_bucket")
    found = {tuple(row[key] for key in keys): row["loans"] for row in rates.iter_rows(named=True) if row["loans"]}
    assert found == dict(expected)
    for day in TAPES:
        owed = sum(round(loan["outstanding_balance"] * 100) for loan in taped if loan["as_of_date"] == day)
        assert round(rates.filter(pl.col("month") == f"{day:%Y-%m}")["balance"].sum() * 100) == owed
    others = rates.filter(~pl.col("month").is_in([f"{day:%Y-%m}" for day in TAPES]))
    assert others["balance"].null_count() == others.height


def test_a_portfolio_that_no_month_of_the_window_tells_of_has_no_rates(sail: Any) -> None:
    pairs = roll_rates.bucket_pairs(frame(sail, []), frame(sail, []), TAPES).toArrow()
    rates = roll_rates.roll_rates(pairs, TAPES)
    assert rates.num_rows == 0
    assert [str(field.type) for field in rates.schema][:2] == ["large_string", "large_string"]


def test_of_two_tapes_in_a_month_the_later_gives_the_balance() -> None:
    early = TAPES[1].replace(day=15)
    assert list(roll_rates.months_with_tape([early, *TAPES]).values()) == list(TAPES)


def test_the_window_of_tapes_is_that_of_the_roll_rates() -> None:
    old = TAPES[0].replace(year=2022)
    assert migration.tape_pairs([TAPES[1], old, TAPES[0], TAPES[2]]) == [
        (old, TAPES[0]),
        (TAPES[0], TAPES[1]),
        (TAPES[1], TAPES[2]),
    ]
    older = old.replace(year=2021)
    assert (older, old) not in migration.tape_pairs([older, old, *TAPES])
    assert migration.tape_pairs([]) == []


def state(loan: dict[str, Any]) -> str:
    if loan["loan_status"] in ("charged_off", "paid_off"):
        return "Charged off" if loan["loan_status"] == "charged_off" else "Paid off"
    codes = loan["payment_history_profile"] or ""
    defaulted = loan["loan_status"] == "default" or loan["current_dpd"] >= 90 or codes[:1] in set("3456GHJKL")
    return "Default" if defaulted else str(loan["risk_category"])


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(earlier=portfolios(), later=portfolios())
def test_migration_equals_a_look_at_both_tapes(
    sail: Any, earlier: list[dict[str, Any]], later: list[dict[str, Any]]
) -> None:
    start, end = TAPES[0], TAPES[1]
    tapes = [
        [{**loan, "as_of_date": day, "as_of_month": f"{day:%Y-%m}"} for loan in loans]
        for day, loans in ((start, earlier), (end, later[1:]))
    ]
    before, after = ({loan["loan_id"]: loan for loan in tape} for tape in tapes)
    closed = {"Charged off", "Paid off"}
    expected: Counter[tuple[str, str, str]] = Counter()
    balances: Counter[tuple[str, str, str]] = Counter()
    for name in {**before, **after}:
        then, now = before.get(name), after.get(name)
        sides = (state(then) if then else "New", state(now) if now else "Lost")
        if sides[0] in closed and sides[1] in {"Lost", *closed}:
            continue
        key = ((now or then or {})["loan_purpose"], *sides)
        expected[key] += 1
        balances[key] += round(now["outstanding_balance"] * 100) if now and sides[1] not in closed else 0
    moves = migration.rating_migration(frame(sail, [*tapes[0], *tapes[1]]), start, end).toArrow()
    rows = pl.DataFrame(pl.from_arrow(moves)).rows(named=True)
    assert {(r["loan_purpose"], r["from_state"], r["to_state"]): r["loans"] for r in rows} == dict(expected)
    for row in rows:
        key = (row["loan_purpose"], row["from_state"], row["to_state"])
        assert round(row["to_balance"] * 100) == balances[key]
        assert (row["from_date"], row["to_date"]) == (start, end)
