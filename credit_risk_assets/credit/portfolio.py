"""The portfolio at each snapshot: counts and sums per segment, and the key figures made from them.

A snapshot is a full tape at its as-of date, and the newest one is the state of every loan as it stands now.
"""

from __future__ import annotations

import calendar
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from credit_risk_assets.credit.delinquency import defaulted_within_sql
from credit_risk_assets.tape.contract import ON_BOOK_STATUSES

SEGMENTS = (
    "risk_category",
    "loan_purpose",
    "loan_status",
    "score_band",
    "dpd_bucket",
    "origination_quarter",
    "region",
)
ON_BOOK_SQL = f"loan_status in ({', '.join(repr(status) for status in ON_BOOK_STATUSES)})"
AT_RISK_SQL = f"{ON_BOOK_SQL} and current_dpd < 90"
"""On book and below 90 DPD: the loans a default rate is counted over."""


@dataclass(frozen=True)
class Figure:
    """A figure of the portfolio: its name, what it says, and its Spark SQL."""

    name: str
    description: str
    sql: str


def _count(condition: str) -> str:
    return f"count(case when {condition} then 1 end)"


def _total(value: str, condition: str = "present") -> str:
    return f"coalesce(sum(case when {condition} then cast({value} as double) end), 0D)"


MEASURE_FIGURES: tuple[Figure, ...] = (
    Figure("loans", "Loans of the segment at the snapshot.", _count("present")),
    Figure("balance", "Outstanding balance.", _total("outstanding_balance")),
    Figure("loan_amount", "Amount lent.", _total("loan_amount")),
    Figure("dpd_days", "Days past due, summed over the loans.", _total("current_dpd")),
    Figure("expected_loss", "Expected loss by the rule-based proxy.", _total("expected_loss_proxy")),
    Figure(
        "interest_balance",
        "Contract rate in percent times balance: over balance, the mean rate.",
        _total("interest_rate * outstanding_balance"),
    ),
    Figure(
        "high_risk_loans",
        "Loans of the categories High and Very High.",
        _count("present and risk_category in ('High', 'Very High')"),
    ),
    Figure(
        "observed_start_loans",
        "Loans at risk on the full tape twelve months before the snapshot.",
        _count("at_risk"),
    ),
    Figure(
        "observed_defaults",
        "Of these, loans that defaulted in the twelve months up to the snapshot.",
        _count(f"at_risk and {defaulted_within_sql(12)}"),
    ),
    Figure(
        "default_balance", "Balance at 90 or more DPD.", _total("outstanding_balance", "present and current_dpd >= 90")
    ),
    Figure("loans_30_dpd", "Loans at 30 or more DPD.", _count("present and current_dpd >= 30")),
    Figure("loans_90_dpd", "Loans at 90 or more DPD.", _count("present and current_dpd >= 90")),
)
"""Over the loans of a segment that are `present` at the snapshot, or were `at_risk` twelve months before."""
MEASURES = tuple(figure.name for figure in MEASURE_FIGURES)


def shift_months(day: date, months: int) -> date:
    """The same day some months away; a month-end stays a month-end."""
    month = day.year * 12 + day.month - 1 + months
    year, month = divmod(month, 12)
    last = calendar.monthrange(year, month + 1)[1]
    at_end = day.day == calendar.monthrange(day.year, day.month)[1]
    return date(year, month + 1, last if at_end else min(day.day, last))


def snapshot_dates(full_tapes: Sequence[date], newest: date) -> list[date]:
    """The dates the key figures are given for: each full tape, and the newest state."""
    return sorted({day for day in full_tapes if day < newest} | {newest})


def _dates(days: Sequence[date]) -> str:
    return ", ".join(f"date'{day.isoformat()}'" for day in days)


_SNAPSHOT_COLUMNS = (
    "loan_id",
    "current_dpd",
    "payment_history_profile",
    "outstanding_balance",
    "loan_amount",
    "interest_rate",
    "expected_loss_proxy",
)


