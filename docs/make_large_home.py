"""Makes a large home out of a small one: the silver and gold tables that the dashboard reads, for any number of loans.

    python docs/make_large_home.py --home HOME --out LARGE_HOME --loans 10000000

HOME is one that `credit-risk demo` or `credit-risk refresh` has filled. Its loans are copied with ids, regions,
scores and amounts of their own, so that the segments spread as those of a large portfolio do; key figures and
cube are computed anew, and the tables tie with one another. It is for load tests (`docs/load_dashboard.py`):
bronze and checks are not made.
"""

from __future__ import annotations

import argparse
import math
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
from deltalake import DeltaTable, convert_to_deltalake
from deltalake.schema import Schema

from credit_risk_assets.config.tables import (
    EXPECTED_CREDIT_LOSS,
    LOAN_HISTORY,
    LOAN_SCORES,
    LOANS,
    MODEL_PERFORMANCE,
    PORTFOLIO_CUBE,
    PORTFOLIO_KPIS,
    Table,
)
from credit_risk_assets.credit.delinquency import defaulted_within_sql
from credit_risk_assets.credit.expressions import to_polars
from credit_risk_assets.credit.features import BY_NAME
from credit_risk_assets.credit.portfolio import MEASURES, SEGMENTS
from credit_risk_assets.tape.contract import ON_BOOK_STATUSES

COPIES_A_FILE = 12
BY_LOAN = (LOANS, LOAN_HISTORY, LOAN_SCORES, EXPECTED_CREDIT_LOSS)
MONEY = ("loan_amount", "outstanding_balance", "installment", "exposure_at_default", "expected_loss_proxy")
ECL_MONEY = ("ead", "expected_loss_12m", "ecl", "ecl_12m", "ecl_lifetime")
ON_BOOK = pl.col("loan_status").is_in(ON_BOOK_STATUSES)
DPD = pl.col("current_dpd")


