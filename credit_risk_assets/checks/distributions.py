"""Fixed bins of what a tape holds, so that two tapes can be compared: how steady values and gaps are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from credit_risk_assets.config.tables import RISK_CATEGORIES
from credit_risk_assets.credit.delinquency import BUCKET_UPPER_DPD
from credit_risk_assets.modelling.bins import Binned, edge_bins, word_bins
from credit_risk_assets.modelling.monitor import critical_value, stability_index
from credit_risk_assets.tape import contract

_MONEY = [round(10 ** (step / 4), -1) for step in range(10, 29)]
"""Four bins a power of ten from 320 to 10,000,000: money of any currency has its own few of them."""

BINNED: tuple[Binned, ...] = (
    edge_bins("credit_score", (579, 619, 659, 699, 739, 799)),
    edge_bins("credit_utilization", (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.5)),
    edge_bins("current_dpd", BUCKET_UPPER_DPD),
    edge_bins("interest_rate", (3, 6, 9, 12, 15, 18, 21, 25, 30)),
    edge_bins("term_months", (12, 24, 36, 48, 60, 84, 120, 180, 240)),
    edge_bins("annual_income", _MONEY),
    edge_bins("loan_amount", _MONEY),
    edge_bins("outstanding_balance", (0, *_MONEY)),
    word_bins("loan_purpose", contract.LOAN_PURPOSES),
    word_bins("loan_status", contract.LOAN_STATUSES),
    word_bins("risk_category", RISK_CATEGORIES),
)
GAPS = tuple(column.name for column in contract.COLUMNS)


def figures() -> dict[str, str]:
    """The aggregates that count every bin, and the filled values of each contract column."""
    bins = {name: sql for binned in BINNED for name, sql in binned.figures.items()}
    return {**bins, **{f"filled_{name}": f"count({name})" for name in GAPS}}


def stability(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[dict[str, Any]]:
    """PSI of each binned column between two tapes, beside what chance alone passes in one case of twenty.

    A gap is no value: it is judged by `gap_changes`. A column that one of the tapes lacks is left out.
    """
    rows = []
    for binned in BINNED:
        counts = [(int(before[name]), int(now[name])) for name in binned.figures]
        used = [pair for pair in counts if sum(pair)]
        first, second = (sum(pair[side] for pair in used) for side in (0, 1))
        if not first or not second:
            continue
        index = stability_index([a for a, _ in used], [b for _, b in used])
        _, critical = critical_value(max(len(used), 2), first, second)
        rows.append(
            {"column": binned.column, "PSI": round(index, 4), "critical value": round(critical, 4), "bins": len(used)}
        )
    return sorted(rows, key=lambda row: -float(row["PSI"]))


def gap_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The share of gaps in each column of two tapes, the largest rise first."""
    rows = []
    for name in GAPS:
        then, present = (1 - int(tape[f"filled_{name}"]) / int(tape["rows"]) for tape in (before, now))
        rows.append(
            {
                "column": name,
                "gaps before": round(then, 6),
                "gaps now": round(present, 6),
                "rise": round(present - then, 6),
            }
        )
    return sorted(rows, key=lambda row: -float(row["rise"]))
