"""Expected credit loss, against a loan walked month by month in plain Python."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from credit_risk_assets.config.settings import EclSettings, ScenarioSettings
from credit_risk_assets.credit import impairment

SETTINGS = EclSettings()
SEASONED = EclSettings(later_hazard=0.8)
PLAIN = EclSettings(
    base=ScenarioSettings(weight=1, pd_factor=1, lgd_factor=1),
    up=ScenarioSettings(weight=0, pd_factor=1, lgd_factor=1),
    down=ScenarioSettings(weight=0, pd_factor=1, lgd_factor=1),
)

loans = st.fixed_dictionaries(
    {
        "pd_12m": st.one_of(st.floats(1e-5, 0.999), st.sampled_from([0.02, 0.5])),
        "lgd": st.floats(0.1, 1.0),
        "ead": st.one_of(st.just(0.0), st.floats(1.0, 1e6)),
        "interest_rate": st.one_of(st.just(0.0), st.floats(0.01, 60.0)),
        "remaining_months": st.integers(0, 120),
    }
)


def walked(loan: dict[str, Any], settings: EclSettings) -> tuple[float, float, float]:
    """Losses over twelve months and over life, and the lifetime PD, of one loan month by month."""
    rate, term = loan["interest_rate"] / 1200, loan["remaining_months"]
    horizon = term + 3
    hazard = -math.log1p(-loan["pd_12m"]) / min(12, horizon)
    payment = 0.0
    if term:
        payment = loan["ead"] / sum((1 + rate) ** -paid for paid in range(1, term + 1))
    balances = [loan["ead"]]
    for _ in range(term):
        balances.append(max(0.0, balances[-1] * (1 + rate) - payment))
    twelve = life = 0.0
    survives = 1.0
    for scenario in settings.scenarios:
        alive = 1.0
        for month in range(1, horizon + 1):
            year = (month - 1) // 12
            left = alive * math.exp(-hazard * settings.later_hazard**year * scenario.pd_factor)
            # 90 days past due now: the instalments up to four months ago were paid.
            loss = (alive - left) * balances[max(month - 4, 0)] / (1 + rate) ** month
            loss *= min(1.0, loan["lgd"] * scenario.lgd_factor) * scenario.weight
            life += loss
            twelve += loss if month <= 12 else 0.0
            alive = left
    for month in range(horizon):
        survives *= math.exp(-hazard * settings.later_hazard ** (month // 12))
    return twelve, life, 1 - survives


def columns(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        name: np.array([row[name] for row in rows], dtype=int if name == "remaining_months" else float)
        for name in rows[0]
    }


@hypothesis_settings(deadline=None, max_examples=60)
@given(rows=st.lists(loans, min_size=1, max_size=12), settings=st.sampled_from([SETTINGS, SEASONED, PLAIN]))
def test_losses_equal_a_walk_through_the_months(rows: list[dict[str, Any]], settings: EclSettings) -> None:
    c = columns(rows)
    losses = impairment.discounted_losses(
        c["pd_12m"], c["lgd"], c["ead"], c["interest_rate"], c["remaining_months"], settings
    )
    horizon = impairment.horizon_months(c["remaining_months"])
    pds = impairment.lifetime_pd(c["pd_12m"], horizon, settings.later_hazard)
    for place, row in enumerate(rows):
        twelve, life, pd_lifetime = walked(row, settings)
        assert losses.twelve_months[place] == pytest.approx(twelve, rel=1e-8, abs=1e-9)
        assert losses.lifetime[place] == pytest.approx(life, rel=1e-8, abs=1e-9)
        assert pds[place] == pytest.approx(pd_lifetime, rel=1e-9, abs=1e-12)


@hypothesis_settings(deadline=None, max_examples=60)
@given(rows=st.lists(loans, min_size=1, max_size=12))
def test_losses_stay_within_the_exposure_and_life_is_longer_than_a_year(rows: list[dict[str, Any]]) -> None:
    c = columns(rows)
    arguments = (c["pd_12m"], c["lgd"], c["ead"], c["interest_rate"], c["remaining_months"])
    losses = impairment.discounted_losses(*arguments, SETTINGS)
    assert (losses.twelve_months >= 0).all()
    assert (losses.twelve_months <= losses.lifetime).all()
    assert (losses.lifetime <= c["ead"]).all()
    horizon = impairment.horizon_months(c["remaining_months"])
    assert (impairment.lifetime_pd(c["pd_12m"], horizon) >= c["pd_12m"] - 1e-12).all()


def test_a_bullet_year_without_interest_loses_pd_times_lgd_times_exposure() -> None:
    """A loan past its term owes all of it, so that the loss is the plain product."""
    one = np.array([0.03]), np.array([0.45]), np.array([1000.0]), np.array([0.0]), np.array([0])
    losses = impairment.discounted_losses(*one, PLAIN)
    assert losses.lifetime[0] == pytest.approx(0.03 * 0.45 * 1000)
    assert losses.twelve_months[0] == losses.lifetime[0]


def test_two_years_of_a_constant_hazard_leave_the_square_of_survival() -> None:
    pds = impairment.lifetime_pd(np.array([0.1]), np.array([24]))
    assert pds[0] == pytest.approx(1 - 0.9**2)
    assert impairment.lifetime_pd(np.array([0.1]), np.array([24]), 0.5)[0] == pytest.approx(1 - 0.9**1.5)
    assert impairment.lifetime_pd(np.array([1.0]), np.array([24]))[0] == 1.0


@pytest.mark.parametrize(
    ("in_default", "dpd", "pd_now", "pd_then", "reason"),
    [
        (True, 0, 1.0, 0.5, "in default"),
        (False, 30, 0.02, 0.02, "30 days past due"),
        (False, 29, 0.02, 0.02, None),
        (False, 0, 0.041, 0.02, "PD has risen"),
        (False, 0, 0.039, 0.02, None),
        (False, 0, 0.0041, 0.001, None),
        (False, 0, 0.0065, 0.001, "PD has risen"),
        (False, 0, 0.02, 0.04, None),
    ],
)
def test_a_loan_leaves_stage_one_for_a_reason(
    in_default: bool, dpd: int, pd_now: float, pd_then: float, reason: str | None
) -> None:
    found = impairment.significant_increases(
        np.array([in_default]), np.array([dpd]), np.array([pd_now]), np.array([pd_then]), SETTINGS
    )
    assert found[0] == reason


def test_rows_come_out_in_stages_whatever_the_batches() -> None:
    count = 500
    rng = np.random.default_rng(3)
    table = pa.table(
        {
            "loan_id": [f"L{n}" for n in range(count)],
            "as_of_date": [dt.date(2026, 10, 31)] * count,
            "in_default": pa.array([int(n % 10 == 0) for n in range(count)], pa.int32()),
            "current_dpd": pa.array([45 if n % 7 == 0 else 0 for n in range(count)], pa.int32()),
            "interest_rate": rng.uniform(0, 30, count),
            "remaining_months": pa.array(rng.integers(0, 90, count), pa.int32()),
            "lgd": rng.uniform(0.1, 0.5, count),
            "ead": rng.uniform(0, 1e5, count),
            "pd_proxy": rng.uniform(0.01, 0.5, count),
            "pd_12m": [1.0 if n % 10 == 0 else 0.05 for n in range(count)],
            "first_pd_proxy": pa.array([None if n % 3 == 0 else 0.02 for n in range(count)], pa.float64()),
        }
    )
    whole = impairment.expected_credit_loss(table, SETTINGS)
    made = pa.Table.from_batches(
        list(impairment.make_impairment(SETTINGS)(iter(table.to_batches(max_chunksize=37)))), schema=whole.schema
    )
    assert made.equals(whole)
    rows = whole.to_pylist()
    assert {row["stage"] for row in rows} == {1, 2, 3}
    defaulted = [row for row in rows if row["stage"] == 3]
    assert len(defaulted) == count // 10
    weighted = sum(s.weight * s.lgd_factor for s in SETTINGS.scenarios)
    for row in defaulted:
        assert row["pd_lifetime"] == 1.0
        assert row["ecl"] == pytest.approx(row["ead"] * row["lgd"] * weighted)
    # A loan that only one tape has named has the PD of today as its initial one: nothing can have risen.
    alone = [row for number, row in enumerate(rows) if number % 3 == 0 and row["stage"] != 3]
    assert all(row["pd_initial"] == pytest.approx(row["pd_12m"]) for row in alone)
    assert {row["significant_increase"] for row in alone} == {None, "30 days past due"}


def test_the_weights_of_the_scenarios_sum_to_one() -> None:
    with pytest.raises(ValueError, match=r"sum to 1\.3: expected 1"):
        EclSettings(base=ScenarioSettings(weight=0.8, pd_factor=1, lgd_factor=1))
