"""Capital, concentration and instalment against published or worked figures."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit_risk_assets.credit.capital import RetailClass, capital_requirement, concentration, installment, risk_weight


@pytest.mark.parametrize(
    ("retail_class", "lgd", "expected"),
    [
        ("mortgage", 0.45, 0.5640),
        ("mortgage", 0.25, 0.3133),
        ("other", 0.45, 0.4577),
        ("other", 0.85, 0.8646),
        ("revolving", 0.85, 0.3253),
    ],
)
def test_risk_weights_at_a_pd_of_one_percent(retail_class: RetailClass, lgd: float, expected: float) -> None:
    assert risk_weight(0.01, lgd, retail_class) == pytest.approx(expected, abs=5e-5)


@given(st.floats(0, 0.2), st.floats(0, 1), st.sampled_from(["mortgage", "revolving", "other"]))
def test_capital_is_a_share_of_what_can_be_lost(pd_12m: float, lgd: float, retail_class: RetailClass) -> None:
    assert 0 <= capital_requirement(pd_12m, lgd, retail_class) <= lgd
    assert capital_requirement(0.0, lgd, retail_class) == capital_requirement(0.0005, lgd, retail_class)


def test_capital_refuses_what_is_no_probability() -> None:
    with pytest.raises(ValueError, match="PD 1"):
        capital_requirement(1.0, 0.45, "other")


def test_concentration_of_equal_and_of_single_loans() -> None:
    assert concentration([10.0] * 4) == pytest.approx(0.25)
    assert concentration([5.0, 0.0]) == 1.0
    assert concentration([]) == 0.0


def test_installment_of_known_loans() -> None:
    assert installment(1_200, 0, 12) == 100
    assert installment(100_000, 6, 360) == pytest.approx(599.55, abs=0.005)
    assert installment(10_000, 12, 12) == pytest.approx(888.49, abs=0.005)


@given(st.floats(1, 1e6), st.floats(0, 60), st.integers(1, 480))
def test_installments_repay_the_loan(amount: float, rate: float, months: int) -> None:
    payment = installment(amount, rate, months)
    owed = amount
    for _ in range(months):
        owed = owed * (1 + rate / 1200) - payment
    assert abs(owed) < 1e-6 * amount * (1 + rate / 1200) ** months
