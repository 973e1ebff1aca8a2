"""Vintage curves: what became of the loans of each origination quarter, by months on book.

A loan is observed at an age when its state then is known: on book, up to the as-of date of its last tape; once
closed, for as long as the portfolio is, because nothing more can happen to it. So a loan that left the tapes months
after it closed stays in its cohort, and one that vanished from the tapes counts up to where it was last seen.

Not observed, and counted as clean: months that the profile does not tell of (those before the 84 that it can hold,
and all but the present one where the tape has none); `loans_unseen` counts the loans concerned. Missing altogether:
loans that closed and left the tapes before the first one; cohorts old enough to have lost some are not `complete`.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import polars as pl

from credit_risk_assets.credit.delinquency import LATE_CODES, SERIOUS_CODES
from credit_risk_assets.credit.portfolio import ON_BOOK_SQL
from credit_risk_assets.credit.profile import month_number, month_number_sql, observed_profile_sql, oldest_position_sql
from credit_risk_assets.tape.contract import DEFAULT_CODES, PROFILE_MAX_MONTHS

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

COHORT = ("origination_quarter", "loan_purpose")
EVENTS = {"ever_30": LATE_CODES, "ever_60": SERIOUS_CODES, "ever_90": DEFAULT_CODES}
"""Cumulative count -> the codes that begin it: 30+, 60+ and 90+ days past due, each with collections and charge-off."""
LAST_AGE = PROFILE_MAX_MONTHS
CLOSED_STAYS_MONTHS = 13
"""Months that a closed loan stays on the tapes."""
_CENTS = 100


def first_events(loans: DataFrame, newest: date) -> DataFrame:
    """Loans and cents lent by cohort, last observed age, event and the age at which it first came; small.

    `loans` is silver/loans, read once; `newest` the as-of date up to which the portfolio is known. The event
    `loan` is the loan itself and `unseen` one whose first months its profile does not reach, both at age 0. Ages
    above `LAST_AGE` are cut off.
    """
    until = month_number(newest.year, newest.month)
    own = f"least(months_on_book, {LAST_AGE})"
    known = f"least(greatest(months_on_book, {until} - {month_number_sql('origination_date')}), {LAST_AGE})"
    aged = loans.selectExpr(
        "coalesce(origination_quarter, 'unknown') as origination_quarter",
        "coalesce(loan_purpose, 'unknown') as loan_purpose",
        "loan_amount",
        f"case when {ON_BOOK_SQL} then {own} else {known} end as last_age",
        "months_on_book",
        f"{observed_profile_sql()} as codes",
    )

    def first(codes: str) -> str:
        position = oldest_position_sql(codes, "codes")
        return f"case when {position} > 0 then months_on_book + 1 - {position} end"

    ages = {
        "unseen": "case when length(codes) < months_on_book then 0 end",
        **{name: first(codes) for name, codes in EVENTS.items()},
    }
    # Loans alike are counted before they are made one row for the loan and one for each event that it saw.
    alike = (
        aged.selectExpr(*COHORT, "loan_amount", "last_age", *[f"{age} as {name}" for name, age in ages.items()])
        .groupBy(*COHORT, "last_age", *ages)
        .agg({"*": "count", "loan_amount": "sum"})
        .withColumnsRenamed({"count(1)": "loans", "sum(loan_amount)": "amount"})
    )
    marks = [("loan", "0"), *[(name, name) for name in ages]]
    events = ", ".join(f"struct('{name}' as event, {age} as age)" for name, age in marks)
    seen = alike.selectExpr(*COHORT, "loans", "amount", "last_age", f"explode(array({events})) as seen")
    return (
        seen.where(f"seen.age <= {LAST_AGE}")
        .groupBy(*COHORT, "last_age", "seen.event", "seen.age")
        .agg({"loans": "sum", "amount": "sum"})
        .selectExpr(
            *COHORT,
            "last_age",
            "event",
            "age",
            "`sum(loans)` as loans",
            f"cast(round(`sum(amount)` * {_CENTS}) as bigint) as cents",
        )
    )


def vintage_curves(events: pa.Table, first: date, newest: date) -> pa.Table:
    """One row per origination quarter, purpose and months on book, from 0 to the last age that is observed.

    `events` as made by `first_events`; `first` and `newest` are the first and the last full tape's dates. Counts
    are cumulative and over the loans observed at that age, so that they add up over purposes and quarters.
    """
    counted = pl.DataFrame(pl.from_arrow(events)).filter(pl.col("age") <= pl.col("last_age"))
    itself = pl.col("event") == "loan"
    totals = counted.group_by(COHORT).agg(
        pl.col("loans").filter(itself).sum(),
        pl.col("cents").filter(itself).sum().alias("amount"),
        pl.col("loans").filter(pl.col("event") == "unseen").sum().alias("loans_unseen"),
        pl.col("last_age").max().alias("oldest"),
    )
    # What is counted from an age on is taken away again where the loan is no longer observed.
    steps = pl.concat(
        [
            counted.select(*COHORT, "event", "age", "loans", "cents"),
            counted.select(*COHORT, "event", (pl.col("last_age") + 1).alias("age"), -pl.col("loans"), -pl.col("cents")),
        ],
        how="vertical_relaxed",
    )
    names = {"loan": "loans_observed", **{name: name for name in EVENTS}}
    grid = totals.select(*COHORT, pl.int_ranges(0, pl.col("oldest") + 1, dtype=pl.Int32).alias("age")).explode("age")
    for event, name in names.items():
        step = steps.filter(pl.col("event") == event).group_by(*COHORT, pl.col("age").cast(pl.Int32))
        changes = step.agg(pl.col("loans").sum().alias(name), pl.col("cents").sum().alias(f"{name}_cents"))
        grid = grid.join(changes, [*COHORT, "age"], how="left")
    columns = [f"{name}{tail}" for name in names.values() for tail in ("", "_cents")]
    curves = (
        grid.sort(*COHORT, "age")
        .with_columns(pl.col(columns).fill_null(0).cum_sum().over(COHORT))
        .join(totals, list(COHORT))
    )
    quarter = pl.col("origination_quarter")
    begins = (
        quarter.str.slice(0, 4).cast(pl.Int32, strict=False) * 12
        + (quarter.str.slice(6).cast(pl.Int32, strict=False) - 1) * 3
    )
    return (
        curves.with_columns(begins.alias("begins"))
        .select(
            *COHORT,
            pl.col("age").alias("months_on_book"),
            "loans",
            "loans_unseen",
            (pl.col("amount") / _CENTS).alias("loan_amount"),
            "loans_observed",
            (pl.col("loans_observed_cents") / _CENTS).alias("amount_observed"),
            *EVENTS,
            (pl.col("ever_90_cents") / _CENTS).alias("ever_90_amount"),
            (pl.col("begins") + 2 + pl.col("age") <= month_number(newest.year, newest.month))
            .fill_null(value=False)
            .alias("mature"),
            (pl.col("begins") >= month_number(first.year, first.month) - CLOSED_STAYS_MONTHS)
            .fill_null(value=False)
            .alias("complete"),
        )
        .to_arrow(compat_level=pl.CompatLevel.oldest())
    )
