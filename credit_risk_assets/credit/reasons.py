"""What a lender may tell a borrower: one true sentence for each feature that can raise the risk.

`sentence` holds where the value lies on the risky side of the usual one, `missing` where there is no value;
`{value}` is replaced by the category. Features of one concept say much the same: only the strongest speaks.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Reason:
    """How one feature is named as a reason; an empty text means that it never is."""

    concept: str
    sentence: str
    missing: str = ""


_NO_COLLATERAL = "The loan has no collateral"

REASONS: dict[str, Reason] = {
    "credit_score": Reason("score", "Credit score is low", "No credit score is known"),
    "credit_history_months": Reason(
        "history length", "Credit history is short", "Length of credit history is not known"
    ),
    "credit_utilization": Reason(
        "utilisation", "Use of revolving credit is high", "Use of revolving credit is not known"
    ),
    "utilization_at_low_score": Reason("utilisation", "Use of revolving credit is high for this credit score"),
    "open_accounts": Reason("open lines", "Number of open credit lines is unusual"),
    "inquiries_6m": Reason("inquiries", "Many credit inquiries in the last 6 months"),
    "inquiries_per_account": Reason("inquiries", "Many credit inquiries for the number of open credit lines"),
    "loan_purpose": Reason("purpose", "Purpose of the loan: {value}"),
    "loan_amount": Reason("amount", "Loan amount is high"),
    "term_months": Reason("term", "Term of the loan is long"),
    "remaining_months": Reason("term", "Remaining term of the loan is long"),
    "elapsed_share": Reason("term", "Most of the term is still to come"),
    "months_on_book": Reason("age of the loan", "Age of the loan is unusual"),
    "interest_rate_fraction": Reason("rate", "Interest rate is high"),
    "interest_burden": Reason("rate", "Interest over the whole term is high"),
    "is_secured": Reason("collateral", _NO_COLLATERAL),
    "loan_to_value": Reason("collateral", "Loan is high for the value of the collateral", _NO_COLLATERAL),
    "balance_to_value": Reason("collateral", "Balance is high for the value of the collateral", _NO_COLLATERAL),
    "debt_to_income": Reason(
        "debt burden", "Debt payments are high for the income", "Debt payments or income are not known"
    ),
    "other_debt_to_income": Reason("debt burden", "Payments on other debts are high for the income"),
    "installment_to_income": Reason("debt burden", "Instalment is high for the income"),
    "disposable_income": Reason("debt burden", "Little income is left after debt payments"),
    "loan_to_income": Reason("loan size", "Loan is high for the income"),
    "balance_to_income": Reason("loan size", "Balance is high for the income"),
    "balance_to_amount": Reason("repaid so far", "Most of the loan is still owed"),
    "balance_behind_plan": Reason("repaid so far", "Balance is high for the time elapsed"),
    "paid_share": Reason("repaid so far", "Little of the loan has been paid so far"),
    "paid_to_schedule": Reason("payments due", "Payments made are below the payments due"),
    "current_dpd": Reason("payment status", "Payments are overdue"),
    "max_dpd_code_3m": Reason("payment status", "Payments were 30 or more days late in the last 3 months"),
    "late_months_3m": Reason("payment status", "Late payments in the last 3 months"),
    "payment_trend": Reason("payment status", "Late payments have become more frequent"),
    "max_dpd_code_6m": Reason("payment record", "Payments were 30 or more days late in the last 6 months"),
    "max_dpd_code_12m": Reason("payment record", "Payments were 30 or more days late in the last 12 months"),
    "max_dpd_code_24m": Reason("payment record", "Payments were 30 or more days late in the last 24 months"),
    "late_months_6m": Reason("payment record", "Late payments in the last 6 months"),
    "late_months_12m": Reason("payment record", "Late payments in the last 12 months"),
    "late_months_24m": Reason("payment record", "Late payments in the last 24 months"),
    "serious_late_months_12m": Reason("payment record", "Payments were 60 or more days late in the last 12 months"),
    "on_time_share_12m": Reason("payment record", "Too few payments on time in the last 12 months"),
    "on_time_share_24m": Reason("payment record", "Too few payments on time in the last 24 months"),
    "months_since_delinquency": Reason("time since lateness", "The last late payment is not long ago"),
    "months_since_serious": Reason("time since lateness", "The last payment 60 or more days late is not long ago"),
    "reported_months": Reason("record length", "Payment record of the loan is short"),
    "annual_income": Reason("income", "Income is low", "Income is not known"),
    "employment_type": Reason("employment", "Employment: {value}", "Employment is not known"),
    "employment_years": Reason(
        "time employed", "Time with the employer is short", "Time with the employer is not known"
    ),
}
