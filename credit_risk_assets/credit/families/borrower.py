"""Borrower family: income, work and household.

Age, family size, education and region (and what is computed from them) are protected: age and family status
by fair-lending law, education and region because they stand in for protected groups. They are kept for
fairness monitoring only.
"""

from __future__ import annotations

from credit_risk_assets.credit.feature import Feature

_DISPOSABLE = "annual_income / 12D - coalesce(existing_monthly_debt, 0D) - installment"
_AGE_BAND = (
    "case when age is null then 'unknown' when age < 25 then '18-24' when age < 35 then '25-34' "
    "when age < 45 then '35-44' when age < 55 then '45-54' when age < 65 then '55-64' else '65+' end"
)

FEATURES: tuple[Feature, ...] = (
    Feature(
        "annual_income",
        "borrower",
        "Annual income",
        "Gross income a year.",
        "annual_income",
        unit="currency",
        direction=-1,
    ),
    Feature(
        "employment_type",
        "borrower",
        "Employment",
        "How the borrower earns a living.",
        "employment_type",
        type="string",
    ),
    Feature(
        "employment_years",
        "borrower",
        "Time with the employer",
        "Years with the present employer.",
        "employment_years",
        unit="years",
        direction=-1,
    ),
    Feature(
        "disposable_income",
        "borrower",
        "Income left after debt payments",
        "Monthly income minus payments on other debts and on this loan.",
        _DISPOSABLE,
        unit="currency",
        direction=-1,
    ),
    Feature(
        "other_debt_to_income",
        "borrower",
        "Other debt to income",
        "Monthly payments on other debts over monthly income.",
        "existing_monthly_debt * 12D / nullif(annual_income, 0D)",
        unit="ratio",
        direction=1,
    ),
    Feature(
        "age",
        "borrower",
        "Age",
        "Age of the borrower.",
        "age",
        type="int",
        unit="years",
        protected=True,
        in_model=False,
    ),
    Feature(
        "family_size",
        "borrower",
        "Family size",
        "People in the household.",
        "family_size",
        type="int",
        unit="people",
        protected=True,
        in_model=False,
    ),
    Feature(
        "education",
        "borrower",
        "Education",
        "Highest degree.",
        "education",
        type="string",
        protected=True,
        in_model=False,
    ),
    Feature(
        "region",
        "borrower",
        "Region",
        "Where the borrower lives.",
        "region",
        type="string",
        protected=True,
        in_model=False,
    ),
    Feature(
        "age_band",
        "borrower",
        "Age band",
        "Ten-year band of age.",
        _AGE_BAND,
        type="string",
        protected=True,
        in_model=False,
    ),
    Feature(
        "income_per_head",
        "borrower",
        "Income per head",
        "Annual income over family size.",
        "annual_income / nullif(family_size, 0)",
        unit="currency",
        direction=-1,
        protected=True,
        in_model=False,
    ),
    Feature(
        "disposable_per_head",
        "borrower",
        "Income left per head",
        "Monthly income after debt payments over family size.",
        "disposable_income / nullif(family_size, 0)",
        unit="currency",
        direction=-1,
        protected=True,
        in_model=False,
    ),
)
