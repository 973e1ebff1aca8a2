"""Ratings, score points and the loss estimate."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit_risk_assets.config.settings import ModelSettings
from credit_risk_assets.config.tables import RISK_RATINGS
from credit_risk_assets.credit import ecl, rating
from credit_risk_assets.credit.expressions import to_polars

BOUNDS = ModelSettings().rating_pd_bounds


@pytest.mark.parametrize(
    ("pd_12m", "expected"),
    [
        (0.0, "Very Low"),
        (0.0199, "Very Low"),
        (0.02, "Low"),
        (0.05, "Medium"),
        (0.12, "High"),
        (0.3, "Very High"),
        (1.0, "Very High"),
        (float("nan"), None),
    ],
)
def test_rating_by_pd_bounds(pd_12m: float, expected: str | None) -> None:
    assert rating.risk_rating(pd_12m, BOUNDS)[0] == expected
    column = pl.DataFrame({"pd": [None if np.isnan(pd_12m) else pd_12m]}, schema={"pd": pl.Float64})
    assert column.select(to_polars(rating.rating_sql("pd", BOUNDS))).item() == expected


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_higher_pd_never_has_a_better_rating_nor_more_points(first: float, second: float) -> None:
    low, high = sorted((first, second))
    ratings = rating.risk_rating([low, high], BOUNDS)
    assert RISK_RATINGS.index(ratings[0]) <= RISK_RATINGS.index(ratings[1])
    points = rating.score_points([low, high])
    assert points[0] >= points[1]


def test_points_are_600_at_30_to_1_and_20_double_the_odds() -> None:
    assert rating.score_points(1 / 31)[0] == pytest.approx(600)
    assert rating.score_points(1 / 61)[0] == pytest.approx(620)
    assert np.isfinite(rating.score_points([0.0, 1.0])).all()


def test_the_pd_proxy_rises_with_the_risk_score_and_has_no_jump() -> None:
    scores = pl.DataFrame({"risk_score": np.arange(0, 100.5, 0.5)})
    pds = scores.select(to_polars(rating.pd_proxy_sql())).to_series().to_numpy()
    assert (np.diff(pds) > 0).all()
    assert np.diff(pds).max() < 0.02
    assert pds[-1] == 1.0


def _lgd(purpose: str, balance: float, amount: float, collateral: float | None) -> float:
    frame = pl.DataFrame(
        {
            "loan_purpose": [purpose],
            "outstanding_balance": [balance],
            "loan_amount": [amount],
            "collateral_value": [collateral],
        },
        schema_overrides={"collateral_value": pl.Float64},
    )
    frame = frame.with_columns(collateral_cover=to_polars(ecl.covered_share_sql()))
    return float(frame.select(to_polars(ecl.lgd_sql())).item())


def test_lgd_depends_on_collateral_after_the_haircut() -> None:
    assert _lgd("personal", 10_000, 12_000, None) == 0.45
    assert _lgd("home", 100_000, 120_000, 1_000_000) == pytest.approx(0.20)
    assert _lgd("auto", 10_000, 12_000, 1_000_000) == pytest.approx(0.25)
    # half covered: 5,000 of 10,000 after 40 % haircut on 8,333.33
    assert _lgd("auto", 10_000, 12_000, 5_000 / 0.6) == pytest.approx(0.35)


@given(st.floats(0, 1e7), st.floats(0.01, 1e7), st.one_of(st.none(), st.floats(0, 1e8)))
def test_no_loan_has_an_lgd_below_the_floor_or_above_unsecured(
    balance: float, amount: float, collateral: float | None
) -> None:
    assert ecl.LGD_FLOOR <= _lgd("home", balance, amount, collateral) <= ecl.LGD_UNSECURED
