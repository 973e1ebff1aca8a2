"""Roll rates: how many loans went from which delinquency bucket to which, from one month to the next.

Read from neighbouring codes of the payment-history profiles. Equal profiles are counted, then cut into years, and
equal years are counted again, so that only the different ones are looked at month by month: one row a loan is counted
instead of thirty-six, and no loan-month is ever written.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING

import polars as pl

from credit_risk_assets.config.tables import ROLL_BUCKETS
from credit_risk_assets.credit.profile import month_number, month_number_sql, observed_profile_sql

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

WINDOW_MONTHS = 36
"""Months that roll rates and rating migration look back from the newest full tape."""
_YEARS = WINDOW_MONTHS // 12
_BUCKET_OF = dict(zip("0123456LE-", ROLL_BUCKETS, strict=True))
_UNKNOWN = "-"


def short_codes_sql(profile: str) -> str:
    """The profile with one code a bucket: L for collections to charge-off, - for months that tell nothing."""
    return f"translate({profile}, 'GHJKBD', 'LLLL--')"


def window(full_tapes: Sequence[date]) -> tuple[int, int]:
    """The first and the last month number of the table: the `WINDOW_MONTHS` up to the newest full tape."""
    newest = max(full_tapes)
    last = month_number(newest.year, newest.month)
    return last - WINDOW_MONTHS + 1, last


def months_with_tape(full_tapes: Sequence[date]) -> dict[int, date]:
    """The months of the window that a full tape ends, with it; of two in one month, the later."""
    first, _ = window(full_tapes)
    months = {month_number(day.year, day.month): day for day in sorted(full_tapes)}
    return {number: day for number, day in months.items() if number >= first}


def bucket_pairs(loans: DataFrame, history: DataFrame, full_tapes: Sequence[date]) -> DataFrame:
    """Loans and balance by month, purpose and pair of bucket codes; small. `from_code` is empty where none was before.

    `loans` is silver/loans, read once for the counts; `history` silver/loan_history, whose full tapes give the
    balance of the months they end. Months after the newest full tape, which change files tell of in part, are left
    out.
    """
    first, last = window(full_tapes)
    # A month that the window ends before may lie in the newest year of a loan with a later change.
    years = ", ".join(
        f"struct({year} as year, substring(codes, {12 * year + 1}, 13) as codes)" for year in range(_YEARS + 1)
    )
    read = 12 * (_YEARS + 1) + 1
    alike = (
        loans.selectExpr(
            f"{month_number_sql()} as newest",
            "loan_purpose",
            f"substring({observed_profile_sql()}, 1, {read}) as codes",
        )
        .groupBy("newest", "loan_purpose", "codes")
        .count()
    )
    cut = alike.selectExpr("newest", "loan_purpose", "`count` as loans", f"{short_codes_sql('codes')} as codes")
    pieces = (
        cut.selectExpr("newest", "loan_purpose", "loans", f"explode(array({years})) as part")
        .selectExpr("newest - 12 * part.year as newest", "loan_purpose", "loans", "part.codes as codes")
        .where(f"codes <> '' and newest >= {first}")
        .groupBy("newest", "loan_purpose", "codes")
        .agg({"loans": "sum"})
    )
    months = pieces.selectExpr(
        "newest", "loan_purpose", "codes", "`sum(loans)` as loans", "explode(sequence(1, 12)) as place"
    )
    counts = months.where(f"length(codes) >= place and newest + 1 - place between {first} and {last}").selectExpr(
        "newest + 1 - place as month_number",
        "loan_purpose",
        "substring(codes, place + 1, 1) as from_code",
        "substring(codes, place, 1) as to_code",
        "loans",
        "cast(null as double) as balance",
    )
    days = ", ".join(f"date'{day}'" for day in months_with_tape(full_tapes).values())
    taped = history.where(f"as_of_date in ({days})").selectExpr(
        f"{month_number_sql()} as month_number",
        "loan_purpose",
        f"{short_codes_sql(f'substring({observed_profile_sql()}, 1, 2)')} as codes",
        "cast(outstanding_balance as double) as balance",
    )
    balances = taped.selectExpr(
        "month_number",
        "loan_purpose",
        "substring(codes, 2, 1) as from_code",
        "substring(codes, 1, 1) as to_code",
        "cast(0 as bigint) as loans",
        "balance",
    )
    return (
        counts.unionByName(balances)
        .groupBy("month_number", "loan_purpose", "from_code", "to_code")
        .agg({"loans": "sum", "balance": "sum"})
        .withColumnsRenamed({"sum(loans)": "loans", "sum(balance)": "balance"})
    )


def _month_label() -> pl.Expr:
    """`month_label` of a column."""
    year, month = pl.col("month_number") // 12, pl.col("month_number") % 12 + 1
    return pl.concat_str(year.cast(pl.String).str.zfill(4), pl.lit("-"), month.cast(pl.String).str.zfill(2))


def roll_rates(pairs: pa.Table, full_tapes: Sequence[date]) -> pa.Table:
    """One row per month, purpose, bucket at the month's start and bucket at its end; `pairs` as by `bucket_pairs`.

    Every loan whose profile tells of a month counts once in it. `balance` is that on the full tape which ends the
    month, null in a month without one.
    """
    frame = pl.DataFrame(pl.from_arrow(pairs))
    taped = list(months_with_tape(full_tapes))
    labelled = frame.with_columns(
        pl.col("from_code")
        .replace({"": _UNKNOWN})
        .replace_strict(_BUCKET_OF, return_dtype=pl.String)
        .alias("from_bucket"),
        pl.col("to_code").replace_strict(_BUCKET_OF, return_dtype=pl.String).alias("to_bucket"),
        _month_label().alias("month"),
    )
    known = pl.col("month_number").is_in(taped)
    return (
        labelled.group_by("month", "month_number", "loan_purpose", "from_bucket", "to_bucket")
        .agg(pl.col("loans").sum().cast(pl.Int64), pl.col("balance").sum().round(2))
        .with_columns(pl.when(known).then(pl.col("balance")).alias("balance"))
        .sort("month", "loan_purpose", "from_bucket", "to_bucket")
        .drop("month_number")
        .to_arrow(compat_level=pl.CompatLevel.oldest())
    )
