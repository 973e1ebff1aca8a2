"""What a loan tape is: its columns, their types and the rules that every row must keep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ColumnType = Literal["string", "date", "double", "int"]

LOAN_PURPOSES = (
    "home",
    "auto",
    "education",
    "personal",
    "business",
    "medical",
    "debt_consolidation",
    "other",
)
LOAN_STATUSES = ("current", "delinquent", "default", "charged_off", "paid_off")
ON_BOOK_STATUSES = ("current", "delinquent", "default")
CLOSED_STATUSES = ("charged_off", "paid_off")

PROFILE_CODES = "0123456GHJKLBDE"
"""Metro 2 payment-history codes, most recent month first."""
DEFAULT_CODES = "3456GHJKL"
"""Codes of 90+ DPD, collections to repossession, and charge-off: a default in that month."""
PROFILE_MAX_MONTHS = 84


@dataclass(frozen=True)
class Column:
    """One column of the tape: what it holds, in which type and unit, and which values it may take.

    `minimum` and `maximum` are inclusive unless `above` is set, which excludes the minimum.
    """

    name: str
    type: ColumnType
    description: str
    required: bool = False
    minimum: float | None = None
    maximum: float | None = None
    above: bool = False
    values: tuple[str, ...] = ()
    unit: str = ""

    @property
    def range_text(self) -> str:
        """The range as people read it; only of a column that has one."""
        unit = f" {self.unit}" if self.unit else ""
        if self.above:
            return f"more than {self.minimum:g}{unit}"
        if self.maximum is None:
            return f"{self.minimum:g}{unit} or more"
        return f"{self.minimum:g} to {self.maximum:g}{unit}"


def _money(name: str, description: str, *, required: bool = False, above: bool = False) -> Column:
    return Column(name, "double", description, required, minimum=0, above=above, unit="currency")


COLUMNS: tuple[Column, ...] = (
    Column("loan_id", "string", "Identifier of the loan, stable over tapes.", required=True),
    Column("customer_id", "string", "Pseudonym (keyed HMAC-SHA256) of the borrower.", required=True),
    Column("as_of_date", "date", "Day the tape describes.", required=True),
    Column("origination_date", "date", "Day the loan was paid out.", required=True),
    Column("maturity_date", "date", "Day the last instalment is due."),
    Column("default_date", "date", "Day the lender declared the loan in default."),
    Column("loan_purpose", "string", "What the loan pays for.", required=True, values=LOAN_PURPOSES),
    Column("loan_status", "string", "Where the loan stands at as_of_date.", required=True, values=LOAN_STATUSES),
    _money("loan_amount", "Amount lent at origination.", required=True, above=True),
    Column(
        "interest_rate",
        "double",
        "Contract rate a year.",
        required=True,
        minimum=0,
        maximum=100,
        unit="percent",
    ),
    Column(
        "term_months",
        "int",
        "Months from origination to maturity.",
        required=True,
        minimum=1,
        maximum=480,
        unit="months",
    ),
    _money("installment", "Monthly payment due; from amount, rate and term where the tape has none."),
    _money("outstanding_balance", "Balance owed at as_of_date.", required=True),
    _money("collateral_value", "Value of the collateral; empty where unsecured."),
    _money("total_paid", "Sum of payments received so far."),
    _money("recoveries", "Money recovered after charge-off."),
    _money("charge_off_amount", "Balance written off."),
    Column(
        "current_dpd",
        "int",
        "Days past due at as_of_date; 0 where paid off.",
        required=True,
        minimum=0,
        unit="days",
    ),
    Column("payment_history_profile", "string", "Metro 2 status codes a month, most recent first."),
    Column("credit_score", "double", "Bureau score.", minimum=300, maximum=900, unit="points"),
    Column("credit_history_months", "double", "Months since the first credit line.", minimum=0, unit="months"),
    Column("credit_utilization", "double", "Revolving balance over limit; may pass 1.", minimum=0, unit="ratio"),
    Column("open_accounts", "double", "Open credit lines.", minimum=0, unit="count"),
    Column("inquiries_6m", "double", "Credit inquiries in the last six months.", minimum=0, unit="count"),
    _money("existing_monthly_debt", "Monthly payments on other debts."),
    Column("age", "int", "Age of the borrower.", minimum=18, maximum=100, unit="years"),
    _money("annual_income", "Gross income a year.", above=True),
    Column("employment_type", "string", "How the borrower earns a living."),
    Column("employment_years", "double", "Years with the present employer.", minimum=0, unit="years"),
    Column("education", "string", "Highest degree."),
    Column("family_size", "int", "People in the household.", minimum=1, unit="people"),
    Column("region", "string", "Where the borrower lives."),
    Column("default_flag", "int", "Outcome, on tables that bring their own.", minimum=0, maximum=1),
)

BY_NAME: dict[str, Column] = {column.name: column for column in COLUMNS}
NAMES: tuple[str, ...] = tuple(BY_NAME)
REQUIRED: tuple[str, ...] = tuple(column.name for column in COLUMNS if column.required)

RESERVED: tuple[str, ...] = ("pd_12m", "pd_12m_observable", "lgd")
"""Columns of a simulated portfolio's sealed truth: a tape that carries one of them does not enter the lake."""