def copied(frame: pl.DataFrame, copy: int, stride: int, regions: list[str]) -> pl.DataFrame:
    """The rows as loans of their own; the same loan is changed in the same way in every table."""
    number = pl.col("loan_id").str.extract(r"(\d+)$").cast(pl.Int64) + copy * stride
    frame = frame.with_columns(loan_id="L" + number.cast(pl.String).str.zfill(10))
    if not copy:
        return frame
    luck = pl.col("loan_id").hash(seed=11)
    changes = []
    factor = 0.8 + (luck % 400) / 1000
    changes += [(pl.col(name) * factor).round(2) for name in (*MONEY, *ECL_MONEY) if name in frame.columns]
    if "region" in frame.columns:
        place = (luck // 400 % len(regions)).cast(pl.UInt32)
        changes.append(pl.lit(pl.Series(regions)).gather(place).alias("region"))
    if "credit_score" in frame.columns:
        changes.append((pl.col("credit_score") + (luck // 9000 % 121).cast(pl.Int64) - 60).clip(300, 900))
    frame = frame.with_columns(changes)
    if "score_band" in frame.columns:
        band = to_polars(BY_NAME["score_band"].sql)
        frame = frame.with_columns(score_band=band)
    return frame


def segment_sums(loans: pl.DataFrame, history: pl.DataFrame) -> pl.DataFrame:
    """The cube's sums over one set of loans and all their tapes, as `credit.portfolio.segment_sums` has them."""
    newest = loans["as_of_date"].max()
    keys = [pl.col(name).fill_null("unknown") for name in SEGMENTS]
    taped = history.filter(pl.col("as_of_date") < newest, pl.col("tape_kind") == "full")
    states = pl.concat([taped, loans.with_columns(as_of_date=pl.lit(newest))], how="diagonal").with_columns(keys)
    begun = history.filter(ON_BOOK, DPD < 90).select(
        "loan_id",
        as_of_date=pl.col("as_of_date").dt.month_end().dt.offset_by("12mo").dt.month_end(),
        at_risk=pl.lit(value=True),
    )
    begun = begun.filter(pl.col("as_of_date").is_in(states["as_of_date"].unique().implode()))
    joined = states.join(begun, on=["as_of_date", "loan_id"], how="left").with_columns(
        pl.col("at_risk").fill_null(value=False)
    )
    balance = pl.col("outstanding_balance")
    bad = to_polars(defaulted_within_sql(12)).fill_null(value=False)
    return joined.group_by("as_of_date", *SEGMENTS).agg(
        loans=pl.len().cast(pl.Int64),
        balance=balance.sum(),
        loan_amount=pl.col("loan_amount").sum(),
        dpd_days=DPD.sum().cast(pl.Float64),
        expected_loss=pl.col("expected_loss_proxy").sum(),
        interest_balance=(pl.col("interest_rate") * balance).sum(),
        high_risk_loans=pl.col("risk_category").is_in(["High", "Very High"]).sum().cast(pl.Int64),
        observed_start_loans=pl.col("at_risk").sum().cast(pl.Int64),
        observed_defaults=(pl.col("at_risk") & bad).sum().cast(pl.Int64),
        default_balance=balance.filter(DPD >= 90).sum(),
        loans_30_dpd=(DPD >= 30).sum().cast(pl.Int64),
        loans_90_dpd=(DPD >= 90).sum().cast(pl.Int64),
    )


def key_figures(sums: pl.DataFrame) -> pl.DataFrame:
    """gold/portfolio_kpis from the cube's sums."""
    book = {name: pl.col(name).filter(ON_BOOK).sum() for name in MEASURES}
    loans = book["loans"]
    started = pl.col("observed_start_loans").sum()
    frame = sums.group_by("as_of_date").agg(
        loans=pl.col("loans").sum(),
        active_loans=loans,
        portfolio_value=book["balance"],
        default_rate=pl.when(started > 0).then(pl.col("observed_defaults").sum() / started),
        npl_ratio=book["default_balance"] / book["balance"],
        average_dpd=book["dpd_days"] / loans,
        high_risk_loans=book["high_risk_loans"],
        expected_loss=book["expected_loss"],
        delinquent_30_share=book["loans_30_dpd"] / loans,
        delinquent_90_share=book["loans_90_dpd"] / loans,
    )
    return frame.sort("as_of_date").with_columns(is_current_state=pl.col("as_of_date") == pl.col("as_of_date").max())


class Writer:
    """Writes a table's rows as Parquet files in its partitions and commits them once, at the end."""

    def __init__(self, lake: Path, table: Table) -> None:
        self._folder, self._table, self._files = lake / table.path, table, 0

    def add(self, frame: pl.DataFrame) -> None:
        """One file a partition."""
        keys = list(self._table.partition_by)
        parts: Iterator[tuple[tuple[object, ...], pl.DataFrame]] = (
            iter(frame.partition_by(keys, as_dict=True, include_key=False).items()) if keys else iter([((), frame)])
        )
        for values, part in parts:
            folder = self._folder.joinpath(*(f"{k}={v}" for k, v in zip(keys, values, strict=True)))
            folder.mkdir(parents=True, exist_ok=True)
            part.write_parquet(folder / f"part-{self._files:05d}.parquet", row_group_size=122_880)
        self._files += 1

    def commit(self, columns: pl.Schema) -> None:
        """Make the files a Delta table."""
        keys = list(self._table.partition_by)
        schema = Schema.from_arrow(pl.DataFrame(schema={k: columns[k] for k in keys}).to_arrow().schema)
        if keys:
            convert_to_deltalake(self._folder, partition_by=schema, partition_strategy="hive")
        else:
            convert_to_deltalake(self._folder)


def make(home: Path, out: Path, loans: int) -> None:
    """Write the large home."""
    lake, large = home / "lake", out / "lake"
    small = {t.path: pl.read_delta(str(lake / t.path)) for t in BY_LOAN if (lake / t.path).is_dir()}
    base = small[LOANS.path]
    stride = int(base["loan_id"].str.extract(r"(\d+)$").cast(pl.Int64).max()) + 1  # type: ignore[arg-type]
    regions = sorted(base["region"].drop_nulls().unique())
    copies = math.ceil(loans / base.height)
    writers = {t.path: Writer(large, t) for t in BY_LOAN if t.path in small}
    sums: list[pl.DataFrame] = []
    for first in range(0, copies, COPIES_A_FILE):
        numbers = range(first, min(first + COPIES_A_FILE, copies))
        for path, writer in writers.items():
            writer.add(pl.concat([copied(small[path], copy, stride, regions) for copy in numbers]))
        for copy in numbers:
            sums.append(
                segment_sums(
                    copied(base, copy, stride, regions), copied(small[LOAN_HISTORY.path], copy, stride, regions)
                )
            )
        total = pl.concat(sums).group_by("as_of_date", *SEGMENTS).agg(pl.col(*MEASURES).sum())
        sums = [total]
        print(f"{(numbers.stop) * base.height:,} loans", flush=True)
    for path, writer in writers.items():
        writer.commit(small[path].schema)
    month = pl.col("as_of_date").dt.strftime("%Y-%m").alias("as_of_month")
    cube = sums[0].select(month, "as_of_date", *SEGMENTS, *MEASURES)
    cube.write_delta(str(large / PORTFOLIO_CUBE.path))
    key_figures(sums[0]).write_delta(str(large / PORTFOLIO_KPIS.path))
    if (home / "mlflow").is_dir():  # the model that explains single loans
        shutil.copytree(home / "mlflow", out / "mlflow")
    performance = lake / MODEL_PERFORMANCE.path
    if performance.is_dir():
        pl.DataFrame(DeltaTable(performance).to_pyarrow_table()).write_delta(str(large / MODEL_PERFORMANCE.path))
    print(f"{copies * base.height:,} loans and {cube.height:,} segments in {out}")


def main() -> int:
    """Make the home; 1 with one line where it cannot be made."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--home", type=Path, required=True, help="a filled home to copy from")
    parser.add_argument("--out", type=Path, required=True, help="the home to make")
    parser.add_argument("--loans", type=int, default=10_000_000)
    wanted = parser.parse_args()
    if not (wanted.home / "lake" / LOANS.path).is_dir():
        print(f"{wanted.home}: no home with silver/loans; run `credit-risk demo` and name its home", file=sys.stderr)
        return 1
    if (wanted.out / "lake").exists():
        print(f"{wanted.out}: has a lake already; name another folder", file=sys.stderr)
        return 1
    make(wanted.home, wanted.out, wanted.loans)
    return 0


if __name__ == "__main__":
    sys.exit(main())
