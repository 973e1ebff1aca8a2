"""Numbers as people read them."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dash_app.components import text


def plain(shown: str) -> str:
    return shown.replace(text.SPACE, " ")


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (612_400_000, "$612.4 M"),
        (1_250_000_000, "$1.2 B"),
        (999_999_999, "$1.0 B"),
        (12_345, "$12.3 K"),
        (950, "$950"),
        (0, "$0"),
        (-4_200_000, "−$4.2 M"),
        (None, "–"),
    ],
)
def test_an_amount_has_its_unit_and_never_a_thousand_of_it(amount: float | None, shown: str) -> None:
    assert plain(text.money(amount)) == shown


def test_a_currency_without_a_sign_of_its_own_is_named() -> None:
    assert plain(text.money(5_000_000, "CHF")) == "CHF 5.0 M"
    assert plain(text.money(5_000_000, "EUR")) == "€5.0 M"


def test_counts_shares_and_days() -> None:
    assert text.count(50_000) == "50,000"
    assert plain(text.percent(0.109)) == "10.9 %"
    assert plain(text.days(4.26)) == "4.3 days"
    assert text.percent(None) == "–"


@pytest.mark.parametrize(
    ("now", "before", "unit", "shown"),
    [
        (0.109, 0.101, "share", "0.8 pp"),
        (110.0, 100.0, "money", "10.0 %"),
        (3.0, 4.5, "days", "1.5 days"),
        (7.0, 0.0, "count", "new"),
    ],
)
def test_a_change_is_said_in_the_unit_that_fits(now: float, before: float, unit: str, shown: str) -> None:
    assert plain(text.change(now, before, unit)) == shown


def test_names_and_dates_are_words() -> None:
    assert text.label("debt_consolidation") == "Debt consolidation"
    assert text.label("Very High") == "Very High"
    assert text.day(date(2026, 6, 30)) == "30 Jun 2026"


@pytest.mark.parametrize(
    ("seconds", "shown"), [(5, "just now"), (300, "5 min ago"), (7200, "2 h ago"), (3 * 86400, "3 days ago")]
)
def test_an_age_is_rounded_down(seconds: int, shown: str) -> None:
    now = datetime(2026, 7, 1, tzinfo=UTC)
    assert text.age(now - timedelta(seconds=seconds), now) == shown


@given(st.floats(min_value=0, max_value=9e14))
def test_an_amount_is_never_off_by_more_than_its_last_digit(amount: float) -> None:
    digits, unit = re.fullmatch(r"\$([\d,.]+)\s?([TBMK]?)", text.money(amount)).groups()  # type: ignore[union-attr]
    factor = {"": 1, "K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}[unit]
    step = factor / 10 if unit else 1
    assert abs(float(digits.replace(",", "")) * factor - amount) <= step * 0.5001 + amount * 1e-9