def segment_sums(loans: DataFrame, history: DataFrame, full_tapes: Sequence[date]) -> DataFrame:
    """Counts and sums per snapshot date and segment, one row a segment; empty where there is no loan.

    `loans`: the latest state of each loan; `history`: one row per loan and as-of date. A default is counted
    over the loans at risk on the full tape twelve months before the snapshot, by the profile at the snapshot;
    a loan that vanished in between counts in its segment at the start, with no loans and no balance.
    """
    newest_row = loans.agg(F.max("as_of_date")).head()
    newest = newest_row[0] if newest_row and newest_row[0] else date(1900, 1, 1)
    dates = snapshot_dates(full_tapes, newest)
    older = dates[:-1]
    starts = {day: shift_months(day, -12) for day in dates if shift_months(day, -12) in full_tapes}

    columns: list[Column | str] = [
        *_SNAPSHOT_COLUMNS,
        *[F.coalesce(F.col(name), F.lit("unknown")).alias(name) for name in SEGMENTS],
    ]
    current = loans.select(F.lit(newest).cast("date").alias("as_of_date"), *columns)
    snapshots = current
    if older:
        taped = history.where(f"tape_kind = 'full' and as_of_date in ({_dates(older)})")
        snapshots = taped.select("as_of_date", *columns).unionByName(current)
    if starts:
        by_start = " ".join(f"when date'{start}' then date'{day}'" for day, start in starts.items())
        begun = (
            history.where(f"tape_kind = 'full' and as_of_date in ({_dates(list(starts.values()))})")
            .where(AT_RISK_SQL)
            .select(
                F.expr(f"case as_of_date {by_start} end").alias("as_of_date"),
                "loan_id",
                *[F.coalesce(F.col(n), F.lit("unknown")).alias(f"start_{n}") for n in SEGMENTS],
                F.lit(True).alias("at_risk"),
            )
        )
        joined = snapshots.join(begun, ["as_of_date", "loan_id"], "full_outer")
        vanished = F.col("loan_status").isNull()
        joined = joined.withColumns(
            {name: F.when(vanished, F.col(f"start_{name}")).otherwise(F.col(name)) for name in SEGMENTS}
            | {"present": ~vanished, "at_risk": F.coalesce(F.col("at_risk"), F.lit(False))}
        )
    else:
        joined = snapshots.withColumns({"present": F.lit(True), "at_risk": F.lit(False)})
    return joined.groupBy("as_of_date", *SEGMENTS).agg(
        *[F.expr(figure.sql).alias(figure.name) for figure in MEASURE_FIGURES]
    )


KPI_SUMS = {"all_loans": "loans", "started": "observed_start_loans", "defaulted": "observed_defaults"}
"""Sums over all loans -> their measure; the other measures are summed over the loans on book."""
KPI_FIGURES: tuple[Figure, ...] = (
    Figure("loans", "All loans of the tape, closed ones too.", "cast(all_loans as bigint)"),
    Figure("active_loans", "Loans on book.", "cast(loans as bigint)"),
    Figure("portfolio_value", "Outstanding balance on book.", "cast(balance as double)"),
    Figure(
        "default_rate",
        "Loans that defaulted in the last twelve months over those at risk at their start; empty without that tape.",
        "cast(defaulted as double) / nullif(started, 0)",
    ),
    Figure(
        "npl_ratio", "Balance at 90 or more DPD over balance.", "cast(default_balance as double) / nullif(balance, 0D)"
    ),
    Figure("average_dpd", "Days past due per loan on book.", "cast(dpd_days as double) / nullif(loans, 0)"),
    Figure("high_risk_loans", "Loans on book of the categories High and Very High.", "cast(high_risk_loans as bigint)"),
    Figure("expected_loss", "Expected loss on book by the rule-based proxy.", "cast(expected_loss as double)"),
    Figure(
        "delinquent_30_share",
        "Share of loans on book at 30 or more DPD.",
        "cast(loans_30_dpd as double) / nullif(loans, 0)",
    ),
    Figure(
        "delinquent_90_share",
        "Share of loans on book at 90 or more DPD.",
        "cast(loans_90_dpd as double) / nullif(loans, 0)",
    ),
    Figure("is_current_state", "Whether the row is the portfolio as it stands now.", "as_of_date = newest"),
)


def portfolio_cube(segments: DataFrame) -> DataFrame:
    """The segments of the last snapshot in each month."""
    months = segments.withColumn("as_of_month", F.date_format("as_of_date", "yyyy-MM"))
    last = months.groupBy("as_of_month").agg(F.max("as_of_date").alias("as_of_date"))
    return months.join(last, ["as_of_month", "as_of_date"]).select("as_of_month", "as_of_date", *SEGMENTS, *MEASURES)


def portfolio_kpis(segments: DataFrame) -> DataFrame:
    """The key figures per snapshot date, over the loans on book.

    `default_rate` is null where there is no full tape twelve months before; shares and averages are null
    where no loan is on book.
    """
    on_book = [f"sum(case when {ON_BOOK_SQL} then {name} else 0 end) as {name}" for name in MEASURES]
    sums = segments.groupBy("as_of_date").agg(
        *[F.sum(measure).alias(name) for name, measure in KPI_SUMS.items()],
        *[F.expr(text) for text in on_book],
    )
    newest = segments.agg(F.max("as_of_date").alias("newest"))
    return sums.crossJoin(newest).selectExpr(
        "as_of_date", *[f"{figure.sql} as {figure.name}" for figure in KPI_FIGURES]
    )
