"""What a payment-history profile says, against a plain reading of it."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit_risk_assets.credit import delinquency
from credit_risk_assets.credit.expressions import to_polars
from credit_risk_assets.tape.contract import DEFAULT_CODES, PROFILE_CODES

profiles = st.one_of(st.none(), st.text(alphabet=PROFILE_CODES, max_size=84))


def read(sql: str, profile: str | None) -> object:
    return (
        pl.DataFrame({"payment_history_profile": [profile]}, schema={"payment_history_profile": pl.String})
        .select(to_polars(sql))
        .item()
    )


@given(profile=profiles, months=st.sampled_from([3, 6, 12, 24]))
def test_profile_readings_agree_with_a_plain_loop(profile: str | None, months: int) -> None:
    window = (profile or "")[:months]
    late = [code for code in window if code in delinquency.LATE_CODES]
    known = [code for code in window if code not in "BDE"]
    worst = [6 if code in "GHJKL" else int(code) for code in known]
    assert read(delinquency.late_count_sql(months), profile) == len(late)
    assert read(delinquency.max_code_sql(months), profile) == (max(worst) if worst else None)
    share = read(delinquency.on_time_share_sql(months, delinquency.late_count_sql(months)), profile)
    assert share == (pytest.approx(1 - len(late) / len(known)) if known else None)
    places = [place for place, code in enumerate(profile or "") if code in delinquency.LATE_CODES]
    assert read(delinquency.months_since_sql(), profile) == (places[0] if places else None)
    outcome = any(code in DEFAULT_CODES for code in window)
    assert read(delinquency.defaulted_within_sql(months), profile) is outcome


@pytest.mark.parametrize(
    ("profile", "defaulted"),
    [
        ("0" * 84, False),
        ("2" * 12, False),
        ("0" * 11 + "3", True),
        ("0" * 12 + "6", False),
        ("L", True),
        ("G", True),
        ("BBDE0", False),
        ("0003000000000000", True),
        (None, False),
    ],
)
def test_a_default_counts_only_within_twelve_months(profile: str | None, defaulted: bool) -> None:
    assert read(delinquency.defaulted_within_sql(12), profile) is defaulted
