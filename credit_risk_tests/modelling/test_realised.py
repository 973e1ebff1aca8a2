"""Predicted against realised rates: what adds up, what is empty until an outcome is known, and what chance explains."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from credit_risk_assets.checks.monitoring import chance_of_rates
from credit_risk_assets.config.settings import MonitoringSettings
from credit_risk_assets.modelling.evaluate import calibration_fit
from credit_risk_assets.modelling.realised import (
    ALL,
    DIMENSIONS,
    Followed,
    ece_critical_value,
    quality,
    realised_rows,
    with_ratings,
)

BOUNDS = (0.02, 0.05, 0.12, 0.30)
TRAINED, TESTED, NOW = dt.date(2024, 10, 31), dt.date(2025, 10, 31), dt.date(2026, 10, 31)
CHAMPION = Followed("3", "champion", BOUNDS, (TRAINED,))


def scored(rows: int = 2_000, seed: int = 1) -> pl.DataFrame:
    """Loans at three dates whose PDs are right; the outcome of the newest date is not known yet."""
    rng = np.random.default_rng(seed)
    parts = []
    for date in (TRAINED, TESTED, NOW):
        pds = 1 / (1 + np.exp(-rng.normal(-2.8, 1.2, rows)))
        outcomes = (rng.random(rows) < pds).astype(int)
        parts.append(
            pl.DataFrame(
                {
                    "observation_date": [date] * rows,
                    "default_12m": pl.Series([None] * rows if date == NOW else outcomes.tolist(), dtype=pl.Int32),
                    "loan_purpose": rng.choice(["auto", "home"], rows).tolist(),
                    "score_band": [None if n % 10 == 0 else "700-739" for n in range(rows)],
                    "risk_category": rng.choice(["Low", "High"], rows).tolist(),
                    "pd_champion": pds,
                }
            )
        )
    return pl.concat(parts)


def test_the_segments_of_each_division_add_up_at_every_date() -> None:
    rows = pl.DataFrame(realised_rows(with_ratings(scored(), CHAMPION), CHAMPION), infer_schema_length=None)
    assert set(rows["dimension"]) == {ALL, *DIMENSIONS}
    sums = rows.group_by("dimension", "observation_date").agg(
        pl.col("loans", "defaults", "share").sum(), (pl.col("loans") * pl.col("mean_pd")).sum().alias("expected")
    )
    for date in (TRAINED, TESTED, NOW):
        mine = sums.filter(pl.col("observation_date") == date)
        assert mine["loans"].to_list() == [2_000] * len(mine)
        assert mine["defaults"].n_unique() == 1
        assert mine["share"].to_list() == pytest.approx([1.0] * len(mine))
        assert mine["expected"].to_list() == pytest.approx([mine["expected"][0]] * len(mine))


def test_outcomes_are_empty_until_they_are_known_and_training_is_named() -> None:
    rows = realised_rows(with_ratings(scored(), CHAMPION), CHAMPION)
    whole = {row["observation_date"]: row for row in rows if row["dimension"] == ALL}
    assert [(whole[date]["matured"], whole[date]["in_training"]) for date in (TRAINED, TESTED, NOW)] == [
        (True, True),
        (True, False),
        (False, False),
    ]
    assert not {"defaults", "observed_rate", "auc", "ece"} & set(whole[NOW])
    tested = whole[TESTED]
    assert tested["observed_rate"] == tested["defaults"] / 2_000
    assert tested["lower"] < tested["observed_rate"] < tested["upper"]
    assert tested["pd_to_observed"] == pytest.approx(tested["mean_pd"] / tested["observed_rate"])
    gaps = [row for row in rows if row["segment"] == "unknown" and row["observation_date"] == NOW]
    assert [(row["dimension"], row["loans"], row["share"], row["reference_share"]) for row in gaps] == [
        ("score_band", 200, 0.1, 0.1)
    ]


def test_the_order_of_arrival_changes_nothing() -> None:
    loans = scored()
    shuffled = loans.sample(fraction=1, shuffle=True, seed=5)
    first, second = (
        pl.DataFrame(realised_rows(with_ratings(frame, CHAMPION), CHAMPION), infer_schema_length=None)
        for frame in (loans, shuffled)
    )
    assert_frame_equal(first, second, check_exact=False, rel_tol=1e-12, abs_tol=0)


def test_right_probabilities_pass_the_limits_of_chance_in_about_nineteen_cases_of_twenty() -> None:
    above = outside = 0
    for seed in range(200):
        rng = np.random.default_rng([7, seed])
        pds = 1 / (1 + np.exp(-rng.normal(-2.8, 1.2, 1_500)))
        found = quality((rng.random(1_500) < pds).astype(np.int64), pds)
        above += found["ece"] > found["ece_critical"]
        outside += not found["slope_lower"] <= 1 <= found["slope_upper"]
    assert 2 <= above <= 20
    assert 2 <= outside <= 20


def test_flattened_probabilities_fail_the_limits() -> None:
    rng = np.random.default_rng(3)
    pds = 1 / (1 + np.exp(-rng.normal(-2.5, 1.2, 20_000)))
    outcomes = (rng.random(20_000) < pds).astype(np.int64)
    odds = np.log(pds / (1 - pds))
    overstated = 1 / (1 + np.exp(-(odds + 0.5)))
    assert quality(outcomes, overstated)["ece"] > ece_critical_value(overstated)
    steep = quality(outcomes, 1 / (1 + np.exp(-(2 * odds + 2.5))))
    assert steep["calibration_slope"] == pytest.approx(0.5, abs=0.03)
    assert steep["slope_upper"] < 1 - MonitoringSettings().maximum_slope_error


def test_the_error_of_the_slope_is_that_of_repeated_samples() -> None:
    found = []
    for seed in range(150):
        rng = np.random.default_rng([9, seed])
        pds = 1 / (1 + np.exp(-rng.normal(-2.0, 1.0, 1_000)))
        found.append(calibration_fit((rng.random(1_000) < pds).astype(np.int64), pds))
    spread = np.std([line.slope for line in found])
    assert np.mean([line.slope_error for line in found]) == pytest.approx(spread, rel=0.15)


def test_chance_of_rates_holds_the_luck_of_both_dates() -> None:
    """A level learnt from one date is held against the defaults of another: one alarm in twenty is false."""
    rng = np.random.default_rng(12)
    learnt, seen = rng.binomial(1_700, 0.1, 2_000) / 1_700, rng.binomial(1_900, 0.1, 2_000) / 1_900
    alarms = [abs(pd - rate) > chance_of_rates(rate, 1_900, pd, 1_700) for pd, rate in zip(learnt, seen, strict=True)]
    assert 0.035 <= np.mean(alarms) <= 0.065
    assert chance_of_rates(0.0, 100, 0.1, 0) == 0.0
