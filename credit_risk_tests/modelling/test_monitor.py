"""Drift against chance."""

from __future__ import annotations

import numpy as np
import pytest

from credit_risk_assets.modelling.errors import ModelDataError
from credit_risk_assets.modelling.monitor import critical_value, drift, drift_of_counts, stability_index


def test_psi_of_known_shares() -> None:
    assert stability_index([50, 50], [50, 50]) == 0
    assert stability_index([500, 500], [600, 400]) == pytest.approx(0.1 * np.log(0.6 / 0.4))
    assert np.isfinite(stability_index([10, 0], [5, 5]))


def test_without_drift_the_psi_keeps_to_its_critical_value() -> None:
    rng = np.random.default_rng(2)
    found = [drift(rng.normal(size=2_000), rng.normal(size=1_000)) for _ in range(300)]
    assert np.mean([one.psi for one in found]) == pytest.approx(found[0].expected, rel=0.15)
    assert np.mean([one.drifted for one in found]) < 0.10
    assert critical_value(10, 2_000, 1_000)[0] == pytest.approx(9 * (1 / 2_000 + 1 / 1_000))


@pytest.mark.parametrize("seed", range(5))
def test_one_alarm_in_twenty_is_false(seed: int) -> None:
    """Two samples of one population pass the 5 % critical value in 5 % of cases, within chance of 400 of them."""
    rng = np.random.default_rng([11, seed])

    def sample(rows: int) -> np.ndarray:
        values = rng.lognormal(size=rows)
        values[rng.random(rows) < 0.3] = 0.0
        values[rng.random(rows) < 0.1] = np.nan
        return values

    found = [drift(sample(3_000), sample(2_000)).drifted for _ in range(400)]
    words = [
        drift_of_counts(*(rng.multinomial(rows, [0.4, 0.3, 0.2, 0.1]).tolist() for rows in (3_000, 2_000))).drifted
        for _ in range(400)
    ]
    for alarms in (found, words):
        assert 0.02 <= np.mean(alarms) <= 0.085


def test_counts_of_the_same_bins_are_compared_gaps_and_all() -> None:
    found = drift_of_counts([500, 500, 0], [600, 400, 0])
    assert found.bins == 2
    assert found.psi == pytest.approx(0.1 * np.log(0.6 / 0.4))
    assert found.critical == pytest.approx(3.841 * 2 / 1_000, rel=1e-3)
    with pytest.raises(ModelDataError, match="no values"):
        drift_of_counts([0, 0], [1, 2])


def test_a_shift_and_new_gaps_are_drift() -> None:
    rng = np.random.default_rng(3)
    base = rng.normal(size=5_000)
    assert drift(base, rng.normal(0.3, 1, 5_000)).drifted
    gappy = rng.normal(size=5_000)
    gappy[:500] = np.nan
    assert drift(base, gappy).psi > 0.1
    assert not drift(base, base).drifted


def test_nothing_to_compare_is_refused() -> None:
    with pytest.raises(ModelDataError, match="no values"):
        drift(np.array([np.nan]), np.array([1.0]))
    with pytest.raises(ModelDataError, match="3 and 2 bins"):
        stability_index([1, 2, 3], [1, 2])
