"""Borrowers and loans as underwriting saw them: one joint draw, risk-based pricing, the index of risk."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from credit_risk_assets.tape.simulation.parameters import (
    EDUCATION_SHARES,
    EMPLOYMENT_EFFECTS,
    EMPLOYMENT_SHARES,
    HISTORY_MONTHS,
    PURPOSES,
    REGION_SHARES,
    Parameters,
)

F32 = np.float32


@dataclass(frozen=True)
class Population:
    """One array per attribute, a value per loan, ordered by origination month.

    `number` is the loan's place in its block (and in the output), `head` the position of the customer's first
    loan. `index` is the observed risk index, `frailty` the hidden one, `recovery_noise` decides the loan's
    recovery should it be charged off. Rates are fractions, money is in currency units, times are months.
    """

    number: np.ndarray
    customer: np.ndarray
    head: np.ndarray
    month: np.ndarray
    day: np.ndarray
    purpose: np.ndarray
    term: np.ndarray
    amount: np.ndarray
    rate: np.ndarray
    installment: np.ndarray
    secured: np.ndarray
    collateral: np.ndarray
    z: np.ndarray
    score: np.ndarray
    utilization: np.ndarray
    income: np.ndarray
    dti: np.ndarray
    age: np.ndarray
    employment: np.ndarray
    employment_years: np.ndarray
    education: np.ndarray
    family: np.ndarray
    region: np.ndarray
    history_months: np.ndarray
    accounts: np.ndarray
    index: np.ndarray
    frailty: np.ndarray
    recovery_noise: np.ndarray

    def __len__(self) -> int:
        return len(self.number)

    def take(self, positions: np.ndarray) -> Population:
        """The loans at these positions; `head` keeps pointing into the full population."""
        return Population(**{field.name: getattr(self, field.name)[positions] for field in fields(self)})


def annuity(amount: np.ndarray, rate: np.ndarray, term: np.ndarray) -> np.ndarray:
    """Monthly instalment A·r(1+r)^n / ((1+r)^n − 1), r monthly; A/n where the rate is 0. To the cent."""
    monthly = rate.astype(np.float64) / 12
    growth = np.expm1(term * np.log1p(monthly))
    with np.errstate(divide="ignore", invalid="ignore"):
        payment = np.where(monthly > 0, amount * monthly * (1 + growth) / growth, amount / term)
    return np.round(payment, 2)


def _choose(uniform: np.ndarray, shares: tuple[float, ...]) -> np.ndarray:
    edges = np.cumsum(shares)
    return np.searchsorted(edges[:-1] / edges[-1], uniform, side="right").astype(np.int8)


def history_origination_months(generator: np.random.Generator, loans: int, parameters: Parameters) -> np.ndarray:
    """Month indices of origination over the 84 months of lending, growing by `growth` a month."""
    weights = (1 + parameters.growth) ** np.arange(HISTORY_MONTHS)
    edges = np.cumsum(weights) / weights.sum()
    return np.searchsorted(edges[:-1], generator.random(loans), side="right").astype(np.int32)


def draw_population(generator: np.random.Generator, months: np.ndarray, parameters: Parameters) -> Population:
    """Customers with one to three loans each, in the given months (put in order within a customer)."""
    loans = len(months)
    extra = generator.random(loans)
    counts = 1 + (extra < parameters.second_loan) + (extra < parameters.third_loan)
    customer = np.repeat(np.arange(loans, dtype=np.int32), counts)[:loans]
    months = months[np.lexsort((months, customer))]
    first = np.searchsorted(customer, customer, side="left")

    normal = generator.standard_normal((9, loans), dtype=F32)
    uniform = generator.random((7, loans), dtype=F32)
    score = np.clip(652 + 72 * normal[0], 480, 845)[customer]
    z = ((score - 652) / 72).astype(F32)
    c = customer
    utilization = 1 / (1 + np.exp(0.2 + 0.75 * z - 0.95 * normal[1][c]))
    wealth = (0.25 * z + 0.97 * normal[2][c]).astype(F32)
    employment = _choose(uniform[0], EMPLOYMENT_SHARES)
    employment = np.where((employment == 4) & (uniform[1] > 0.9), 0, employment)[c]
    income = np.exp(10.85 + 0.5 * wealth + np.array([0.03, 0.0, -0.5, -0.35, -0.7], F32)[employment])
    dti = np.clip(0.27 - 0.03 * z + 0.05 * (utilization - 0.5) + 0.10 * normal[3][c], 0.01, 0.85)
    retired = employment == 3
    age = np.clip(40 + 2.5 * z + 11.5 * normal[4][c], 20, 72)
    age = np.where(retired, np.clip(age + 26, 60, 82), age)
    education = _choose(np.clip(uniform[2][c] + 0.06 * wealth, 0, 0.999), EDUCATION_SHARES)
    region = _choose(uniform[3], REGION_SHARES)[c]
    family = (1 + _choose(uniform[4], (0.29, 0.33, 0.16, 0.13, 0.06, 0.03)))[c]
    working = (employment == 0) | (employment == 1) | (employment == 2)
    tenure = np.minimum(generator.exponential(6.0, loans).astype(F32)[c], np.maximum(age - 19, 0))
    employment_years = np.where(working, tenure, 0)
    history = np.clip((age - 20) * 12 * (0.35 + 0.5 * uniform[5][c]) + 20 * z, 6, 600)
    accounts = 1 + generator.poisson(np.clip(4.5 + 1.2 * z + 0.006 * history, 0.5, 25)[first])[first]
    frailty = parameters.chain.frailty_sd * normal[5][c]

    loan_normal = generator.standard_normal((4, loans), dtype=F32)
    loan_uniform = generator.random((4, loans), dtype=F32)
    purpose = _choose(loan_uniform[0], tuple(p.share for p in PURPOSES))
    term = np.zeros(loans, np.int32)
    for code, kind in enumerate(PURPOSES):
        mine = purpose == code
        term[mine] = np.array(kind.terms)[_choose(loan_uniform[1][mine], kind.term_shares)]
    secured = loan_uniform[2] < np.array([p.secured for p in PURPOSES], F32)[purpose]
    size = np.array([p.amount for p in PURPOSES], F32)[purpose]
    amount = size * np.exp(0.30 * wealth + 0.10 * z + 0.42 * loan_normal[0])
    amount = np.clip(np.round(np.minimum(amount, 0.9 * income + 2_000) / 100) * 100, 500, 400_000)
    short_term = np.minimum(term, 72)
    rate = 0.155 - 0.05 * z + 0.012 * np.square(np.minimum(z, 0)) + 0.00025 * (short_term - 36)
    rate += -0.02 * secured + 0.012 * loan_normal[1] + np.array([p.spread for p in PURPOSES], F32)[purpose]
    rate = np.round(np.clip(rate, 0.0299, 0.3599).astype(np.float64), 4)
    ltv = 0.92 - 0.04 * z + 0.16 * loan_normal[2] + np.array([p.ltv_shift for p in PURPOSES], F32)[purpose]
    ltv = np.clip(ltv, 0.30, 1.40)
    collateral = np.where(secured, np.round(amount / ltv, -2), 0.0)

    index = risk_index(z, utilization, dti, wealth, employment_years, purpose, short_term, secured, ltv, employment)
    index = (index - parameters.index_centre) / parameters.index_scale
    order = np.argsort(months, kind="stable")
    place = np.empty(loans, np.int32)
    place[order] = np.arange(loans, dtype=np.int32)
    unordered = {
        "number": np.arange(loans, dtype=np.int64),
        "customer": customer,
        "head": place[first],
        "month": months,
        "day": 1 + (loan_uniform[3] * 28).astype(np.int32),
        "purpose": purpose,
        "term": term,
        "amount": amount.astype(np.float64),
        "rate": rate,
        "installment": annuity(amount, rate, term),
        "secured": secured,
        "collateral": collateral.astype(np.float64),
        "z": z,
        "score": score,
        "utilization": utilization.astype(F32),
        "income": np.round(income.astype(np.float64), -2),
        "dti": dti.astype(F32),
        "age": age.astype(F32),
        "employment": employment,
        "employment_years": employment_years.astype(F32),
        "education": education,
        "family": family.astype(np.int32),
        "region": region,
        "history_months": history.astype(np.int32),
        "accounts": accounts.astype(np.int32),
        "index": index.astype(F32),
        "frailty": frailty.astype(F32),
        "recovery_noise": loan_normal[3],
    }
    return Population(**{name: values[order] for name, values in unordered.items()})


def risk_index(
    z: np.ndarray,
    utilization: np.ndarray,
    dti: np.ndarray,
    wealth: np.ndarray,
    employment_years: np.ndarray,
    purpose: np.ndarray,
    term: np.ndarray,
    secured: np.ndarray,
    ltv: np.ndarray,
    employment: np.ndarray,
) -> np.ndarray:
    """The observed part of the hazard, before centring: linear terms, categories and interactions.

    Without the interactions a logistic regression would be the best model there is. Age, education, region and
    family have no say of their own: they go with risk only as they go with income, tenure and score.
    """
    linear = -0.50 * z + 0.20 * (utilization - 0.5) / 0.25 + 0.22 * (dti - 0.27) / 0.1 - 0.2 * wealth
    linear = linear + 0.12 * (term - 45) / 15
    categories = np.array(EMPLOYMENT_EFFECTS, F32)[employment] + np.array([p.effect for p in PURPOSES], F32)[purpose]
    business = np.array([p.name == "business" for p in PURPOSES])[purpose]
    interactions = (
        0.60 * ((utilization > 0.7) & (z < -0.2))
        + 0.55 * ((dti > 0.35) & (wealth < -0.3))
        + 0.50 * (business & (employment != 0))
        + 0.50 * ((employment_years < 2) & (term >= 60))
        + 0.60 * (secured & (ltv > 1.08))
        + 0.25 * np.sin(2.2 * z)
    )
    return linear + categories + interactions
