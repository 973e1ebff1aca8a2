"""Migration of the rule-based risk category between consecutive full tapes.

Model ratings exist for the present state alone; what is observed over time is the category of the rule-based score,
made anew from each tape by the same rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from itertools import pairwise
from typing import TYPE_CHECKING

import pyarrow as pa

from credit_risk_assets.credit.delinquency import in_default_sql
from credit_risk_assets.credit.portfolio import ON_BOOK_SQL
from credit_risk_assets.credit.profile import month_number
from credit_risk_assets.credit.roll_rates import window

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

STATE_SQL = f"""
case
  when {ON_BOOK_SQL} then case when {in_default_sql()} then 'Default' else risk_category end
  when loan_status = 'charged_off' then 'Charged off'
  else 'Paid off'
end
"""
"""Where a loan of a tape stands: its category, or default, or how it closed."""
MIGRATION_SCHEMA = pa.schema(
    [
        ("from_date", pa.date32()),
        ("to_date", pa.date32()),
        ("loan_purpose", pa.string()),
        ("from_state", pa.string()),
        ("to_state", pa.string()),
        ("loans", pa.int64()),
        ("from_balance", pa.float64()),
        ("to_balance", pa.float64()),
    ]
)
_CLOSED = "('Paid off', 'Charged off')"


def tape_pairs(full_tapes: Sequence[date]) -> list[tuple[date, date]]:
    """Consecutive full tapes whose later one lies in the window of the roll rates."""
    if not full_tapes:
        return []
    first, _ = window(full_tapes)
    return [(start, end) for start, end in pairwise(sorted(full_tapes)) if month_number(end.year, end.month) >= first]


def rating_migration(history: DataFrame, start: date, end: date) -> DataFrame:
    """Loans and balance by category on one full tape and on the next; small.

    A loan that only the later tape names is `New` at the start, one on book that the later tape lacks is `Lost` at
    the end. Loans closed on the first tape count only where the later one has them on book again.
    """

    def states(day: date, side: str) -> DataFrame:
        # The month is the table's partition: other months' files are not opened.
        return history.where(f"as_of_month = '{day:%Y-%m}' and as_of_date = date'{day}'").selectExpr(
            f"loan_id as {side}_id",
            f"loan_purpose as {side}_purpose",
            f"{STATE_SQL} as {side}_state",
            f"case when {ON_BOOK_SQL} then cast(outstanding_balance as double) else 0D end as {side}_balance",
        )

    before, after = states(start, "from"), states(end, "to")
    joined = before.join(after, before["from_id"] == after["to_id"], "full_outer").selectExpr(
        "coalesce(to_purpose, from_purpose) as loan_purpose",
        "coalesce(from_state, 'New') as from_state",
        "coalesce(to_state, 'Lost') as to_state",
        "from_balance",
        "to_balance",
    )
    moved = joined.where(f"not (from_state in {_CLOSED} and to_state in ('Lost', 'Paid off', 'Charged off'))")
    return (
        moved.groupBy("loan_purpose", "from_state", "to_state")
        .agg({"*": "count", "from_balance": "sum", "to_balance": "sum"})
        .selectExpr(
            f"date'{start}' as from_date",
            f"date'{end}' as to_date",
            "loan_purpose",
            "from_state",
            "to_state",
            "`count(1)` as loans",
            "coalesce(`sum(from_balance)`, 0D) as from_balance",
            "coalesce(`sum(to_balance)`, 0D) as to_balance",
        )
    )
