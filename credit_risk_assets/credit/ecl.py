"""Loss given default, exposure and expected loss of a loan, as Spark SQL text.

LGD follows the foundation approach of Basel's credit-risk standard (CRE32): 45 % of the unsecured part; the
part covered by collateral after a haircut of 40 % loses 20 % (residential property) or 25 % (other physical
collateral). Retail portfolios have no foundation approach: it stands here as a documented assumption until
the lender's own recoveries are estimated. No loan falls below the floor of 10 % (CRE32.58 asks 5 % of
mortgages and 10 % to 15 % of other secured retail loans), so that a performing loan never shows an LGD of
zero.
"""

from __future__ import annotations

LGD_UNSECURED = 0.45
LGD_PROPERTY = 0.20
LGD_OTHER_COLLATERAL = 0.25
COLLATERAL_HAIRCUT = 0.40
LGD_FLOOR = 0.10


def covered_share_sql() -> str:
    """Share of the exposure covered by collateral after the haircut, 0 to 1.

    The balance is the exposure; a loan without a balance is judged by its amount.
    """
    exposure = "coalesce(nullif(outstanding_balance, 0D), loan_amount)"
    return f"least(1D, coalesce(collateral_value, 0D) * {1 - COLLATERAL_HAIRCUT}D / nullif({exposure}, 0D))"


def lgd_sql(covered_share: str = "collateral_cover") -> str:
    """Expected share of the exposure lost at default, from the share covered by collateral."""
    secured = f"(case when loan_purpose = 'home' then {LGD_PROPERTY}D else {LGD_OTHER_COLLATERAL}D end)"
    blended = f"{covered_share} * {secured} + (1D - {covered_share}) * {LGD_UNSECURED}D"
    return f"greatest({LGD_FLOOR}D, coalesce({blended}, {LGD_UNSECURED}D))"


def exposure_sql() -> str:
    """Exposure at default: the balance of a loan on book, 0 once it is closed (term loans draw no more)."""
    return "case when loan_status in ('current', 'delinquent', 'default') then outstanding_balance else 0D end"


def expected_loss(pd_12m: float, lgd: float, exposure: float) -> float:
    """Expected loss over twelve months: PD x LGD x EAD."""
    return pd_12m * lgd * exposure
