"""The state of every loan: one row per loan and as-of date, then the latest of each loan."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from credit_risk_assets.credit.features import DERIVED, feature_layers
from credit_risk_assets.tape import contract

INSTALLMENT_SQL = """
case
  when installment is not null then installment
  when interest_rate = 0 then round(loan_amount / term_months, 2)
  else round(
    loan_amount * (interest_rate / 1200)
      / (1 - power(1 + interest_rate / 1200, -term_months)), 2)
end
"""
"""Monthly payment of an annuity loan, A·r(1+r)^n / ((1+r)^n − 1) with r monthly; A/n at r = 0."""

SILVER_NAMES = {"tape_kind", "as_of_month", "observation_date", "default_12m"}
"""Names that silver or the development sample gives to columns of its own."""

STATE_KEY = ("loan_id", "as_of_date")
NEWEST_FIRST = ("as_of_date", "_ingested_at", "_source_sha256", "_row_number")
PROVENANCE = ("_source_sha256", "_row_number", "_ingested_at")


def tape_extras(columns: Sequence[str]) -> dict[str, str]:
    """Columns beyond the contract -> their names in silver; one that a feature is called keeps a `tape_` prefix."""
    computed = {feature.name for feature in DERIVED} | SILVER_NAMES
    return {
        name: f"tape_{name}" if name in computed else name
        for name in columns
        if name not in contract.BY_NAME and not name.startswith("_")
    }


def distinct_keys(frame: DataFrame, keys: Sequence[str], rows: int | None = None) -> int:
    """How many different keys a frame has; `rows` is how many rows, where that is known."""
    rows = frame.count() if rows is None else rows
    hashes = frame.selectExpr(f"xxhash64({', '.join(keys)}) as key").distinct().count()
    # As many hashes as rows prove that no key is repeated. Fewer prove nothing: two keys may share one.
    return rows if hashes == rows else frame.select(*keys).distinct().count()


def newest_rows(frame: DataFrame, keys: Sequence[str]) -> DataFrame:
    """One row per key: the latest as-of date, then the latest ingested."""
    # Most tapes name each loan once. Looking is cheap; sorting every row with all its columns is not.
    if not _repeats(frame, keys):
        return frame
    order = [F.col(name).desc() for name in NEWEST_FIRST]
    ranked = frame.withColumn("_rank", F.row_number().over(Window.partitionBy(*keys).orderBy(*order)))
    return ranked.where("_rank = 1").drop("_rank")


def _repeats(frame: DataFrame, keys: Sequence[str]) -> bool:
    rows = frame.count()
    return distinct_keys(frame, keys, rows) < rows


def latest_states(history: DataFrame) -> DataFrame:
    """The state of each loan at its latest as-of date; `history` names each loan and as-of date once."""
    first, last = history.agg(F.min("as_of_date"), F.max("as_of_date")).collect()[0]
    if first == last or not _repeats(history, ["loan_id"]):
        return history
    latest = history.groupBy(F.col("loan_id").alias("_loan_id")).agg(F.max("as_of_date").alias("_latest"))
    # The narrow side stands first: an engine that holds one side of a join in memory holds the first one.
    same = (latest["_loan_id"] == history["loan_id"]) & (latest["_latest"] == history["as_of_date"])
    return latest.join(history, same).drop("_loan_id", "_latest")


def loan_states(tape_rows: DataFrame, change_files: Sequence[str], *, unique: bool = False) -> DataFrame:
    """Tape rows as loan states with features, one per loan and as-of date.

    `change_files` are the content fingerprints of the files that hold changes only; `unique` says that no row repeats
    the loan and date of another, where that is known.
    """
    extras = tape_extras(tape_rows.columns)
    newest = tape_rows if unique else newest_rows(tape_rows, STATE_KEY)
    named = newest.select(
        *[F.expr(INSTALLMENT_SQL).alias(n) if n == "installment" else F.col(n) for n in contract.NAMES],
        *[F.col(f"`{source}`").alias(name) for source, name in extras.items()],
        *PROVENANCE,
    )
    kind = F.when(F.col("_source_sha256").isin(list(change_files)), "changes").otherwise("full")
    named = named.withColumns(
        {
            "tape_kind": kind if change_files else F.lit("full"),
            "as_of_month": F.date_format("as_of_date", "yyyy-MM"),
        }
    )
    for layer in feature_layers():
        named = named.withColumns({name: F.expr(sql) for name, sql in layer.items()})
    return named
