"""Regulatory capital of retail loans and concentration: small formulas, each with its paragraph."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from scipy.stats import norm

RetailClass = Literal["mortgage", "revolving", "other"]
PD_FLOOR = 0.0005
CONFIDENCE = 0.999


def retail_correlation(pd_12m: float, retail_class: RetailClass) -> float:
    """Asset correlation of a retail class (CRE31.13 to CRE31.16)."""
    if retail_class == "mortgage":
        return 0.15
    if retail_class == "revolving":
        return 0.04
    weight = (1 - math.exp(-35 * pd_12m)) / (1 - math.exp(-35))
    return 0.03 * weight + 0.16 * (1 - weight)


def capital_requirement(pd_12m: float, lgd: float, retail_class: RetailClass) -> float:
    """Capital K of a performing retail loan as a share of its exposure (CRE31.13), PD floored at 0.05 %.

    K = LGD N[(1 - R)^-1/2 G(PD) + (R / (1 - R))^1/2 G(0.999)] - PD LGD.
    """
    if not 0 <= pd_12m < 1 or not 0 <= lgd <= 1:
        raise ValueError(f"capital: PD {pd_12m} and LGD {lgd} must lie between 0 and 1, PD below 1")
    floored = max(pd_12m, PD_FLOOR)
    correlation = retail_correlation(floored, retail_class)
    stressed = norm.cdf(
        norm.ppf(floored) / math.sqrt(1 - correlation)
        + math.sqrt(correlation / (1 - correlation)) * norm.ppf(CONFIDENCE)
    )
    return float(lgd * stressed - floored * lgd)


def risk_weight(pd_12m: float, lgd: float, retail_class: RetailClass) -> float:
    """Risk weight: 12.5 times the capital requirement; risk-weighted assets are this times the exposure."""
    return 12.5 * capital_requirement(pd_12m, lgd, retail_class)


def concentration(amounts: Sequence[float]) -> float:
    """Herfindahl-Hirschman index, the sum of squared shares: 1 / n where all are equal, 1 where one has all.

    0 for an empty portfolio.
    """
    total = math.fsum(amounts)
    return math.fsum((amount / total) ** 2 for amount in amounts) if total > 0 else 0.0


def installment(amount: float, annual_rate_percent: float, months: int) -> float:
    """Monthly payment A r (1 + r)^n / ((1 + r)^n - 1) with the monthly rate r; A / n where the rate is 0."""
    if months < 1:
        raise ValueError(f"installment: {months} months; at least 1 is needed")
    rate = annual_rate_percent / 1200
    if rate == 0:
        return amount / months
    # expm1 and log1p keep the digits of a rate near 0
    return amount * rate / -math.expm1(-months * math.log1p(rate))
