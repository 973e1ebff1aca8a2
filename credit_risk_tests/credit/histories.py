"""Small portfolios with payment histories of any kind, and the plain facts about one loan of them."""

from __future__ import annotations

import datetime as dt
from typing import Any

from hypothesis import strategies as st

TAPES = (dt.date(2024, 10, 31), dt.date(2025, 10, 31), dt.date(2026, 10, 31))
RUNNING = dt.date(2026, 11, 15)
"""A day after the newest full tape that some loans are changed on."""
SCHEMA = (
    "loan_id string, as_of_date date, as_of_month string, origination_date date, origination_quarter string, "
    "months_on_book int, loan_purpose string, loan_status string, loan_amount double, outstanding_balance double, "
    "current_dpd int, payment_history_profile string, risk_category string"
)
NAMES = [column.split()[0] for column in SCHEMA.split(", ")]


def month(day: dt.date) -> int:
    return day.year * 12 + day.month - 1


_codes = st.one_of(
    st.text(alphabet="0001", max_size=84),
    st.text(alphabet="00000123456LE", max_size=84),
    st.text(alphabet="0123456GHJKLBDE", max_size=84),
    st.sampled_from(["", "0" * 84, "L" * 12, "E" * 30, "21" + "0" * 40, "0" * 12, "0" * 13, "1" * 37]),
)


@st.composite
def loans(draw: st.DrawFn) -> dict[str, Any]:
    """A loan in its latest state."""
    as_of = draw(st.sampled_from([*TAPES, TAPES[-1], RUNNING]))
    origination = draw(st.dates(dt.date(2016, 1, 1), as_of))
    return {
        "as_of_date": as_of,
        "as_of_month": f"{as_of:%Y-%m}",
        "origination_date": origination,
        "origination_quarter": f"{origination.year}-Q{(origination.month + 2) // 3}",
        "months_on_book": month(as_of) - month(origination),
        "loan_purpose": draw(st.sampled_from(["home", "auto"])),
        "loan_status": draw(st.sampled_from(["current", "delinquent", "default", "charged_off", "paid_off"])),
        "loan_amount": draw(st.integers(100, 10**8)) / 100,
        "outstanding_balance": draw(st.integers(0, 10**8)) / 100,
        "current_dpd": draw(st.sampled_from([0, 12, 45, 75, 95, 130, 170, 400])),
        "payment_history_profile": draw(st.one_of(st.none(), _codes)),
        "risk_category": draw(st.sampled_from(["Low", "Medium", "High", "Very High"])),
    }


def portfolios(most: int = 40) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Loans with ids of their own."""
    return st.lists(loans(), min_size=1, max_size=most).map(
        lambda found: [{"loan_id": f"L{number}", **loan} for number, loan in enumerate(found)]
    )


def frame(session: Any, rows: list[dict[str, Any]]) -> Any:
    return session.createDataFrame([tuple(row[name] for name in NAMES) for row in rows], SCHEMA)


def present_code(loan: dict[str, Any]) -> str:
    """The code of a loan whose profile says nothing."""
    if loan["loan_status"] in ("charged_off", "paid_off"):
        return "L" if loan["loan_status"] == "charged_off" else "E"
    late = loan["current_dpd"]
    if late < 30:
        return "3" if loan["loan_status"] == "default" else "0"
    return str(min(6, late // 30))


def history(loan: dict[str, Any]) -> dict[int, str]:
    """Calendar month -> code, of the months since origination that the profile tells of."""
    codes = loan["payment_history_profile"] or present_code(loan)
    newest, began = month(loan["as_of_date"]), month(loan["origination_date"])
    return {newest - place: code for place, code in enumerate(codes) if newest - place >= began}
