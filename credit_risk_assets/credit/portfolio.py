"""The portfolio at each snapshot: counts and sums per segment, and the key figures made from them.

A snapshot is a full tape at its as-of date, and the newest one is the state of every loan as it stands now.
"""

from __future__ import annotations

import calendar
from collections.abc import Sequence
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
MEASURES = (
    "loans",
    "balance",
    "loan_amount",
    "dpd_days",
    "expected_loss",
    "interest_balance",
    "high_risk_loans",
    "observed_start_loans",
    "observed_defaults",
    "default_balance",
    "loans_30_dpd",
    "loans_90_dpd",
)
ON_BOOK_SQL = f"loan_status in ({', '.join(repr(status) for status in ON_BOOK_STATUSES)})"
AT_RISK_SQL = f"{ON_BOOK_SQL} and current_dpd < 90"
"""On book and below 90 DPD: the loans a default rate is counted over."""


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
    return joined.groupBy("as_of_date", *SEGMENTS).agg(*_measures())


def _measures() -> list[Column]:
    def count(condition: str, name: str) -> Column:
        return F.expr(f"count(case when {condition} then 1 end)").alias(name)

    def total(value: str, name: str, condition: str = "present") -> Column:
        return F.expr(f"coalesce(sum(case when {condition} then cast({value} as double) end), 0D)").alias(name)

    return [
        count("present", "loans"),
        total("outstanding_balance", "balance"),
        total("loan_amount", "loan_amount"),
        total("current_dpd", "dpd_days"),
        total("expected_loss_proxy", "expected_loss"),
        total("interest_rate * outstanding_balance", "interest_balance"),
        count("present and risk_category in ('High', 'Very High')", "high_risk_loans"),
        count("at_risk", "observed_start_loans"),
        count(f"at_risk and {defaulted_within_sql(12)}", "observed_defaults"),
        total("outstanding_balance", "default_balance", "present and current_dpd >= 90"),
        count("present and current_dpd >= 30", "loans_30_dpd"),
        count("present and current_dpd >= 90", "loans_90_dpd"),
    ]


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
        F.sum("loans").alias("all_loans"),
        F.sum("observed_start_loans").alias("started"),
        F.sum("observed_defaults").alias("defaulted"),
        *[F.expr(text) for text in on_book],
    )
    newest = segments.agg(F.max("as_of_date").alias("newest"))
    return sums.crossJoin(newest).selectExpr(
        "as_of_date",
        "cast(all_loans as bigint) as loans",
        "cast(loans as bigint) as active_loans",
        "cast(balance as double) as portfolio_value",
        "cast(defaulted as double) / nullif(started, 0) as default_rate",
        "cast(default_balance as double) / nullif(balance, 0D) as npl_ratio",
        "cast(dpd_days as double) / nullif(loans, 0) as average_dpd",
        "cast(high_risk_loans as bigint) as high_risk_loans",
        "cast(expected_loss as double) as expected_loss",
        "cast(loans_30_dpd as double) / nullif(loans, 0) as delinquent_30_share",
        "cast(loans_90_dpd as double) / nullif(loans, 0) as delinquent_90_share",
        "as_of_date = newest as is_current_state",
    )
